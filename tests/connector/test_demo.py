"""The demo's rows, the simulators' state, and the clock's row: made once, never over somebody's changes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import requests
from django.core.management import call_command
from django_q.models import Schedule

from connector.models import AuditEntry, Connection, Integration, User
from connector.services import heartbeat, simulators, switches
from connector.services.configuration import exporting
from integrations import registry

ROOT = Path(__file__).resolve().parents[2]
PORT = 8999


@pytest.fixture(autouse=True)
def state(settings: Any, tmp_path: Path) -> Path:
    """A state folder of the test's own."""
    settings.SIMULATOR_STATE_DIR = tmp_path / "state"
    return settings.SIMULATOR_STATE_DIR


def demo(port: int = PORT) -> dict[str, Any]:
    out = StringIO()
    call_command("demo", "--json", port=port, stdout=out)
    return json.loads(out.getvalue())


def command(*args: str) -> tuple[int, dict[str, Any]]:
    out = StringIO()
    try:
        call_command(*args, "--json", stdout=out, stderr=StringIO())
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    return code, json.loads(out.getvalue())


@pytest.mark.django_db
def test_the_demo_is_made_once(state: Path):
    first = demo()
    assert first["created"] == {
        "tenants": ["demo"],
        "connections": ["demo-ifs", "demo-fedex"],
        "integrations": ["demo-ifs-fedex"],
    }
    assert first["samples"] == {"ifs_cloud": 25}
    assert User.objects.get(username="admin").check_password(first["user"]["password"])
    entries, held = AuditEntry.objects.count(), (state / "ifs_cloud.json").read_text()
    again = demo()
    assert (again["created"], again["user"]["password"]) == ({}, None)
    assert AuditEntry.objects.count() == entries
    assert (state / "ifs_cloud.json").read_text() == held
    assert User.objects.get(username="admin").check_password(first["user"]["password"])


@pytest.mark.django_db
def test_what_somebody_changed_in_the_demo_stays():
    demo()
    switches.integration_switch(Integration.objects.get(slug="demo-ifs-fedex"), False, "somebody")
    Integration.objects.filter(slug="demo-ifs-fedex").update(value_maps={"service": {"ROAD-X": "FEDEX_GROUND"}})
    before = exporting.export(None)
    demo()
    assert exporting.export(None) == before


@pytest.mark.django_db
def test_only_what_is_missing_is_made_again():
    demo()
    Integration.objects.all().delete()
    assert demo()["created"] == {"integrations": ["demo-ifs-fedex"]}


@pytest.mark.django_db
def test_the_password_is_kept_nowhere(state: Path):
    password = demo()["user"]["password"]
    assert len(password) >= 16
    dump = StringIO()
    call_command("dumpdata", "connector", stdout=dump)
    assert password not in dump.getvalue()
    assert all(password not in path.read_text() for path in state.glob("*.json"))


@pytest.mark.django_db
def test_connections_that_lead_to_another_port_are_pointed_out():
    demo()
    notes = demo(PORT + 1)["notes"]
    assert [note.split()[0] for note in notes] == ["demo-fedex", "demo-ifs"]
    assert all(f"{PORT}," in note and str(PORT + 1) in note for note in notes)


@pytest.mark.django_db
def test_the_demo_fits_what_the_simulators_know():
    """Credentials, realm, sites: each connection's login is one that its simulator has."""
    demo()
    ifs, fedex = (Connection.objects.get(slug=slug) for slug in ("demo-ifs", "demo-fedex"))
    with simulators.exclusive_state() as folder:
        known = {simulator.slug: simulator.state for simulator in simulators.load(folder)}
    standard = known["ifs_cloud"]["tenants"]["standard"]
    assert ifs.settings["realm"] == standard["realm"]
    assert (ifs.plain["client_id"], ifs.secrets()["client_secret"]) == (standard["client_id"], standard["client_secret"])
    shipped_from = {row["Contract"] for row in standard["rows"]["Shipment"].values()}
    sites = {site.code: site for company in ifs.company_codes.all() for site in company.sites.all()}
    assert shipped_from <= set(sites) and all(site.address["phone"] for site in sites.values())
    assert fedex.plain["client_id"] in json.dumps(known["fedex"]["projects"])


@pytest.mark.django_db
def test_running_simulators_at_another_port_are_an_error_that_says_so():
    with simulators.exclusive_state():
        code, told = command("demo", "--port", "9")
    assert (code, told["ok"]) == (1, False)
    assert "--port" in told["errors"][0]["message"]
    assert not User.objects.exists()


def test_one_process_at_a_time_serves_a_state_folder():
    with simulators.exclusive_state():
        code, told = command("simulate", "--port", "0")
    assert (code, told["ok"]) == (2, False)
    assert "SIMULATOR_STATE_DIR" in told["errors"][0]["message"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_simulate_serves_every_vendor_and_keeps_what_it_knows(state: Path, number: int):
    def serve(count: int) -> list[int]:
        """Start simulators, have IFS make shipments, end it by signal; the ids made."""
        arguments = [sys.executable, "manage.py", "simulate", "--port", "0", "--json"]
        env = {**os.environ, "SIMULATOR_STATE_DIR": str(state)}
        with subprocess.Popen(arguments, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                told = json.loads(process.stdout.readline())
                assert told["ok"] and told["state"] == str(state)
                urls = {row["vendor"]: row["url"] for row in told["simulators"]}
                assert list(urls) == registry.slugs()
                assert all(url.startswith("http://127.0.0.1:") and url.endswith(f"/{slug}") for slug, url in urls.items())
                made = requests.post(f"{urls['ifs_cloud']}/_sim/shipments", json={"count": count}, timeout=10)
                process.send_signal(number)
                assert process.wait(20) == 0
                return made.json()["ids"]
            finally:
                process.kill()

    assert serve(2)[-1] + 1 == serve(1)[0], "a number was given out twice"


@pytest.mark.django_db
def test_migrate_keeps_exactly_one_tick():
    [row] = Schedule.objects.filter(func=heartbeat.TICK)
    assert (row.schedule_type, row.minutes, row.repeats) == (Schedule.MINUTES, 1, -1)
    Schedule.objects.filter(pk=row.pk).update(minutes=5)
    heartbeat.ensure()
    [row] = Schedule.objects.filter(func=heartbeat.TICK)
    assert row.minutes == 5, "what somebody changed was overwritten"
    Schedule.objects.all().delete()
    call_command("migrate", verbosity=0)
    assert Schedule.objects.filter(func=heartbeat.TICK).count() == 1

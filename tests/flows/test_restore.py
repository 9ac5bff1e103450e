"""An older copy of the database comes back: what was bought since is found again, not bought again."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import connection

from connector import triggers
from connector.models import Connection, Installation, Shipment, TokenRow, Transfer
from connector.services import audit, shipments, transfers
from tests.flows.support import creates, due_now, edit, later, look_ups, masters, settle, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

_SINCE = (
    *("label", "reference", "trackingevent", "package", "shipment", "exchange", "step", "effectsend", "effect"),
    *("transfer", "auditdetail", "auditentry"),
)


class Copy:
    """The rows of what work writes, as they were when it was taken; `restore` puts them back.

    A stand-in for a backup that works on both engines: configuration and tokens are left alone, everything
    that work had written since is gone.
    """

    tables = ("sourcerecord", "transfer", "auditchain", "auditentry", "auditdetail", "baseline", "flowstate")

    def __init__(self) -> None:
        self.rows: dict[str, tuple[list[str], list[tuple[Any, ...]]]] = {}
        with connection.cursor() as cursor:
            for table in self.tables:
                cursor.execute(f"SELECT * FROM connector_{table}")
                self.rows[table] = ([c[0] for c in cursor.description], cursor.fetchall())

    def restore(self) -> None:
        triggers.remove(connection)
        try:
            with connection.cursor() as cursor:
                for table in (*_SINCE, "sourcerecord", "auditchain", "baseline", "flowstate"):
                    cursor.execute(f"DELETE FROM connector_{table}")
                for table in self.tables:
                    names, rows = self.rows[table]
                    columns, places = ", ".join(f'"{n}"' for n in names), ", ".join(["%s"] * len(names))
                    for row in rows:
                        plain = [json.dumps(v) if isinstance(v, dict | list) else v for v in row]
                        cursor.execute(f"INSERT INTO connector_{table} ({columns}) VALUES ({places})", plain)
        finally:
            triggers.install(connection)


def after_restore() -> dict[str, Any]:
    """The command's object; its exit code stands beside it."""
    out = io.StringIO()
    code = 0
    try:
        call_command("after_restore", json=True, stdout=out)
    except SystemExit as ended:
        code = int(ended.code or 0)
    return {"exit": code, **json.loads(out.getvalue())}


def test_a_copy_from_before_buying_adopts_and_buys_nothing_twice(world: World, settings: Any) -> None:
    small(settings)
    ids = world.ready(8)
    world.poll()
    copy = Copy()
    world.work()
    written = world.numbers()
    assert creates(world) == 8 and sorted(written) == ids
    copy.restore()
    assert world.states() == {"waiting": 8} and not Shipment.objects.exists()

    told = after_restore()
    assert told["exit"] == 0 and told["look_first_until"]
    assert len(told["adopted"]) == 8
    assert sorted(n for a in told["adopted"] for n in a["tracking_numbers"]) == sorted(written.values())
    assert creates(world) == 8 and world.labels() == 8
    assert world.numbers() == written, "the same numbers stand in IFS"
    assert world.states() == {"done": 8}
    assert sorted(Shipment.objects.values_list("master_tracking_number", flat=True)) == sorted(written.values())
    assert set(Transfer.objects.values_list("attention", flat=True)) == {"label_missing"}
    assert list(audit.verify()) == []


def test_a_copy_from_before_the_poll_adopts_too(world: World, settings: Any) -> None:
    small(settings)
    copy = Copy()
    ids = world.ready(5)
    world.sync()
    copy.restore()
    told = after_restore()
    assert len(told["adopted"]) == 5 and creates(world) == 5 and world.labels() == 5
    assert sorted(world.numbers()) == ids and sorted(world.numbers().values()) == sorted(masters(world))


def test_bought_but_not_yet_written_is_adopted_and_written(world: World, settings: Any) -> None:
    small(settings, RETRY_BASE_S=3000.0, RETRY_CAP_S=3000.0)
    ids = world.ready(3)
    world.poll()
    copy = Copy()
    world.ifs.fault("status", "PATCH", times=3, status=503, body="")
    world.work()
    assert creates(world) == 3 and world.numbers() == {}
    copy.restore()
    assert len(after_restore()["adopted"]) == 3
    settle(world)
    assert creates(world) == 3
    assert sorted(world.numbers()) == ids and sorted(world.numbers().values()) == sorted(masters(world))


def test_after_restore_itself_buys_nothing_and_new_work_is_looked_up_before_it_is_bought(world: World, settings: Any) -> None:
    small(settings)
    ids = world.ready(3)
    told = after_restore()
    assert told["adopted"] == [] and creates(world) == 0
    assert world.states() == {"waiting": 3}
    looked = look_ups(world)
    assert looked >= 3 * 3, "send numbers 1 to 3 of two generations"
    world.sync()
    assert world.states() == {"done": 3} and sorted(world.numbers()) == ids and creates(world) == 3
    Installation.objects.update(look_first_until=None)
    looked = look_ups(world)
    world.ready(1)
    world.sync()
    assert look_ups(world) == looked, "the period is over"


def test_a_second_purchase_after_a_void_is_found_by_its_generation(world: World, settings: Any) -> None:
    """Bought, copied, voided and bought again, restored: the copy knows generation 1, FedEx has 2."""
    small(settings)
    [shipment_id] = world.ready()
    world.poll()
    copy = Copy()
    world.work()
    shipments.void_request(Shipment.objects.get(), then="rebuy", actor="ann", reason="wrong box")
    world.work()
    [live] = masters(world)
    copy.restore()
    told = after_restore()
    assert [a["tracking_numbers"] for a in told["adopted"]] == [[live]]
    assert world.numbers() == {shipment_id: live}
    assert creates(world) == 2 and world.labels() == 1
    shipment = Shipment.objects.get()
    assert (shipment.generation, shipment.record.generation) == (2, 2)


def test_what_somebody_changed_at_the_carrier_is_not_guessed(world: World, settings: Any) -> None:
    """Two live shipments under our references after a restore: a person must look."""
    small(settings)
    world.ready(1)
    world.poll()
    copy = Copy()
    world.work()
    [facts] = world.fedex.state["shipments"].values()
    twin = {**facts, "master": "794699999999", "numbers": ["794699999999"]}
    world.fedex.state["shipments"]["794699999999"] = twin
    world.fedex.state["packages"]["794699999999"] = {**world.fedex.state["packages"][facts["master"]], "master": "794699999999"}
    for numbers in world.fedex.state["references"].values():
        numbers.append("794699999999")
    copy.restore()
    told = after_restore()
    assert told["exit"] == 1 and told["adopted"] == []
    due_now(world)
    assert creates(world) == 1 and Transfer.objects.get().state in ("in_doubt", "waiting")
    assert "794699999999" in Transfer.objects.get().message


def test_an_adopted_purchase_is_not_said_to_have_changed_when_nobody_can_know(world: World, settings: Any) -> None:
    """After an adoption by restore it is not known what was bought with; a cancellation is seen all the same."""
    small(settings)
    [shipment_id] = world.ready()
    world.poll()
    copy = Copy()
    world.work()
    copy.restore()
    after_restore()
    assert transfers.acknowledge(world.transfer(shipment_id), actor="ann", reason="printed again").done
    for _ in range(2):
        later(world, 86400 + 60)
        world.sync()
    assert world.transfer(shipment_id).attention is None
    edit(world, shipment_id, Objstate="Cancelled")
    later(world, 86400 + 60)
    world.sync()
    assert world.transfer(shipment_id).attention == "cancelled_after_label"
    assert creates(world) == 1 and world.labels() == 1 and Transfer.objects.count() == 1


# -- wrong keys --------------------------------------------------------------------------------------


def command(*args: str) -> subprocess.CompletedProcess[str]:
    """manage.py in a process of its own, on this test's database, with another key."""
    db = connection.settings_dict
    url = (
        f"sqlite:///{db['NAME']}"
        if connection.vendor == "sqlite"
        else f"postgres://{db['USER']}@{db['HOST'] or '127.0.0.1'}:{db['PORT'] or 5432}/{db['NAME']}"
    )
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "connector.settings",
        "DATABASE_URL": url,
        "FIELD_ENCRYPTION_KEY": "b3RoZXIta2V5LS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0=",
        "SECRET_KEY": django_settings.SECRET_KEY,
        "DEBUG": "1",
        "ALLOW_PRIVATE_HOSTS": "127.0.0.1",
    }
    return subprocess.run(
        [sys.executable, "manage.py", *args],
        cwd=django_settings.BASE_DIR,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def secrets_as_stored() -> list[tuple[Any, ...]]:
    """The encrypted columns, byte for byte."""
    with connection.cursor() as cursor:
        found: list[tuple[Any, ...]] = []
        for statement in (
            f"SELECT id, secrets_text FROM {Connection._meta.db_table} ORDER BY id",
            f"SELECT id, token_text FROM {TokenRow._meta.db_table} ORDER BY id",
            f"SELECT id, key_check FROM {Installation._meta.db_table} ORDER BY id",
        ):
            cursor.execute(statement)
            found += [tuple(row) for row in cursor.fetchall()]
    return found


def test_a_wrong_key_is_said_plainly_and_nothing_is_sent_or_encrypted_again(world: World, settings: Any) -> None:
    small(settings)
    world.ready(2)
    world.poll()
    before, calls = secrets_as_stored(), (dict(world.ifs.counts), dict(world.fedex.counts))
    said = "does not open this installation's secrets"
    check = command("check")
    assert said in check.stdout + check.stderr
    for args in (("sync", "acme-ifs-fedex", "--json"), ("ping", "--json"), ("after_restore", "--json")):
        done = command(*args)
        assert done.returncode != 0, args
        assert said in done.stdout + done.stderr, (args, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr, (args, done.stderr)
    [transfer_id] = Transfer.objects.values_list("pk", flat=True)[:1]
    replayed = command("replay", str(transfer_id), "--json")
    assert "Traceback" not in replayed.stderr
    assert secrets_as_stored() == before
    assert (dict(world.ifs.counts), dict(world.fedex.counts)) == calls
    assert world.states() == {"waiting": 2}
    world.work()
    assert world.states() == {"done": 2}, "with the right key work goes on as if nothing had been"

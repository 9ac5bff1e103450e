"""The commands as scripts see them: one object on stdout, exit codes, nothing half done. Some run as real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command

from connector.models import AuditEntry, Connection, Installation, Integration, Tenant
from connector.services import audit, keys
from tests.connector.configuration_support import document

pytestmark = pytest.mark.django_db


def run(*args: Any) -> tuple[int, dict[str, Any]]:
    """A command with --json: its exit code and its one object."""
    out = StringIO()
    try:
        call_command(*args, "--json", stdout=out, stderr=StringIO())
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    [line] = out.getvalue().splitlines()
    return code, json.loads(line)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACME_IFS_SECRET", "from-the-environment")
    made = tmp_path / "acme.json"
    made.write_text(json.dumps(document()))
    return made


# -- config ------------------------------------------------------------------------------------------


def test_import_says_what_it_did_and_that_it_did_it_once(file: Path):
    code, told = run("config", "import", str(file))
    assert (code, told["ok"]) == (0, True)
    assert told["created"]["connections"] == ["acme-ifs", "acme-fedex"]
    code, told = run("config", "import", str(file))
    assert (code, told["created"], told["changed"]) == (0, {}, {})
    assert told["unchanged"]["integrations"] == ["acme-ifs-fedex"]


def test_an_invalid_file_is_two_and_names_every_place(file: Path):
    given = document()
    given["connections"][0]["urls"]["base"] = "http://169.254.169.254"
    given["integrations"][0]["kind"] = "ifs_ups"
    file.write_text(json.dumps(given))
    code, told = run("config", "import", str(file))
    assert code == 2
    assert told["ok"] is False
    assert [sorted(e) for e in told["errors"]] == [["message", "path"]] * 2
    assert [e["path"] for e in told["errors"]] == ["connections[0].urls.base", "integrations[0].kind"]
    assert not Tenant.objects.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1, "version": 1}', '{"version": 1, "nothing": 2}'])
def test_a_file_that_is_no_configuration_is_two(file: Path, text: str):
    file.write_text(text)
    code, told = run("config", "import", str(file))
    assert (code, told["ok"]) == (2, False)
    assert told["errors"]


def test_a_file_that_cannot_be_read_is_two(tmp_path: Path):
    for path in (tmp_path / "absent.json", tmp_path):
        code, told = run("config", "import", str(path))
        assert code == 2
        assert str(path) in told["errors"][0]["message"]


def test_import_needs_a_file_and_no_tenant(file: Path):
    assert run("config", "import")[0] == 2
    assert run("config", "import", str(file), "--tenant", "acme")[0] == 2
    assert run("config", "export", str(file))[0] == 2


def test_with_strange_keys_import_needs_a_person(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keys, "problem", lambda: "FIELD_ENCRYPTION_KEY does not open this.")
    code, told = run("config", "import", str(file))
    assert (code, told["ok"]) == (1, False)
    assert "FIELD_ENCRYPTION_KEY" in told["errors"][0]["message"]


def test_export_prints_a_document_that_imports_without_a_change(file: Path, tmp_path: Path):
    run("config", "import", str(file))
    code, made = run("config", "export")
    assert code == 0
    assert made["version"] == 1
    assert "from-the-environment" not in json.dumps(made)
    back = tmp_path / "back.json"
    back.write_text(json.dumps(made))
    code, told = run("config", "import", str(back))
    assert (code, told["created"], told["changed"]) == (0, {}, {})


def test_export_of_a_tenant_that_is_not_there_is_two():
    code, told = run("config", "export", "--tenant", "nobody")
    assert (code, told["errors"][0]["path"]) == (2, "tenant")


def test_without_json_errors_go_to_stderr_and_stdout_stays_empty(file: Path):
    file.write_text("{}")
    out, err = StringIO(), StringIO()
    with pytest.raises(SystemExit) as end:
        call_command("config", "import", str(file), stdout=out, stderr=err)
    assert end.value.code == 2
    assert out.getvalue() == ""
    assert "version: must be 1" in err.getvalue()


def test_without_json_a_person_reads_what_was_done(file: Path):
    out = StringIO()
    call_command("config", "import", str(file), stdout=out)
    assert "created connections: acme-ifs, acme-fedex" in out.getvalue()


# -- stop_buying --------------------------------------------------------------------------------------


def test_the_brake_works_at_the_level_that_is_named(file: Path):
    run("config", "import", str(file))
    code, told = run("stop_buying", "on", "--reason", "stocktaking")
    assert (code, told) == (0, {"ok": True, "level": "installation", "name": None, "stop_buying": True, "changed": True})
    assert Installation.objects.get().stop_buying_reason == "stocktaking"
    assert run("stop_buying", "on")[1]["changed"] is False
    assert run("stop_buying", "on", "--tenant", "acme")[1]["level"] == "tenant"
    assert run("stop_buying", "on", "--tenant", "acme", "--integration", "acme-ifs-fedex")[1]["level"] == "integration"
    assert Tenant.objects.get().stop_buying
    assert Integration.objects.get().stop_buying
    assert run("stop_buying", "off")[1]["stop_buying"] is False
    assert not Installation.objects.get().stop_buying
    assert Tenant.objects.get().stop_buying


def test_a_scope_that_is_not_there_is_two_and_stops_nothing(file: Path):
    run("config", "import", str(file))
    Tenant.objects.create(slug="other", name="Other")
    for args, path in (
        (["--tenant", "nobody"], "tenant"),
        (["--integration", "nothing"], "integration"),
        (["--tenant", "other", "--integration", "acme-ifs-fedex"], "integration"),
    ):
        code, told = run("stop_buying", "on", *args)
        assert (code, told["errors"][0]["path"]) == (2, path)
    assert run("stop_buying", "on", "--reason", "x" * 301)[0] == 2
    assert not Installation.objects.filter(stop_buying=True).exists()
    assert not Integration.objects.filter(stop_buying=True).exists()


# -- verify_audit -------------------------------------------------------------------------------------


def test_sound_chains_are_well(file: Path):
    run("config", "import", str(file))
    code, told = run("verify_audit")
    assert (code, told["ok"], told["findings"]) == (0, True, [])
    assert (told["chains"], told["entries"]) == (1, AuditEntry.objects.count())


def test_a_finding_needs_a_person(file: Path):
    run("config", "import", str(file))
    audit.AuditChain.objects.update(sequence=1)
    code, told = run("verify_audit")
    assert (code, told["ok"]) == (1, False)
    assert told["findings"][0]["chain"].startswith("tenant:")
    assert sorted(told["findings"][0]) == ["chain", "message", "sequence"]


# -- as real processes ---------------------------------------------------------------------------------


@pytest.fixture
def manage(tmp_path: Path):
    database = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{tmp_path / 'own.sqlite3'}",
        "DJANGO_SETTINGS_MODULE": "connector.settings",
    }

    def call(*args: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", *args]
        return subprocess.run(command, cwd=settings.BASE_DIR, env=database | more, capture_output=True, text=True, timeout=120)

    return call


@pytest.mark.parametrize(
    "args", [["stop_buying", "sideways"], ["config"], ["config", "import", "x", "--what"], ["verify_audit", "now"]]
)
def test_wrong_arguments_are_two_with_an_object(manage, args: list[str]):
    done = manage(*args, "--json")
    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert told["ok"] is False
    assert told["errors"][0]["message"]
    done = manage(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


def test_a_database_without_tables_is_one_object_and_the_log_on_stderr(manage):
    done = manage("stop_buying", "on", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["ok"] is False
    assert "Traceback" in done.stderr


def test_import_and_export_as_a_script_does_it(manage, file: Path):
    assert manage("migrate", "-v0").returncode == 0
    done = manage("config", "import", str(file), "--json", ACME_IFS_SECRET="process-secret")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"] is True
    assert "process-secret" not in done.stdout + done.stderr
    done = manage("config", "export", "--json")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)["connections"]) == 2
    assert json.loads(manage("verify_audit", "--json").stdout)["ok"] is True


def test_what_is_imported_stands_in_the_database_encrypted(file: Path):
    run("config", "import", str(file))
    ifs = Connection.objects.get(slug="acme-ifs")
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT secrets_text FROM connector_connection WHERE id = %s", [ifs.pk])
        [stored] = cursor.fetchone()
    assert "from-the-environment" not in stored
    assert ifs.secrets() == {"client_secret": "from-the-environment"}

"""Seals and the export: whoever rewrites the history without the key is found, by us and by the verifier alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.urls import reverse

from connector import audit_verifier, triggers
from connector.models import AuditEntry, AuditSeal, Tenant
from connector.services import audit, clock, seals
from tests.connector.admin_support import build, client_of, owner

pytestmark = pytest.mark.django_db
KEY = "a key for seals in tests"


@pytest.fixture(autouse=True)
def key(settings: Any) -> None:
    settings.AUDIT_KEY = KEY


def write(count: int = 3) -> None:
    for number in range(count):
        audit.append(None, audit.Draft("tried", {"n": number, "ä": "ö", "amount": "1.50"}))


def later(seconds: float) -> None:
    clock.offset_s += seconds


def sealed(count: int = 3) -> AuditSeal:
    write(count)
    later(400)
    made = seals.seal_if_due()
    assert made is not None
    return made


def rewrite(sql: str, *values: Any) -> None:
    """What somebody with the database but without the key does."""
    triggers.remove(connection)
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def messages() -> list[str]:
    return [f.message for f in seals.verify()]


def run_verifier(path: Path, *more: str, key: str = KEY) -> tuple[int, str]:
    """The file alone, in a Python without site-packages."""
    program = Path(audit_verifier.__file__)
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(program), str(path), *more],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "AUDIT_KEY": key},
    )
    return done.returncode, done.stdout + done.stderr


def exported(tmp_path: Path, tenants: list[Tenant] | None = None) -> Path:
    path = tmp_path / "audit.jsonl"
    path.write_text("".join(seals.export(tenants)), encoding="utf-8")
    return path


def test_seals_come_every_five_minutes_over_what_has_settled() -> None:
    write(2)
    assert seals.seal_if_due() is None, "it could still be overtaken by an earlier number"
    later(61)
    first = seals.seal_if_due()
    assert first is not None and (first.number, first.entries) == (1, 2)
    write(1)
    later(100)
    assert seals.seal_if_due() is None, "not due"
    later(300)
    second = seals.seal_if_due()
    assert second is not None
    assert (second.number, second.previous, second.from_id, second.entries) == (2, first.mac, first.to_id, 1)
    later(400)
    assert seals.seal_if_due() is None, "nothing new"
    assert messages() == []


def test_without_a_key_nothing_is_sealed(settings: Any) -> None:
    settings.AUDIT_KEY = ""
    write()
    later(400)
    assert seals.seal_if_due() is None


@pytest.mark.parametrize("count", [0, 1])
def test_a_history_computed_anew_does_not_fit_its_seal(count: int) -> None:
    made = sealed(2)
    last = AuditEntry.objects.order_by("-pk")[0]
    if count:
        last.actor = "somebody else"
        rewrite("UPDATE connector_auditentry SET actor=%s, hash=%s WHERE id=%s", last.actor, audit._entry_hash(last), last.pk)
    else:
        rewrite("DELETE FROM connector_auditentry WHERE id=%s", last.pk)
    assert messages() == ["does not fit the entries: some were added, removed or changed after it was made"]
    count_now, digest = seals._digest(made.from_id, made.to_id)
    rewrite("UPDATE connector_auditseal SET entries=%s, digest=%s", count_now, digest)
    assert messages() == ["was changed, or made without the key"], "without the key no new seal can be made either"


def test_a_removed_seal_another_key_and_silence_are_told(settings: Any) -> None:
    sealed()
    second = sealed()
    rewrite("DELETE FROM connector_auditseal WHERE number=1")
    assert "seal 1 is missing" in messages()
    settings.AUDIT_KEY = "another"
    assert any("another AUDIT_KEY" in text for text in messages())
    settings.AUDIT_KEY = KEY
    write()
    later(seals.LATE_S + 10)
    assert any("sealing has stopped" in text for text in messages()), second


def test_verify_audit_checks_seals_too() -> None:
    sealed()
    out = StringIO()
    call_command("verify_audit", "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert told["ok"] and told["seals"] == 1
    rewrite("UPDATE connector_auditseal SET mac=%s", "0" * 64)
    with pytest.raises(SystemExit) as ended:
        call_command("verify_audit", "--json", stdout=StringIO())
    assert ended.value.code == 1


def test_the_verifier_needs_nothing_but_file_and_key(tmp_path: Path) -> None:
    sealed()
    sealed()
    path = exported(tmp_path)
    assert run_verifier(path) == (0, "all fits\n")
    assert run_verifier(path, key="wrong")[0] == 1
    assert run_verifier(path, key="")[0] == 0, "chains alone"
    kept = tmp_path / "kept.jsonl"
    kept.write_text("".join(seals.seal_line(s) for s in AuditSeal.objects.all()))
    assert run_verifier(path, "--seals", str(kept))[0] == 0
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        row = json.loads(line)
        if row["type"] == "audit":
            continue
        changed = dict(row)
        changed["actor" if row["type"] == "entry" else "entries"] = "x" if row["type"] == "entry" else 99
        path.write_text("\n".join([*lines[:number], json.dumps(changed), *lines[number + 1 :]]))
        assert run_verifier(path)[0] == 1, f"line {number} was changed"
    path.write_text("\n".join(lines[:-1]))
    assert "kept elsewhere and is missing" in run_verifier(path, "--seals", str(kept))[1]
    path.write_text("not json")
    assert run_verifier(path)[0] == 2


def test_a_tenant_takes_away_its_own_part_only(tmp_path: Path) -> None:
    alpha, omega = build("alpha"), build("omega")
    client = client_of(alpha.person("viewer"))
    assert client.get(reverse("admin:connector_audit_export")).status_code == 405
    answer = client.post(reverse("admin:connector_audit_export"))
    text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    assert alpha.mark in text and omega.mark not in text
    assert AuditEntry.objects.filter(act="audit_exported", tenant=alpha.tenant).exists()
    path = tmp_path / "part.jsonl"
    path.write_text(text)
    assert run_verifier(path) == (0, "all fits\n")
    assert client.get(reverse("admin:connector_seals_download")).status_code == 403
    page = client.get(reverse("admin:connector_seals")).content.decode()
    assert "your tenants" in page


def test_the_owner_sees_and_takes_seals() -> None:
    made = sealed()
    client = client_of(owner())
    assert made.mac in client.get(reverse("admin:connector_seals")).content.decode()
    told = b"".join(client.get(reverse("admin:connector_seals_download")).streaming_content).decode()  # type: ignore[attr-defined]
    assert json.loads(told)["mac"] == made.mac
    program = b"".join(client.get(reverse("admin:connector_audit_verifier")).streaming_content)  # type: ignore[attr-defined]
    assert program == Path(audit_verifier.__file__).read_bytes()

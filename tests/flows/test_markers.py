"""Marker secrets in every credential that is declared secret, a full run with errors that echo them, then a search everywhere."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django_q.models import OrmQ, Task

from connector.models import Connection, Exchange, Transfer
from connector.services.configuration import exporting
from integrations import registry
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

FEDEX = ["fedex", "track", "webhook"]
MARKERS = {
    "ifs": "Mk-ifs/secret+7Qz&%!é",
    "fedex": "Mk-fedex=secret/9Xv+ü?",
    "track": "Mk-track-secret:4Rt~#w",
    "webhook": "Mk-Webhook-Secret-8Yp2Lk0aaZZ",
}


IDENTITIES = {"ifs": "MLC", "fedex": "demo-key", "track": "track-key", "webhook": "demo-key"}


def spellings(name: str) -> set[str]:
    """The secret as it may be written: plain, in JSON, URL-encoded, base64 alone and as Basic credentials."""
    secret = MARKERS[name]
    found = {secret, json.dumps(secret)[1:-1], quote(secret, safe=""), quote_plus(secret), quote(secret)}
    for text in (secret, f"{IDENTITIES[name]}:{secret}"):
        found |= {
            base64.b64encode(text.encode()).decode().rstrip("="),
            base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
        }
    return found


def echo(names: list[str]) -> str:
    """What an unkind vendor might say back."""
    return " ".join(sorted(text for name in names for text in spellings(name) if "\\" not in text))


@pytest.fixture
def marked(transactional_db: None) -> Iterator[World]:
    world = World.build(apply=False)
    world.ifs.state["tenants"]["standard"]["client_secret"] = MARKERS["ifs"]
    world.fedex.state["projects"]["demo-key"]["secret"] = MARKERS["fedex"]
    world.fedex.state["projects"]["track-key"]["secret"] = MARKERS["track"]
    ifs, fedex = world.doc["connections"]
    ifs["credentials"]["client_secret"] = MARKERS["ifs"]
    fedex["credentials"] |= {
        "client_secret": MARKERS["fedex"],
        "track_client_id": "track-key",
        "track_client_secret": MARKERS["track"],
        "webhook_secret": MARKERS["webhook"],
    }
    declared = {c.key for slug in registry.slugs() for c in registry.get(slug).credentials if c.secret}
    assert declared == {"client_secret", "track_client_secret", "webhook_secret"}, "a new secret needs a marker here"
    world.configure()
    yield world
    world.close()


def everything_stored(tmp_path: Path) -> bytes:
    """The whole database as bytes: the SQLite file with its WAL, or a dump of PostgreSQL."""
    if connection.vendor == "sqlite":
        name = str(connection.settings_dict["NAME"])
        return b"".join(Path(name + suffix).read_bytes() for suffix in ("", "-wal") if Path(name + suffix).exists())
    db = connection.settings_dict
    if shutil.which("pg_dump"):
        env = os.environ | {"PGPASSWORD": db["PASSWORD"] or ""}
        command = ["pg_dump", "-h", db["HOST"] or "127.0.0.1", "-p", str(db["PORT"] or 5432), "-U", db["USER"], db["NAME"]]
        return subprocess.run(command, env=env, capture_output=True, check=True).stdout
    with connection.cursor() as cursor:
        parts = []
        for table in connection.introspection.table_names():
            with cursor.copy(f'COPY "{table}" TO STDOUT') as rows:
                parts.append(b"".join(bytes(r) for r in rows))
        return b"\n".join(parts)


def test_no_secret_is_stored_logged_shown_or_exported(
    marked: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    world = marked
    caplog.set_level(logging.DEBUG)
    world.ready(8)
    fedex_echo, ifs_echo = (
        " ".join(sorted(s for n in names for s in spellings(n) if "\\" not in s)) for names in (FEDEX, ["ifs"])
    )
    body = json.dumps({"errors": [{"code": "PACKAGE.WEIGHT.INVALID", "message": f"you sent {fedex_echo}"}]})
    world.fedex.fault("status", "POST /ship", skip=1, status=400, body=body)
    world.fedex.fault("status", "POST /ship", skip=3, status=500, body=f"<html>{fedex_echo}</html>")
    world.fedex.fault("lost_answer", "POST /ship", skip=5)
    details = [{"code": "20110", "message": f"ORA-20110: {ifs_echo}"}]
    error = json.dumps({"error": {"code": "X", "message": f"bad {ifs_echo}", "details": details}})
    world.ifs.fault("status", "PATCH", skip=1, status=400, body=error, headers={"X-Echo": "a " + quote(MARKERS["ifs"])})
    world.ifs.fault("401_once", "PATCH", skip=3)
    with pytest.raises(SystemExit):
        call_command("sync", "acme-ifs-fedex", json=True, stdout=io.StringIO())
    call_command("ping", json=True)
    world.ifs.state["tenants"]["standard"]["client_secret"] = "another"  # now the login is refused
    world.later(4000)
    world.fedex.fault("status", "POST /oauth/token", status=401, body=body, times=None)
    with pytest.raises(SystemExit):
        call_command("ping", json=True)
    assert world.states()["done"] >= 3
    assert Exchange.objects.filter(status__gte=400).exists()

    token = [t for t in world.fedex.state["tokens"]] if "tokens" in world.fedex.state else []
    shown = "\n".join([caplog.text, *capsys.readouterr(), json.dumps(exporting.export()), *html_pages()])
    queued = " ".join(str(q.payload) for q in OrmQ.objects.all()) + " ".join(
        f"{t.args}{t.kwargs}{t.result}" for t in Task.objects.all()
    )
    stored = everything_stored(tmp_path)
    for name in MARKERS:
        for text in spellings(name):
            assert text.encode() not in stored, f"the {name} secret is stored readable as {text!r}"
            assert text not in shown, f"the {name} secret is shown as {text!r}"
            assert text not in queued
    for value in token:
        assert str(value).encode() not in stored
        assert str(value) not in shown


def html_pages() -> Iterator[str]:
    """Every admin page of connections and transfers, as an installation owner sees them."""
    owner = get_user_model().objects.create_superuser("owner", password="long enough for tests")
    client = Client()
    client.force_login(owner)
    urls = [
        reverse("admin:index"),
        reverse("admin:connector_connection_changelist"),
        reverse("admin:connector_transfer_changelist"),
    ]
    urls += [reverse("admin:connector_connection_change", args=[pk]) for pk in Connection.objects.values_list("pk", flat=True)]
    urls += [reverse("admin:connector_transfer_change", args=[pk]) for pk in Transfer.objects.values_list("pk", flat=True)]
    for url in urls:
        answer = client.get(url)
        assert answer.status_code == 200, url
        yield answer.content.decode()


def test_the_search_would_find_a_stored_secret(marked: World, tmp_path: Path) -> None:
    """The test of the test: a secret written somewhere is found."""
    Connection.objects.filter(slug="acme-ifs").update(name=f"x {MARKERS['webhook']}")
    assert MARKERS["webhook"].encode() in everything_stored(tmp_path)

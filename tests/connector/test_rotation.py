"""`rotate_keys`: every secret ends under the first key, none is lost, and a key that is missing is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.db import connection as database
from encrypted_model_fields import fields

from connector.models import AuditEntry, Connection, TokenRow
from connector.services import keys, rotation
from tests.connector.admin_support import build

pytestmark = pytest.mark.django_db

UseKeys = Callable[..., None]


@pytest.fixture
def use_keys(settings: Any, monkeypatch: pytest.MonkeyPatch) -> UseKeys:
    """What a restart with another FIELD_ENCRYPTION_KEY does."""

    def use(*given: str) -> None:
        settings.FIELD_ENCRYPTION_KEY = list(given)
        monkeypatch.setattr(fields, "CRYPTER", fields.get_crypter())

    return use


def ciphertexts() -> list[str]:
    """Every encrypted value as the database holds it."""
    found = []
    with database.cursor() as cursor:
        for model, name in rotation.encrypted_columns():
            cursor.execute(f"SELECT {name} FROM {model._meta.db_table}")
            found += [row[0] for row in cursor.fetchall() if row[0]]
    return found


def rotate() -> tuple[int, dict[str, Any]]:
    out = StringIO()
    try:
        call_command("rotate_keys", "--json", stdout=out)
    except SystemExit as ended:
        return int(str(ended.code)), json.loads(out.getvalue())
    return 0, json.loads(out.getvalue())


def test_afterwards_the_old_key_can_be_taken_away(use_keys: UseKeys) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    use_keys(old)
    keys.installation()
    house = build("alpha")
    secrets = house.source.secrets()
    assert secrets
    TokenRow.objects.create(fingerprint="f" * 64, host="h", token_text='{"token": "t"}')
    before = ciphertexts()
    assert len(before) >= 4
    use_keys(new, old)
    code, told = rotate()
    assert (code, told["ok"], told["unreadable"]) == (0, True, [])
    assert sum(told["re_encrypted"].values()) == len(before)
    use_keys(new)
    assert keys.problem() == ""
    assert Connection.objects.get(pk=house.source.pk).secrets() == secrets
    assert TokenRow.objects.get().token_text == '{"token": "t"}'
    assert all(Fernet(new).decrypt(text.encode()) for text in ciphertexts())
    entry = AuditEntry.objects.get(act="keys_rotated")
    assert old not in json.dumps(entry.facts) and new not in json.dumps(entry.facts)
    assert rotate() == (0, {"ok": True, "re_encrypted": {}, "already": len(before), "unreadable": []})
    assert AuditEntry.objects.filter(act="keys_rotated").count() == 1, "nothing happened the second time"


def test_what_no_key_opens_is_named_and_left_as_it_is(use_keys: UseKeys) -> None:
    old, new, lost = (Fernet.generate_key().decode() for _ in range(3))
    use_keys(old)
    keys.installation()
    house = build("alpha")
    foreign = Fernet(lost).encrypt(b'{"client_secret": "x"}').decode()
    with database.cursor() as cursor:
        cursor.execute("UPDATE connector_connection SET secrets_text = %s WHERE id = %s", [foreign, house.source.pk])
    use_keys(new, old)
    code, told = rotate()
    assert code == 1 and told["unreadable"] == [f"connection {house.source.pk}"]
    assert foreign in ciphertexts()


def test_without_the_key_in_use_nothing_is_touched(use_keys: UseKeys) -> None:
    use_keys(Fernet.generate_key().decode())
    keys.installation()
    build("alpha")
    before = ciphertexts()
    use_keys(Fernet.generate_key().decode())
    code, told = rotate()
    assert code == 1 and "FIELD_ENCRYPTION_KEY" in told["errors"][0]["message"]
    assert ciphertexts() == before


def test_a_value_that_changes_meanwhile_is_not_overwritten(use_keys: UseKeys) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    use_keys(old)
    keys.installation()
    house = build("alpha")
    [stale] = [raw for raw in ciphertexts() if "client" in Fernet(old).decrypt(raw.encode()).decode()][:1]
    use_keys(new, old)
    Connection.objects.filter(pk=house.source.pk).update(secrets_text='{"client_secret": "newer"}')
    told = rotation.Rotation()
    rotation._value(Connection, "secrets_text", house.source.pk, stale, told)
    assert told.rotated == {}
    assert Connection.objects.get(pk=house.source.pk).secrets() == {"client_secret": "newer"}

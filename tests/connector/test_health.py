"""/healthz and /readyz."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from django.test import Client

from connector.models import Installation
from connector.services import keys


def test_healthz_answers_without_a_database(client: Client) -> None:
    assert client.get("/healthz").content == b"ok\n"


@pytest.mark.django_db
def test_readyz_is_ready_when_database_migrations_and_keys_are(client: Client) -> None:
    keys.installation()
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert [c["name"] for c in answer.json()["checks"]] == ["database", "migrations", "keys"]


@pytest.mark.django_db
def test_readyz_says_that_the_keys_are_wrong(client: Client) -> None:
    keys.installation()
    Installation.objects.update(key_check=Fernet(Fernet.generate_key()).encrypt(b"ml-connector").decode())
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "FIELD_ENCRYPTION_KEY" in answer.json()["checks"][-1]["message"]


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_only_safe_methods(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405

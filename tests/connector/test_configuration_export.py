"""A configuration is exported without secrets, and importing it changes nothing."""

from __future__ import annotations

import json

import pytest

from connector.models import (
    AuditEntry,
    Connection,
    Integration,
)
from connector.services.configuration import exporting
from connector.services.configuration.findings import InvalidConfiguration
from tests.connector.configuration_support import SECRET, errors, imported

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("acme_environment")]


def test_an_export_has_no_secrets_and_changes_nothing_when_imported_again():
    imported()
    made = exporting.export()
    text = json.dumps(made)
    assert SECRET not in text
    assert "s3cret-of-fedex" not in text
    assert made["connections"][1]["credentials"] == {"client_id": "MLC"}
    before = AuditEntry.objects.count()
    summary = imported(json.loads(text))
    assert (summary.created, summary.changed) == ({}, {})
    assert AuditEntry.objects.count() == before


def test_an_export_with_its_secrets_added_makes_the_same_elsewhere():
    imported()
    made = exporting.export()
    Integration.objects.all().delete()
    Connection.objects.all().delete()
    assert {p.rsplit(".", 1)[1] for p in errors(made)} == {"client_secret"}
    for connection in made["connections"]:
        connection["credentials"]["client_secret"] = "given"
    imported(made)
    again = exporting.export()
    for connection in made["connections"]:
        del connection["credentials"]["client_secret"]
    assert again == made


def test_an_export_may_be_of_one_tenant():
    imported()
    imported({"version": 1, "tenants": [{"slug": "other"}]})
    assert [t["slug"] for t in exporting.export("other")["tenants"]] == ["other"]
    assert exporting.export("other")["connections"] == []
    with pytest.raises(InvalidConfiguration, match="no tenant"):
        exporting.export("nobody")

"""A form makes and changes connections and integrations as a file would."""

from __future__ import annotations

from typing import Any

import pytest

from connector.models import (
    AuditEntry,
    Integration,
    Tenant,
)
from connector.services.configuration import importing, saving
from connector.services.configuration.findings import InvalidConfiguration
from connector.services.configuration.saving import ConnectionInput, IntegrationInput
from tests.connector.configuration_support import NOW, acts, document, imported, with_integration

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("acme_environment")]


def form(**changes: Any) -> ConnectionInput:
    values: dict[str, Any] = {
        "slug": "acme-fedex",
        "tenant": "acme",
        "vendor": "fedex",
        "name": "FedEx",
        "environment": "sandbox",
        "urls": {"base": ""},
        "credentials": {"client_id": "k", "client_secret": "form-secret", "account_number": "740561073"},
    }
    return ConnectionInput(**values | changes)


def test_a_form_makes_and_changes_a_connection_like_a_file():
    saving.tenant_save("acme", "Acme", "America/Chicago", "anna")
    made = saving.connection_save(form(), "anna")
    assert made.urls == {"base": "https://apis-sandbox.fedex.com"}
    assert made.secrets() == {"client_secret": "form-secret"}
    kept = {"client_id": "k", "client_secret": "", "account_number": None}
    again = saving.connection_save(form(name="FedEx 2", credentials=kept), "anna", existing=made)
    assert (again.pk, again.name, again.secrets(), again.version) == (made.pk, "FedEx 2", {"client_secret": "form-secret"}, 1)
    gone = saving.connection_save(form(credentials={}, remove=frozenset({"client_secret"})), "anna", existing=again)
    assert gone.secrets() == {}
    assert acts() == ["tenant_created", "connection_created", "connection_changed", "connection_changed"]


def test_a_form_hears_of_errors_at_its_own_fields():
    saving.tenant_save("acme", "Acme", "America/Chicago", "anna")
    with pytest.raises(InvalidConfiguration) as caught:
        saving.connection_save(form(urls={"base": "http://10.0.0.1"}, credentials={}), "anna")
    assert {e.path for e in caught.value.errors} == {
        "urls.base",
        "credentials.client_id",
        "credentials.client_secret",
        "credentials.account_number",
    }


def test_a_form_cannot_take_over_a_slug():
    imported()
    with pytest.raises(InvalidConfiguration) as caught:
        saving.connection_save(form(), "anna")
    assert [e.path for e in caught.value.errors] == ["slug"]
    with pytest.raises(InvalidConfiguration):
        saving.tenant_save("acme", "Mine", "UTC", "anna")
    assert Tenant.objects.get().name == "Acme Manufacturing"


def test_a_form_makes_and_changes_an_integration():
    imported(document(integrations=[]))
    entered = IntegrationInput("i", "acme", "ifs_fedex", "IFS to FedEx", "acme-ifs", "acme-fedex", start_from=NOW)
    made = saving.integration_save(entered, "anna")
    assert (made.enabled, made.start_from, made.options) == (False, NOW, {})
    changed = IntegrationInput(
        "i", "acme", "ifs_fedex", "IFS to FedEx", "acme-ifs", "acme-fedex", options={"default_service": "FEDEX_GROUND"}
    )
    again = saving.integration_save(changed, "anna", existing=made)
    assert (again.pk, again.options, again.start_from) == (made.pk, {"default_service": "FEDEX_GROUND"}, None)
    entry = AuditEntry.objects.get(act="integration_changed")
    assert entry.facts["changed"] == ["options", "options.default_service", "start_from"]


def test_an_option_is_understood_by_its_former_name() -> None:
    importing.apply(with_integration(options={"label_image_type": "PNG"}), "ann")
    assert Integration.objects.get().options == {"label_format": "PNG"}

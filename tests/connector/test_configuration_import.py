"""Importing a configuration: what it does, what it never does, what it sets in motion, what the audit tells."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from connector.models import (
    AuditDetail,
    AuditEntry,
    CompanyCode,
    Connection,
    Effect,
    EffectSend,
    FlowState,
    Integration,
    Pause,
    Site,
    Tenant,
)
from connector.services import audit, keys
from connector.services.configuration import importing
from connector.services.configuration.findings import InvalidConfiguration
from tests.connector.configuration_support import (
    ADDRESS,
    NOW,
    SECRET,
    acts,
    document,
    errors,
    imported,
    pause,
    waiting,
    with_connection,
    with_integration,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("acme_environment")]


# -- what a good file does -----------------------------------------------------------------------------


def test_the_example_of_the_interface_makes_everything():
    summary = imported()
    assert summary.created == {
        "tenants": ["acme"],
        "connections": ["acme-ifs", "acme-fedex"],
        "integrations": ["acme-ifs-fedex"],
    }
    ifs = Connection.objects.get(slug="acme-ifs")
    assert ifs.plain == {"client_id": "MLC"}
    assert ifs.secrets() == {"client_secret": SECRET}
    assert ifs.urls == {"base": "https://acme.ifs.cloud"}
    assert ifs.settings["realm"] == "acme1"
    company = CompanyCode.objects.get()
    assert (company.code, company.cost_center, company.freight_account, company.tenant.slug) == ("10", "CC-100", "6400", "acme")
    assert list(company.sites.values_list("code", "timezone", "address")) == [
        ("S1", "America/Chicago", ADDRESS),
        ("S2", "America/Chicago", None),  # a bare site has the tenant's zone
    ]
    integration = Integration.objects.get()
    assert integration.enabled
    assert integration.start_from == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert integration.value_maps["service"] == {"FDX": "FEDEX_GROUND"}


def test_an_environment_brings_its_own_urls():
    imported()
    assert Connection.objects.get(slug="acme-fedex").urls == {"base": "https://apis-sandbox.fedex.com"}


def test_a_bare_subdomain_becomes_an_address():
    imported(with_connection(urls={"base": "acme"}))
    assert Connection.objects.get(slug="acme-ifs").urls == {"base": "https://acme.ifs.cloud"}


def test_the_same_file_again_changes_nothing_and_is_not_audited():
    imported()
    before, stamps = AuditEntry.objects.count(), list(Connection.objects.values_list("updated_at", "version"))
    summary = imported()
    assert (summary.created, summary.changed) == ({}, {})
    assert summary.unchanged["integrations"] == ["acme-ifs-fedex"]
    assert AuditEntry.objects.count() == before
    assert list(Connection.objects.values_list("updated_at", "version")) == stamps


def test_what_a_file_does_not_name_stays():
    imported()
    imported({"version": 1, "tenants": [{"slug": "other", "name": "Other", "timezone": "UTC"}]})
    assert set(Tenant.objects.values_list("slug", flat=True)) == {"acme", "other"}
    assert Connection.objects.count() == 2
    assert Integration.objects.count() == 1


def test_absent_blocks_and_credentials_are_kept():
    imported()
    imported(
        {"version": 1, "connections": [{"slug": "acme-ifs", "name": "Renamed"}], "integrations": [{"slug": "acme-ifs-fedex"}]}
    )
    ifs = Connection.objects.get(slug="acme-ifs")
    assert ifs.name == "Renamed"
    assert ifs.secrets() == {"client_secret": SECRET}
    assert ifs.settings["max_parallel"] == 8
    assert ifs.company_codes.count() == 1
    assert ifs.version == 1  # a name teaches nothing about the vendor
    assert Integration.objects.get().mappings == [{"slot": "service", "source": "ship_via"}]


def test_present_blocks_replace():
    imported()
    companies = [{"code": "10", "sites": ["S2", "S3"]}, {"code": "20"}]
    kept = Site.objects.get(code="S2").pk
    imported(with_connection(settings={"realm": "acme2"}, company_codes=companies))
    ifs = Connection.objects.get(slug="acme-ifs")
    assert ifs.settings == {"realm": "acme2"}
    assert set(ifs.company_codes.values_list("code", "cost_center")) == {("10", ""), ("20", "")}
    assert set(Site.objects.values_list("code", flat=True)) == {"S2", "S3"}
    assert Site.objects.get(code="S2").pk == kept
    imported(
        with_connection(company_codes=companies)
        | {"integrations": [{"slug": "acme-ifs-fedex", "options": {}, "schedule": {}, "value_maps": {}}]}
    )
    integration = Integration.objects.get()
    assert (integration.options, integration.schedule, integration.value_maps) == ({}, {}, {})
    assert integration.mappings != []


def test_null_removes_a_credential():
    imported(with_connection(1, credentials=document()["connections"][1]["credentials"] | {"webhook_secret": "hook-secret"}))
    imported({"version": 1, "connections": [{"slug": "acme-fedex", "credentials": {"webhook_secret": None}}]})
    assert Connection.objects.get(slug="acme-fedex").secrets() == {"client_secret": "s3cret-of-fedex"}
    assert AuditEntry.objects.order_by("-pk")[0].facts["credentials"] == {"webhook_secret": "removed"}


def test_a_schedule_without_flow_names_is_for_all_flows():
    imported(with_integration(schedule={"daily_at": ["14:00", "02:00"]}))
    assert Integration.objects.get().schedule == {flow: {"daily_at": ["02:00", "14:00"]} for flow in ("ship", "track")}


def test_one_error_anywhere_and_nothing_is_written():
    given = document()
    given["integrations"][0]["target"] = "nowhere"
    with pytest.raises(InvalidConfiguration) as caught:
        importing.apply(given, "test")
    assert [e.path for e in caught.value.errors] == ["integrations[0].target"]
    assert not Tenant.objects.exists()
    assert not AuditEntry.objects.exists()


def test_with_strange_keys_nothing_is_imported(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keys, "problem", lambda: "The key does not fit.")
    with pytest.raises(InvalidConfiguration, match="does not fit"):
        imported()
    assert not Tenant.objects.exists()


# -- what a change sets in motion ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"urls": {"base": "https://acme.ifs.cloud/x"}},
        {"settings": {"realm": "acme2"}},
        {"credentials": {"client_secret": "other"}},
        {"environment": "production"},
    ],
)
def test_a_change_that_matters_to_the_vendor_forgets_what_was_learned(changes: dict[str, Any]):
    imported()
    Connection.objects.filter(slug="acme-ifs").update(health="failed", last_ping={"layers": []}, unavailable_in_a_row=4)
    imported({"version": 1, "connections": [{"slug": "acme-ifs", **changes}]})
    ifs = Connection.objects.get(slug="acme-ifs")
    assert (ifs.version, ifs.health, ifs.last_ping, ifs.unavailable_in_a_row) == (2, "unknown", None, 0)


def test_a_pause_is_tried_again_when_its_connection_changes():
    imported()
    waiting(site="S1", company_code="10")
    whole, site = pause(), pause(scope="site", scope_name="S1")
    imported(with_connection(settings={"realm": "acme2"}))
    assert [Pause.objects.get(pk=p.pk).state for p in (whole, site)] == ["probing", "probing"]


def test_a_sites_pause_is_tried_again_when_its_address_changes():
    imported()
    waiting(site="S2", company_code="10")
    whole, site = pause(), pause(scope="site", scope_name="S2")
    sites = [{"code": "S2", "address": ADDRESS}]
    imported(with_connection(company_codes=[{"code": "10", "cost_center": "CC-100", "freight_account": "6400", "sites": sites}]))
    assert [Pause.objects.get(pk=p.pk).state for p in (whole, site)] == ["active", "probing"]
    assert Connection.objects.get(slug="acme-ifs").version == 1


def test_a_new_name_leaves_pauses_alone():
    imported()
    waiting()
    found = pause()
    imported({"version": 1, "connections": [{"slug": "acme-ifs", "name": "Renamed"}]})
    assert Pause.objects.get(pk=found.pk).state == "active"


def test_a_new_schedule_moves_the_next_poll():
    imported()
    integration = Integration.objects.get()
    at = NOW + dt.timedelta(days=3650)
    state = FlowState.objects.create(
        tenant=integration.tenant, integration=integration, flow="ship", last_poll_at=at, next_due_at=at
    )
    imported(with_integration(schedule={"ship": {"every_minutes": 60}}))
    assert FlowState.objects.get(pk=state.pk).next_due_at == at + dt.timedelta(minutes=60)


def test_what_has_been_carried_ties_an_integration_to_its_source():
    imported()
    waiting()
    given = with_connection()
    given["connections"].append(given["connections"][0] | {"slug": "ifs-two"})
    given["integrations"][0]["source"] = "ifs-two"
    assert "new integration" in errors(given)["integrations[0].source"]


def test_an_open_answer_ties_an_integration_to_its_target():
    imported()
    transfer = waiting()
    target = Connection.objects.get(slug="acme-fedex")
    source = Connection.objects.get(slug="acme-ifs")
    common = {"tenant": transfer.tenant, "transfer": transfer}
    effect = Effect.objects.create(
        **common, record=transfer.record, kind="label", source_connection=source, document_key="shipment:1", created_at=NOW
    )
    send = EffectSend.objects.create(**common, effect=effect, connection=target, reference="ML1", sent_at=NOW, deadline_at=NOW)
    given = document()
    given["connections"].append(given["connections"][1] | {"slug": "fedex-two"})
    given["integrations"][0]["target"] = "fedex-two"
    assert "still open" in errors(given)["integrations[0].target"]
    EffectSend.objects.filter(pk=send.pk).update(outcome="done")
    assert errors(given) == {}


# -- audit ---------------------------------------------------------------------------------------------


def test_every_change_is_an_entry_of_the_tenants_chain():
    imported()
    assert acts() == ["tenant_created", "connection_created", "connection_created", "integration_created", "integration_on"]
    given = with_connection(settings={"realm": "acme2", "max_parallel": 8}, credentials={"client_secret": "other"})
    given["integrations"][0] |= {
        "value_maps": {"service": {"FDX": "FEDEX_2_DAY"}, "carrier": {"FEDEX": "fedex"}},
        "enabled": False,
    }
    imported(given)
    changed = AuditEntry.objects.filter(act="connection_changed").get()
    assert changed.chain == f"tenant:{Tenant.objects.get().pk}"
    assert changed.actor == "test"
    assert "settings.realm" in changed.facts["changed"]
    assert "settings.max_parallel" not in changed.facts["changed"]
    assert changed.facts["credentials"] == {"client_secret": "changed"}
    assert changed.detail.detail["after"]["settings.realm"] == "acme2"
    assert changed.detail.detail["before"]["settings.realm"] == "acme1"
    entry = AuditEntry.objects.filter(act="integration_changed").get()
    assert entry.facts["changed"] == ["value_maps.service"]
    assert acts()[-1] == "integration_off"
    assert list(audit.verify()) == []


def test_no_secret_reaches_the_audit_and_the_account_only_its_end():
    imported()
    credentials = {"client_id": "k", "client_secret": "fresh-secret", "account_number": "740561999"}
    imported(with_connection(1, credentials=credentials))
    written = json.dumps(
        [*AuditEntry.objects.values_list("facts", flat=True), *AuditDetail.objects.values_list("detail", flat=True)]
    )
    for secret in (SECRET, "s3cret-of-fedex", "fresh-secret", "740561073", "740561999"):
        assert secret not in written
    assert "1999" in written

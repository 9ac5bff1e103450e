"""The configuration document: what is refused and where, what an import does, what it never does."""

from __future__ import annotations

import copy
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
    Installation,
    Integration,
    Pause,
    Site,
    SourceRecord,
    Tenant,
    Transfer,
)
from connector.services import audit, keys, switches, wake
from connector.services.configuration import exporting, importing, reading, saving
from connector.services.configuration.findings import InvalidConfiguration
from connector.services.configuration.saving import ConnectionInput, IntegrationInput

pytestmark = pytest.mark.django_db

NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
SECRET = "s3cret-of-ifs"
ADDRESS = {
    "company": "Acme",
    "name": "Shipping",
    "phone": "9015550100",
    "lines": ["1 Dock Rd"],
    "city": "Memphis",
    "state": "TN",
    "postal_code": "38116",
    "country": "US",
}


def document(**changes: Any) -> dict[str, Any]:
    made = {
        "version": 1,
        "tenants": [{"slug": "acme", "name": "Acme Manufacturing", "timezone": "America/Chicago"}],
        "connections": [
            {
                "slug": "acme-ifs",
                "tenant": "acme",
                "vendor": "ifs_cloud",
                "name": "IFS production",
                "environment": "custom",
                "urls": {"base": "https://acme.ifs.cloud"},
                "credentials": {"client_id": "MLC", "client_secret": {"env": "ACME_IFS_SECRET"}},
                "settings": {
                    "realm": "acme1",
                    "max_parallel": 8,
                    "timeouts": {"connect_s": 10, "read_s": 60, "total_s": 60},
                    "limits": [{"name": "calls", "scope": "connection", "calls": 10, "per_s": 1}],
                    "in_doubt": {"look_up_after_s": [5, 30, 120, 600, 3600], "resend_after_s": None},
                },
                "company_codes": [
                    {
                        "code": "10",
                        "cost_center": "CC-100",
                        "freight_account": "6400",
                        "sites": [{"code": "S1", "timezone": "America/Chicago", "address": dict(ADDRESS)}, "S2"],
                    }
                ],
            },
            {
                "slug": "acme-fedex",
                "tenant": "acme",
                "vendor": "fedex",
                "name": "FedEx",
                "environment": "sandbox",
                "credentials": {"client_id": "l7key", "client_secret": "s3cret-of-fedex", "account_number": "740561073"},
            },
        ],
        "integrations": [
            {
                "slug": "acme-ifs-fedex",
                "tenant": "acme",
                "kind": "ifs_fedex",
                "source": "acme-ifs",
                "target": "acme-fedex",
                "company_codes": ["10"],
                "enabled": True,
                "start_from": "2026-01-01T00:00:00Z",
                "schedule": {
                    "ship": {"every_minutes": 5},
                    "track": {"every_minutes": 60, "weekdays": [0, 1, 2, 3, 4], "hours": [6, 20]},
                },
                "options": {"default_service": None},
                "mappings": [{"slot": "service", "source": "ship_via"}],
                "value_maps": {"service": {"FDX": "FEDEX_GROUND"}, "carrier": {"FEDEX": "fedex"}},
            }
        ],
    }
    return copy.deepcopy(made) | changes


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setenv("ACME_IFS_SECRET", SECRET)
    settings.ALLOW_PRIVATE_HOSTS = []


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(wake, "_enqueue", lambda name, *args: calls.append((name, *args)))
    return calls


def imported(given: dict[str, Any] | None = None) -> importing.Summary:
    return importing.apply(given or document(), "test")


def with_connection(n: int = 0, **changes: Any) -> dict[str, Any]:
    made = document()
    made["connections"][n] |= changes
    return made


def with_integration(**changes: Any) -> dict[str, Any]:
    made = document()
    made["integrations"][0] |= changes
    return made


def errors(given: Any) -> dict[str, str]:
    return {e.path: e.message for e in importing.validate(given)}


def acts() -> list[str]:
    return list(AuditEntry.objects.order_by("pk").values_list("act", flat=True))


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


# -- what is refused, and where ------------------------------------------------------------------------


def test_unknown_keys_are_named_with_their_place_and_the_nearest_known_one():
    given = document(tenant=[])
    given["connections"][0]["settigns"] = {}
    given["connections"][0]["company_codes"][0]["sites"][0]["adress"] = {}
    found = errors(given)
    assert found["tenant"] == 'unknown key "tenant" at the top; did you mean "tenants"?'
    assert 'did you mean "settings"?' in found["connections[0].settigns"]
    assert 'did you mean "address"?' in found["connections[0].company_codes[0].sites[0].adress"]
    assert len(found) == 3


@pytest.mark.parametrize(
    ("given", "path", "part"),
    [
        ([], "", "must be an object"),
        ({}, "version", "must be 1"),
        ({"version": True}, "version", "must be 1"),
        ({"version": 2}, "version", "must be 1"),
        ({"version": 1, "tenants": {}}, "tenants", "must be a list"),
        ({"version": 1, "tenants": ["acme"]}, "tenants[0]", "must be an object"),
        ({"version": 1, "tenants": [{"name": "A"}]}, "tenants[0].slug", "is required"),
        ({"version": 1, "tenants": [{"slug": "a b"}]}, "tenants[0].slug", "is no slug"),
        ({"version": 1, "tenants": [{"slug": "a", "name": 3}]}, "tenants[0].name", "must be a text"),
        ({"version": 1, "tenants": [{"slug": "a", "timezone": "America/Chigago"}]}, "tenants[0].timezone", "America/Chicago"),
        ({"version": 1, "tenants": [{"slug": "a"}, {"slug": "a"}]}, "tenants[1].slug", "stands twice"),
        ({"version": 1, "tenants": [{"slug": "a", "name": "\x00"}]}, "tenants[0].name", "cannot be stored"),
        ({"version": 1, "tenants": [{"slug": "a", "name": "\ud800"}]}, "tenants[0].name", "cannot be stored"),
        (with_connection(tenant="acne"), "connections[0].tenant", 'did you mean "acme"?'),
        (with_connection(vendor="ups"), "connections[0].vendor", 'this release has no "ups" yet; it has ifs_cloud, fedex'),
        (with_connection(vendor="fedx"), "connections[0].vendor", 'did you mean "fedex"?'),
        (with_connection(1, environment="sandbx"), "connections[1].environment", 'did you mean "sandbox"?'),
        (with_connection(urls={}), "connections[0].urls.base", "is required"),
        (with_connection(urls={"base": "acme", "bass": "https://x.example"}), "connections[0].urls.bass", 'did you mean "base"?'),
        (with_connection(urls={"base": "http://acme.ifs.cloud"}), "connections[0].urls.base", "over https"),
        (with_connection(urls={"base": "https://10.1.2.3"}), "connections[0].urls.base", "not a public address"),
        (with_connection(urls={"base": "https://169.254.169.254"}), "connections[0].urls.base", "metadata"),
        (with_connection(1, urls={"base": "https://apis.fedex.com?x=1"}), "connections[1].urls.base", "base address"),
        (with_connection(1, urls={"base": "https://u:p@apis.fedex.com"}), "connections[1].urls.base", "do not belong into a URL"),
        (with_connection(credentials={"client_id": "x"}), "connections[0].credentials.client_secret", "is required"),
        (
            with_connection(credentials={"client_id": "x", "client_secret": None}),
            "connections[0].credentials.client_secret",
            "is required",
        ),
        (
            with_connection(credentials={"client_id": "x", "client_secret": 7}),
            "connections[0].credentials.client_secret",
            "must be a text",
        ),
        (
            with_connection(credentials={"client_id": "x", "client_secret": " "}),
            "connections[0].credentials.client_secret",
            "not be empty",
        ),
        (
            with_connection(credentials=document()["connections"][0]["credentials"] | {"clientid": "x"}),
            "connections[0].credentials.clientid",
            "client_id",
        ),
        (with_connection(settings={}), "connections[0].settings.realm", "is required"),
        (
            with_connection(settings={"realm": "a", "shipment": {"trcking_field": "X"}}),
            "connections[0].settings.shipment.trcking_field",
            "tracking_field",
        ),
        (with_connection(settings={"realm": "a", "max_parallel": 0}), "connections[0].settings.max_parallel", "from 1 to"),
        (with_connection(settings={"realm": "a", "timeouts": {"read": 5}}), "connections[0].settings.timeouts.read", "read_s"),
        (
            with_connection(settings={"realm": "a", "timeouts": {"total_s": 500}}),
            "connections[0].settings.timeouts.total_s",
            "at most",
        ),
        (
            with_connection(settings={"realm": "a", "limits": [{"name": "cals", "calls": 1, "per_s": 1}]}),
            "connections[0].settings.limits[0].name",
            "calls",
        ),
        (
            with_connection(settings={"realm": "a", "limits": [{"name": "calls", "per_s": 1}]}),
            "connections[0].settings.limits[0].calls",
            "whole number",
        ),
        (
            with_connection(1, settings={"limits": [{"name": "token", "scope": "connection", "calls": 1, "per_s": 1}]}),
            "connections[1].settings.limits[0].scope",
            "per host",
        ),
        (
            with_connection(settings={"realm": "a", "in_doubt": {"look_up_after_s": []}}),
            "connections[0].settings.in_doubt.look_up_after_s",
            "1 to",
        ),
        (
            with_connection(settings={"realm": "a", "in_doubt": {"look_up_after_s": [5, -1]}}),
            "connections[0].settings.in_doubt.look_up_after_s[1]",
            "above 0",
        ),
        (
            with_connection(settings={"realm": "a", "extra_headers": {"Authorization": "x"}}),
            "connections[0].settings.extra_headers.Authorization",
            "secret",
        ),
        (
            with_connection(settings={"realm": "a", "extra_headers": {"X-Route": "a\r\nb"}}),
            "connections[0].settings.extra_headers.X-Route",
            "ASCII",
        ),
        (with_connection(1, settings={"local": "x"}), "connections[1].settings.local", "unknown"),
        (with_connection(company_codes=[{"code": "10"}, {"code": "10"}]), "connections[0].company_codes[1].code", "twice"),
        (
            with_connection(company_codes=[{"code": "10", "sites": ["S1", "S1"]}]),
            "connections[0].company_codes[0].sites[1]",
            "twice",
        ),
        (with_connection(company_codes=[{"code": "10", "sites": [5]}]), "connections[0].company_codes[0].sites[0]", "site code"),
        (
            with_connection(company_codes=[{"code": "10", "sites": [{"code": "S", "address": {"country": "USA"}}]}]),
            "connections[0].company_codes[0].sites[0].address.country",
            "no country code",
        ),
        (with_integration(kind="ifs_ups"), "integrations[0].kind", 'this release has no "ifs_ups" yet; it has ifs_fedex'),
        (with_integration(kind="ifs_fdex"), "integrations[0].kind", 'did you mean "ifs_fedex"?'),
        (with_integration(source="acme-if"), "integrations[0].source", 'did you mean "acme-ifs"?'),
        (with_integration(source="acme-fedex"), "integrations[0].source", "must be ifs_cloud"),
        (with_integration(company_codes=["11"]), "integrations[0].company_codes[0]", "neither connection"),
        (with_integration(enabled="yes"), "integrations[0].enabled", "true or false"),
        (with_integration(start_from="2026-01-01"), "integrations[0].start_from", "with zone"),
        (with_integration(start_from="soon"), "integrations[0].start_from", "with zone"),
        (with_integration(schedule={"shp": {}}), "integrations[0].schedule.shp", 'did you mean "ship"?'),
        (with_integration(schedule={"every_minutes": 5, "ship": {}}), "integrations[0].schedule.ship", "not both"),
        (with_integration(schedule={"every_minutes": 0}), "integrations[0].schedule.every_minutes", "1 to 1440"),
        (
            with_integration(schedule={"ship": {"every_minutes": 5, "daily_at": ["02:00"]}}),
            "integrations[0].schedule.ship.daily_at",
            "not both",
        ),
        (
            with_integration(schedule={"ship": {"daily_at": ["2:00"]}}),
            "integrations[0].schedule.ship.daily_at[0]",
            "such as 02:00",
        ),
        (with_integration(schedule={"ship": {"daily_at": []}}), "integrations[0].schedule.ship.daily_at", "at least one"),
        (with_integration(schedule={"ship": {"weekdays": [7]}}), "integrations[0].schedule.ship.weekdays[0]", "0 to 6"),
        (with_integration(schedule={"ship": {"weekdays": []}}), "integrations[0].schedule.ship.weekdays", "at least one day"),
        (with_integration(schedule={"ship": {"hours": [20, 6]}}), "integrations[0].schedule.ship.hours", "from < to"),
        (
            with_integration(schedule={"ship": {"daily_at": ["02:00"], "hours": [6, 20]}}),
            "integrations[0].schedule.ship.daily_at[0]",
            "never run",
        ),
        (with_integration(options={"pickup_typ": "x"}), "integrations[0].options.pickup_typ", "pickup_type"),
        (with_integration(options={"pickup_type": "x"}), "integrations[0].options.pickup_type", "one of"),
        (with_integration(options={"pickup_type": None}), "integrations[0].options.pickup_type", "not be null"),
        (with_integration(options={"write_ship_date": 1}), "integrations[0].options.write_ship_date", "true or false"),
        (with_integration(options={"max_purchases_per_hour": 0}), "integrations[0].options.max_purchases_per_hour", "from 1"),
        (
            with_integration(options={"label_stock_type": "STOCK_4X6"}),
            "integrations[0].options.label_stock_type",
            "label_format PDF",
        ),
        (
            with_integration(options={"label_format": "ZPLII", "label_stock_type": "PAPER_4X6"}),
            "integrations[0].options.label_stock_type",
            "STOCK_4X8",
        ),
        (with_integration(options={"documents": ["order"]}), "integrations[0].options.documents[0]", "one of shipment"),
        (
            with_integration(mappings=[{"slot": "servce", "source": "x"}]),
            "integrations[0].mappings[0].slot",
            'did you mean "service"?',
        ),
        (with_integration(mappings=[{"slot": "service"}]), "integrations[0].mappings[0]", "needs a source"),
        (with_integration(mappings=[{"slot": "service", "source": "a["}]), "integrations[0].mappings[0].source", "no JMESPath"),
        (
            with_integration(mappings=[{"slot": "service", "source": "a" * 501}]),
            "integrations[0].mappings[0].source",
            "longer than 500",
        ),
        (
            with_integration(mappings=[{"slot": "service", "source": "(" * 250 + "a" + ")" * 249}]),
            "integrations[0].mappings[0].source",
            "",
        ),
        (
            with_integration(mappings=[{"slot": "service", "source": "a", "constant": "b"}]),
            "integrations[0].mappings[0].constant",
            "not both",
        ),
        (with_integration(mappings=[{"slot": "service", "source": "a"}] * 2), "integrations[0].mappings[1].slot", "twice"),
        (with_integration(value_maps={"servic": {}}), "integrations[0].value_maps.servic", 'did you mean "service"?'),
        (with_integration(value_maps={"service": {"A": 5}}), "integrations[0].value_maps.service.A", "must be a text"),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(given: Any, path: str, part: str):
    found = errors(given)
    assert list(found) == [path]
    assert part in found[path]


def test_a_missing_environment_variable_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ACME_IFS_SECRET")
    assert errors(document()) == {
        "connections[0].credentials.client_secret": "the environment variable ACME_IFS_SECRET is not set"
    }


def test_errors_never_repeat_a_secret():
    given = with_connection(credentials={"client_id": "x", "client_secret": ["hunter2"], "clientsecret": "hunter2"})
    assert "hunter2" not in json.dumps(errors(given))


def test_a_document_without_end_is_refused():
    endless: list[Any] = []
    for _ in range(500):
        endless = [endless]
    assert "nested" in next(iter(errors({"version": 1, "tenants": endless}).values()))


def test_a_wrong_connection_is_no_second_error_at_its_integration():
    assert list(errors(with_connection(urls={"base": "https://"}))) == ["connections[0].urls.base"]


@pytest.mark.parametrize("text", ['{"version": 1, "version": 1}', '{"version": NaN}', '{"version": 1', "\xff\xfe", "[" * 100_000])
def test_text_that_is_no_clean_json_is_refused(text: str):
    with pytest.raises(InvalidConfiguration):
        reading.read_document(text.encode("latin-1"))


def test_a_key_that_stands_twice_is_named_with_its_place():
    with pytest.raises(InvalidConfiguration) as caught:
        reading.read_document(b'{"version": 1, "tenants": [{"slug": "a", "slug": "b"}]}')
    assert [(e.path, e.message) for e in caught.value.errors] == [("tenants[0].slug", 'the key "slug" stands here twice')]


def test_another_tenants_things_are_out_of_reach():
    imported()
    other = {"version": 1, "tenants": [{"slug": "other"}]}
    taken = errors(other | {"connections": [{"slug": "acme-ifs", "tenant": "other", "name": "mine"}]})
    assert "another tenant" in taken["connections[0].tenant"]
    integration = with_integration(slug="theirs", tenant="other")["integrations"]
    found = errors(other | {"integrations": integration})
    assert set(found) == {"integrations[0].source", "integrations[0].target"}


def test_references_reach_what_the_database_holds():
    imported()
    given = with_integration(slug="second", enabled=False)
    assert errors({"version": 1, "integrations": given["integrations"]}) == {}


def test_the_vendor_of_a_connection_never_changes():
    imported()
    assert "never changes" in errors(with_connection(vendor="fedex"))["connections[0].vendor"]


def test_a_company_code_in_use_cannot_be_taken_away():
    imported()
    given = {"version": 1, "connections": [{"slug": "acme-ifs", "company_codes": [{"code": "20"}]}]}
    assert "acme-ifs-fedex" in errors(given)["connections[0].company_codes"]
    given["integrations"] = [{"slug": "acme-ifs-fedex", "company_codes": ["20"]}]
    assert errors(given) == {}


# -- hosts and secrets ---------------------------------------------------------------------------------


@pytest.mark.parametrize("credentials", [None, {"client_id": "MLC"}])
def test_a_stored_secret_is_not_sent_to_a_new_host(credentials: dict[str, str] | None):
    imported()
    moved: dict[str, Any] = {"slug": "acme-ifs", "urls": {"base": "https://evil.example.com"}}
    if credentials:
        moved["credentials"] = credentials
    given = {"version": 1, "connections": [moved]}
    [error] = importing.validate(given)
    assert error.path.startswith("connections[0].credentials")
    assert "client_secret" in error.message
    moved["credentials"] = {"client_secret": "entered-again"}
    imported(given)
    assert Connection.objects.get(slug="acme-ifs").secrets() == {"client_secret": "entered-again"}


def test_an_environment_with_another_host_asks_for_the_secret_too():
    imported()
    given: dict[str, Any] = {"version": 1, "connections": [{"slug": "acme-fedex", "environment": "production"}]}
    assert "connections[0].credentials" in errors(given)
    given["connections"][0]["credentials"] = {"client_secret": "production-secret"}
    imported(given)
    assert Connection.objects.get(slug="acme-fedex").urls == {"base": "https://apis.fedex.com"}


def test_a_path_on_the_same_host_needs_no_secret():
    imported()
    imported({"version": 1, "connections": [{"slug": "acme-ifs", "urls": {"base": "https://acme.ifs.cloud/prefix"}}]})
    ifs = Connection.objects.get(slug="acme-ifs")
    assert (ifs.urls["base"], ifs.version) == ("https://acme.ifs.cloud/prefix", 2)


def test_secrets_that_no_key_opens_are_neither_sent_nor_saved_again():
    imported()
    lost = "gAAAAA-cannot-be-opened"
    Connection.objects.filter(slug="acme-ifs").update(secrets_text=lost)
    before = Connection.objects.filter(slug="acme-ifs").values_list("secrets_text", flat=True).get()
    broken = Connection.objects.get(slug="acme-ifs")
    broken.secrets_text = lost
    assert not broken.secrets_readable
    assert before == lost  # stored and read with the same key; what follows reads it as ciphertext
    found = errors({"version": 1, "connections": [{"slug": "acme-ifs", "urls": {"base": "https://new.example.com"}}]})
    assert "client_secret" in found["connections[0].credentials"]
    imported({"version": 1, "connections": [{"slug": "acme-ifs", "name": "Renamed"}]})
    assert Connection.objects.get(slug="acme-ifs").secrets_text == lost
    imported({"version": 1, "connections": [{"slug": "acme-ifs", "credentials": {"client_secret": "anew"}}]})
    assert Connection.objects.get(slug="acme-ifs").secrets() == {"client_secret": "anew"}


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


def pause(**changes: Any) -> Pause:
    connection = Connection.objects.get(slug="acme-ifs")
    values = {"scope": "connection", "connection": connection, "code": "x", "message": "x", "since": NOW}
    return Pause.objects.create(tenant=connection.tenant, **values | changes)


def waiting(**changes: Any) -> Transfer:
    integration = Integration.objects.get()
    common = {"tenant": integration.tenant, "integration": integration, "flow": "ship", "source_key": "shipment:1"}
    record = SourceRecord.objects.create(**common, document_kind="shipment", first_seen_at=NOW, last_seen_at=NOW)
    values = {"due_at": NOW + dt.timedelta(days=3650), "created_at": NOW, "updated_at": NOW}
    return Transfer.objects.create(**common, record=record, **values | changes)


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


# -- export --------------------------------------------------------------------------------------------


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


# -- switches ------------------------------------------------------------------------------------------


def test_switching_on_polls_at_once_and_lets_go_what_was_held(django_capture_on_commit_callbacks, woken):
    imported(with_integration(enabled=False))
    integration = Integration.objects.get()
    held = waiting(code="switched_off")
    with django_capture_on_commit_callbacks(execute=True):
        assert switches.integration_switch(integration, True, "anna")
        assert not switches.integration_switch(integration, True, "anna")
    assert ("connector.tasks.poll", integration.pk, "ship") in woken
    assert ("connector.tasks.poll", integration.pk, "track") in woken
    assert Transfer.objects.get(pk=held.pk).due_at < held.due_at
    assert acts().count("integration_on") == 1
    assert switches.integration_switch(integration, False, "anna", "stocktaking")
    entry = AuditEntry.objects.get(act="integration_off")
    assert (entry.actor, entry.detail.detail) == ("anna", {"reason": "stocktaking"})


def test_an_integration_that_this_release_cannot_run_is_not_switched_on():
    imported(with_integration(enabled=False))
    Integration.objects.update(kind="ifs_ups")
    with pytest.raises(InvalidConfiguration, match="cannot run"):
        switches.integration_switch(Integration.objects.get(), True, "anna")
    assert not Integration.objects.get().enabled


@pytest.mark.parametrize("level", ["installation", "tenant", "integration"])
def test_buying_is_stopped_and_allowed_again_at_every_level(level, django_capture_on_commit_callbacks, woken):
    imported()
    obj = {"installation": None, "tenant": Tenant.objects.get(), "integration": Integration.objects.get()}[level]
    held = waiting(code="stop_buying")
    assert switches.stop_buying(level, obj, True, "anna", "fire drill")
    assert not switches.stop_buying(level, obj, True, "anna")
    row = {"installation": Installation, "tenant": Tenant, "integration": Integration}[level].objects.get()
    assert (row.stop_buying, row.stop_buying_reason) == (True, "fire drill")
    assert Transfer.objects.get(pk=held.pk).due_at == held.due_at
    with django_capture_on_commit_callbacks(execute=True):
        assert switches.stop_buying(level, obj, False, "anna")
    row.refresh_from_db()
    assert (row.stop_buying, row.stop_buying_reason) == (False, "")
    assert Transfer.objects.get(pk=held.pk).due_at < held.due_at
    assert any(name.startswith("connector.tasks.work") for name, *_ in woken)
    entries = AuditEntry.objects.filter(act__startswith="stop_buying")
    assert [e.act for e in entries.order_by("pk")] == ["stop_buying_on", "stop_buying_off"]
    assert {e.chain for e in entries} == {"installation" if level == "installation" else f"tenant:{Tenant.objects.get().pk}"}
    assert list(audit.verify()) == []


def test_a_level_goes_with_its_object():
    with pytest.raises(TypeError):
        switches.stop_buying("tenant", None, True, "anna")
    assert not Installation.objects.filter(stop_buying=True).exists()


# -- forms ---------------------------------------------------------------------------------------------


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

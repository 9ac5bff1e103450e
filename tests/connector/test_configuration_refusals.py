"""What an import refuses and where it says so; no secret goes to a new host."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connector.models import (
    Connection,
)
from connector.services.configuration import importing, reading
from connector.services.configuration.findings import InvalidConfiguration
from tests.connector.configuration_support import document, errors, imported, with_connection, with_integration

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("acme_environment")]


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
            with_connection(1, settings={"limits": [{"name": "token", "scope": "connection", "calls": 1, "per_s": 5}]}),
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
            with_connection(settings={"realm": "a", "extra_headers": {"X-XSRF-TOKEN": "a\r\nb"}}),
            "connections[0].settings.extra_headers.X-XSRF-TOKEN",
            "ASCII",
        ),
        (
            with_connection(settings={"realm": "a", "extra_headers": {"X-`id`": "x"}}),
            "connections[0].settings.extra_headers.X-`id`",
            "is no header name",
        ),
        (
            with_connection(settings={"realm": "a", "extra_headers": {"X-Credential": "x"}}),
            "connections[0].settings.extra_headers.X-Credential",
            "secret",
        ),
        (
            with_connection(settings={"realm": "a", "extra_headers": {"X-Gate": "Basic bWU6c2VjcmV0"}}),
            "connections[0].settings.extra_headers.X-Gate",
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

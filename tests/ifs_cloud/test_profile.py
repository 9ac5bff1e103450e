"""The connection profile: defaults pass, mistakes are named with their place (sheet 11)."""

from __future__ import annotations

from typing import Any

import pytest

from integrations.base.errors import ConfigurationError
from integrations.ifs_cloud.profile import profile_of
from integrations.ifs_cloud.profile_checks import check_settings
from integrations.ifs_cloud.profile_defaults import DEFAULTS, merged
from integrations.ifs_cloud.vendor import VENDOR, normalise_url


def errors_of(over: dict[str, Any]) -> dict[str, str]:
    return {e.path: e.message for e in check_settings(merged({"realm": "acme1"} | over))}


def test_the_defaults_lack_nothing_but_the_realm() -> None:
    assert [e.path for e in check_settings(DEFAULTS)] == ["realm"]
    assert errors_of({}) == {}


def test_settings_of_every_vendor_are_left_to_the_services() -> None:
    assert (
        errors_of({"max_parallel": 8, "timeouts": {"read_s": 5}, "limits": [], "in_doubt": {}, "extra_headers": {"X-A": "b"}})
        == {}
    )


def test_blocks_merge_key_by_key() -> None:
    whole = merged({"shipment": {"poll": {"window_days": 7}, "tracking_field": "Cf_Tracking_No"}})
    assert whole["shipment"]["poll"] == DEFAULTS["shipment"]["poll"] | {"window_days": 7}
    assert whole["shipment"]["tracking_field"] == "Cf_Tracking_No"
    assert whole["shipment"]["set"] == "ShipmentSet"
    assert DEFAULTS["shipment"]["tracking_field"] == "AirwayBillNo"


@pytest.mark.parametrize(
    ("over", "path", "says"),
    [
        ({"shipment": {"traking_field": "X"}}, "shipment.traking_field", 'did you mean "tracking_field"'),
        ({"relm": "x"}, "relm", 'did you mean "realm"'),
        ({"base_url": "https://x"}, "base_url", "connection's URL"),
        ({"companies": []}, "companies", "at the connection"),
        ({"realm": ""}, "realm", "required"),
        ({"realm": "a/b"}, "realm", "required"),
        ({"page_size": 1001}, "page_size", "from 1 to 1000"),
        ({"page_size": True}, "page_size", "whole number"),
        ({"page_size": "200"}, "page_size", "whole number"),
        ({"gateway": "web"}, "gateway", "main, int, b2b"),
        ({"state_literal": "qualified"}, "state_literal", "enum, string"),
        ({"shipment": {"poll": {"strategy": "history"}}}, "shipment.poll.strategy", "etag_window, stamp"),
        ({"shipment": {"poll": {"strategy": "stamp"}}}, "shipment.poll.stamp_field", "needs the name"),
        ({"shipment": {"ready_states": []}}, "shipment.ready_states", "must not be empty"),
        ({"shipment": {"ready_states": ["Done' or 1 eq 1"]}}, "shipment.ready_states", "list of names"),
        ({"shipment": {"set": "ShipmentSet?x=1"}}, "shipment.set", "must be a name"),
        ({"shipment": {"service": "Ship/../Other"}}, "shipment.service", "name of a projection"),
        ({"shipment": {"tracking_field": 5}}, "shipment.tracking_field", "must be a name"),
        (
            {"customer_order_charge": {"amount_mode": "cost_plus_percent"}},
            "customer_order_charge.amount_percent",
            "needs the per",
        ),
        ({"customer_order_charge": {"amount_percent": True}}, "customer_order_charge.amount_percent", "from 0 to 1000"),
        ({"customer_order_charge": {"amount_percent": "-1"}}, "customer_order_charge.amount_percent", "from 0 to 1000"),
        ({"customer_order_charge": {"amount_percent": "NaN"}}, "customer_order_charge.amount_percent", "from 0 to 1000"),
        ({"customer_order_charge": {"amount_percent": "1.23456"}}, "customer_order_charge.amount_percent", "four decimals"),
        ({"shipment": {"state_field": None}}, "shipment.state_field", "must not be null"),
        ({"shipment": {"key": ["A", "B"]}}, "shipment.key", "exactly one"),
        ({"shipment": "ShipmentHandling"}, "shipment", "block of settings"),
        ({"projection_root": "ifsapplications"}, "projection_root", "path like"),
        ({"weight_unit": "stone"}, "weight_unit", "kg, lb"),
        ({"default_package": {"weight": 1}}, "default_package.unit", "missing"),
        ({"default_package": {"weight": 0, "unit": "kg"}}, "default_package.weight", "above 0"),
        ({"default_package": {"weight": 1, "unit": "kg", "length": 10}}, "default_package", "width, height, dim_unit"),
        ({"default_package": {"weight": 1, "unit": "kg", "wide": 1}}, "default_package.wide", "unknown key"),
    ],
)
def test_a_mistake_is_named_with_its_place(over: dict[str, Any], path: str, says: str) -> None:
    found = errors_of(over)
    assert list(found) == [path]
    assert says in found[path]


def test_targets_may_be_null_and_services_may_be_entity_services() -> None:
    over = {"shipment": {"tracking_field": None, "service": "entity:ShipmentEntity", "receiver": {"address6": None}}}
    assert errors_of(over) == {}
    profile = profile_of({"realm": "acme1"} | over)
    assert profile.shipment.tracking_field is None
    assert (profile.shipment.header.service, profile.shipment.header.entity) == ("ShipmentEntity", True)
    assert (profile.shipment.lines.service, profile.shipment.lines.entity) == ("ShipmentEntity", True)


def test_lines_may_live_in_another_projection() -> None:
    profile = profile_of({"realm": "acme1", "shipment": {"lines": {"service": "ShipmentLineHandling"}}})
    assert profile.shipment.lines.service == "ShipmentLineHandling"


def test_a_full_default_package_passes() -> None:
    package = {"weight": "1.5", "unit": "lb", "length": 12, "width": 8, "height": 4, "dim_unit": "in"}
    assert errors_of({"default_package": package}) == {}


def test_a_profile_with_a_mistake_is_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        profile_of({"realm": ""})
    assert (caught.value.code, caught.value.field, caught.value.scope) == ("settings", "realm", "connection")


@pytest.mark.parametrize(
    ("entered", "url"),
    [
        ("acme", "https://acme.ifs.cloud"),
        (" ACME ", "https://acme.ifs.cloud"),
        ("acme.ifs.cloud/", "https://acme.ifs.cloud"),
        ("https://ERP.example.com:48080/", "https://erp.example.com:48080"),
        ("http://127.0.0.1:8900/ifs_cloud/", "http://127.0.0.1:8900/ifs_cloud"),
        ("localhost", "https://localhost"),
        ("https://acme.ifs.cloud/main/ifsapplications/web/page/Shipment?id=1#x", "https://acme.ifs.cloud"),
        ("https://acme.ifs.cloud/erp/int/ifsapplications/projection/v1", "https://acme.ifs.cloud/erp"),
        ("https://acme.ifs.cloud/auth/realms/acme1", "https://acme.ifs.cloud"),
        ("http://[::1]:8900/ifs_cloud", "http://[::1]:8900/ifs_cloud"),
    ],
)
def test_an_address_is_brought_into_one_form(entered: str, url: str) -> None:
    assert normalise_url("base", entered) == url
    assert normalise_url("base", url) == url


@pytest.mark.parametrize("entered", ["", "ftp://acme.ifs.cloud", "https://me:pw@acme.ifs.cloud", "https://", "a b.example.com"])
def test_what_is_no_address_is_refused(entered: str) -> None:
    with pytest.raises(ValueError):
        normalise_url("base", entered)


def test_the_manifest_says_what_is_secret_and_needs_no_production_address() -> None:
    assert VENDOR.secret_keys == {"client_secret"}
    assert {e.key: dict(e.urls) for e in VENDOR.environments} == {
        "production": {},
        "simulator": {"base": "http://127.0.0.1:8900/ifs_cloud"},
        "custom": {},
    }
    assert VENDOR.check_settings is check_settings


def test_the_history_log_is_a_strategy_of_shipments_only() -> None:
    assert check_settings(merged({"realm": "r", "shipment": {"poll": {"strategy": "history_log"}}})) == []
    [wrong] = check_settings(merged({"realm": "r", "customer_order": {"poll": {"strategy": "history_log"}}}))
    assert wrong.path == "customer_order.poll.strategy"
    [wrong] = check_settings(merged({"realm": "r", "shipment": {"poll": {"history": {"keys_field": None}}}}))
    assert wrong.path == "shipment.poll.history.keys_field"
    assert profile_of({"realm": "r"}).shipment.poll.history is None

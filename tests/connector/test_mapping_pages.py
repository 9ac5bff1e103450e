"""The mapping editor by role and tenant: who looks, who changes, who sees nothing."""

from __future__ import annotations

import pytest
from django.urls import reverse

from connector.models import Integration
from integrations.flows.table import KINDS
from tests.connector.admin_support import House, build, client_of, owner

pytestmark = pytest.mark.django_db

NEW = {
    "check": "1",
    **{f"slot-{slot.name}-mode": "own" for slot in KINDS["ifs_fedex"].slots},
    **{f"map-{m}-{k}": "0" for m in KINDS["ifs_fedex"].value_maps for k in ("TOTAL_FORMS", "INITIAL_FORMS")},
    "lines-service": "ROAD => FEDEX_GROUND",
}


@pytest.fixture
def houses() -> tuple[House, House]:
    return build("alpha"), build("omega")


def page_of(house: House) -> str:
    return reverse("admin:connector_integration_mappings", args=[house.integration.pk])


def change(client: object, house: House) -> int:
    """Check and save a change, as a browser would; the last status."""
    page = page_of(house)
    answer = client.post(page, NEW | {"base": "x"})  # type: ignore[attr-defined]
    if answer.status_code != 200:
        return int(answer.status_code)
    form = answer.context["form"]
    told = {name: form[name].value() for name in ("base", "reviewed")}
    return int(client.post(page, NEW | told | {"save": "1"}).status_code)  # type: ignore[attr-defined]


def tables(house: House) -> object:
    return Integration.objects.get(pk=house.integration.pk).value_maps


def test_operators_and_those_above_change_mappings(houses: tuple[House, House]) -> None:
    mine = houses[0]
    for person in (mine.person("operator"), mine.person("administrator"), owner()):
        Integration.objects.filter(pk=mine.integration.pk).update(value_maps={})
        assert change(client_of(person), mine) == 302, person
        assert tables(mine) == {"service": {"ROAD": "FEDEX_GROUND"}}


def test_a_viewer_looks_and_changes_nothing(houses: tuple[House, House]) -> None:
    mine = houses[0]
    client, before = client_of(mine.person("viewer")), tables(mine)
    text = client.get(page_of(mine)).content.decode()
    assert (
        "<fieldset disabled>" in text and "Check the mapping" not in text and "Save these" not in text and "Map and" not in text
    )
    assert change(client, mine) == 403 and tables(mine) == before


@pytest.mark.parametrize("role", ["viewer", "operator", "administrator"])
def test_another_tenants_mappings_are_out_of_reach(houses: tuple[House, House], role: str) -> None:
    mine, theirs = houses
    client, before = client_of(mine.person(role)), tables(theirs)
    assert client.get(page_of(theirs)).status_code == 404
    assert change(client, theirs) == 404 and tables(theirs) == before
    text = client.get(page_of(mine), {"record": theirs.transfers["failed"].source_key}).content.decode()
    assert "knows no document" in text and f"{theirs.mark} " not in text


def test_a_change_wants_a_token(houses: tuple[House, House]) -> None:
    client = client_of(owner(), enforce_csrf_checks=True)
    assert change(client, houses[0]) == 403


def test_what_a_document_says_is_shown_as_text(houses: tuple[House, House]) -> None:
    mine = houses[0]
    answer = client_of(owner()).post(
        page_of(mine), NEW | {"base": "x", "lines-service": "<script>alert(1)</script> => FEDEX_GROUND"}
    )
    assert "<script>alert(1)" not in answer.content.decode() and "&lt;script&gt;alert(1)" in answer.content.decode()


def test_a_mistyped_code_is_pointed_out(houses: tuple[House, House]) -> None:
    answer = client_of(owner()).post(page_of(houses[0]), NEW | {"base": "x", "lines-service": "ROAD => FEDEX_GRUOND"})
    assert "did you mean &quot;FEDEX_GROUND&quot;?" in answer.content.decode()

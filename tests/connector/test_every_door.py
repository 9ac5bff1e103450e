"""Every address of the console, found by itself, tried by whoever should not: a new page is asked without being listed."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import resolve, reverse

from tests.connector.admin_support import House, build, client_of, owner
from tests.connector.test_admin import admin_urls, everything

pytestmark = pytest.mark.django_db

OWN = frozenset(("connector_audit_export", "connector_costs_export", "connector_shipment_export"))
"""What a viewer may ask for by POST: files of what is his to see, which are noted."""
KEPT = frozenset(("connector_shipment_columns", "connector_shipment_save_filter", "second_factor"))
"""What everybody may keep for himself."""


@pytest.fixture
def houses() -> tuple[House, House]:
    return build("alpha"), build("omega")


@pytest.fixture(autouse=True)
def nobody_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    def called(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a vendor was called")

    monkeypatch.setattr("integrations.base.http.Http.request", called)


def entered(house: House, do: str = "take") -> dict[str, str]:
    """A field for each form of the console, as somebody would fill it in who means to do harm."""
    failed, waiting = house.transfers["failed"], house.transfers["in_doubt"]
    made = {"reason": "mine now", "name": "mine now", "note": "mine now", "number": "794600000099", "then": "rebuy"}
    made |= {"amount": "1.00", "currency": "USD", "days": "14", "how": "show", "link": "1", "query": "", "column": "state"}
    made |= {"do": do, "ids": f"{failed.pk},{waiting.pk}", "quotes": f"{failed.pk}:", "assignee": "", "flow": "ship"}
    made |= {"rate_rule": "cheapest", "rule": "all", "tolerance": "5", "shipment": str(house.shipment.pk), "confirm": "1"}
    made |= {"slug": "mine-now", "timezone": "UTC", "username": "mine-now", "password": "long enough for tests", "act": "begin"}
    made |= {"first": "2026-01-01", "last": "2026-12-31", "what": "make", "fault": "late", "place": "-", "times": "-"}
    made |= {"environment": "custom", "url_base": "https://mine.example.com", "settings": '{"realm": "mine"}', "causes": "failed"}
    return made | {"addresses": "me@mine.example.com", "url": "https://mine.example.com/x", "secret": "mine now"}


def press(client: Client, urls: list[str], told: dict[str, str]) -> None:
    """POST to all of them."""
    for url in urls:
        answer = client.post(url, told | {"file": SimpleUploadedFile("x.csv", b"Tracking ID,Net Charge,Invoice\n1,2,3\n")})
        assert answer.status_code < 500, url


def pages(house: House) -> list[str]:
    """All of them; what ends the session of whoever tries, and so says nothing about the rest, last of all left out."""
    found = [url for url in admin_urls(house) if url != reverse("admin:account_sign_out")]
    assert len(found) > 100
    return found


def test_no_post_is_taken_without_a_token(houses: tuple[House, House]) -> None:
    client = client_of(owner(), enforce_csrf_checks=True)
    before = everything()
    for url in admin_urls(houses[0]):
        assert client.post(url, entered(houses[0])).status_code == 403, url
    assert everything() == before


def test_who_is_not_signed_in_sees_and_does_nothing(houses: tuple[House, House]) -> None:
    client, before = Client(), everything()
    for url in admin_urls(houses[0]):
        if url in (reverse("admin:login"), reverse("admin:sign_in_code")):
            continue
        for answer in (client.get(url), client.post(url, entered(houses[0]))):
            # Other addresses may be refused before it is asked who it is; none answers.
            assert answer.status_code in (301, 302, 403, 404, 405), url
            assert houses[0].mark not in answer.content.decode(), url
    assert everything() == before


@pytest.mark.parametrize("do", ["take", "replay", "approve"])
def test_a_viewers_posts_change_nothing(houses: tuple[House, House], do: str) -> None:
    mine = houses[0]
    urls = pages(mine) if do == "take" else [reverse("admin:connector_cause_act")]
    client = client_of(mine.person("viewer"))
    before = everything()
    press(client, [url for url in urls if resolve(url).url_name not in OWN | KEPT], entered(mine, do))
    assert everything() == before


@pytest.mark.parametrize("do", ["take", "replay", "approve"])
def test_an_administrators_posts_change_nothing_of_another_tenant(houses: tuple[House, House], do: str) -> None:
    mine, theirs = houses
    urls = pages(theirs) if do == "take" else [reverse("admin:connector_cause_act")]
    client = client_of(mine.person("administrator"))
    before = everything()
    press(client, [url for url in urls if resolve(url).kwargs or "cause" in url], entered(theirs, do))
    assert everything() == before


def test_what_stands_in_an_address_is_never_done(houses: tuple[House, House]) -> None:
    client, before = client_of(owner()), everything()
    for url in pages(houses[0]):
        assert client.get(f"{url}?{urlencode(entered(houses[0]))}").status_code < 500, url
    assert everything() == before

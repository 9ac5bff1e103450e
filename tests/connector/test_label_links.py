"""Links to labels: shown once, good for a while, kept from everybody else, and ended with the label."""

from __future__ import annotations

import datetime as dt
import logging
import re
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from connector.models import AuditDetail, AuditEntry, Label, LabelLink, Package
from connector.services import clock, label_links, logs
from connector.services.shipments import NotPossible
from tests.connector.admin_support import NOW, House, build, client_of

pytestmark = pytest.mark.django_db

SECRET = re.compile(r"/label/([A-Za-z0-9_-]{43})")


@pytest.fixture(autouse=True)
def _quiet_door() -> None:
    cache.clear()


@pytest.fixture
def house() -> House:
    return build("alpha")


def ask(house: House, *, role: str = "operator", **form: Any) -> Any:
    url = reverse("admin:connector_shipment_links", args=[house.shipment.pk])
    return client_of(house.person(role)).post(url, {"days": "14", "how": "show"} | form)


def made(house: House, **form: Any) -> str:
    """The address of a new link, as the page shows it."""
    answer = ask(house, **form)
    assert answer.status_code == 200
    [secret] = set(SECRET.findall(answer.content.decode()))
    return f"/label/{secret}"


def get(address: str, **options: Any) -> Any:
    return Client().get(address, **options)


def test_the_link_is_shown_once_and_is_nowhere_else(house: House) -> None:
    address = made(house)
    secret = address.rpartition("/")[2]
    link = LabelLink.objects.get()
    assert (link.expires_at - link.created_at) == dt.timedelta(days=14)
    assert link.digest == label_links.digest_of(secret)
    page = client_of(house.person("operator")).get(reverse("admin:connector_shipment_change", args=[house.shipment.pk]))
    assert secret not in page.content.decode() and "good until" in page.content.decode()
    kept = [*LabelLink.objects.values(), *AuditEntry.objects.values("facts", "object_name"), *AuditDetail.objects.values()]
    assert secret not in str(kept) and secret not in repr(label_links.make(house.shipment, actor="x"))
    assert AuditEntry.objects.filter(act="link_made", actor="user:operator-alpha").count() == 1


def test_whoever_has_it_gets_the_label_and_each_time_is_told(house: House) -> None:
    address = made(house)
    page = get(address)
    assert page.status_code == 200 and house.shipment.master_tracking_number in page.content.decode()
    until = LabelLink.objects.get().expires_at.astimezone(dt.UTC)
    signed_in = client_of(house.person("viewer")).get(address)  # whose pages are in the tenant's zone
    assert f"{until:%Y-%m-%d %H:%M} UTC" in page.content.decode() and f"{until:%H:%M} UTC" in signed_in.content.decode()
    assert LabelLink.objects.get().downloads == 0, "looking is no download"
    file = get(f"{address}/1", REMOTE_ADDR="203.0.113.9")
    assert file.status_code == 200 and file.content == bytes(Label.objects.get().data)
    assert file["Content-Type"] == "application/pdf" and file["Content-Disposition"].startswith("inline")
    get(f"{address}/1?download=1")
    Client().head(f"{address}/1")
    link = LabelLink.objects.get()
    assert link.downloads == 2 and link.last_download_at is not None
    entries = AuditEntry.objects.filter(act="link_used", actor="link")
    assert entries.count() == 2 and entries[0].facts["link"] == link.pk
    assert AuditDetail.objects.get(entry=entries.earliest("pk")).detail == {"address": "203.0.113.9"}


def test_neither_page_nor_file_is_kept_indexed_or_passed_on(house: House) -> None:
    address = made(house)
    for answer in (get(address), get(f"{address}/1"), get(address + "x"), get(f"{address}/7")):
        assert answer["Referrer-Policy"] == "no-referrer" and "noindex" in answer["X-Robots-Tag"]
        assert answer["Cache-Control"] == "no-store" and "default-src 'none'" in answer["Content-Security-Policy"]
        assert not answer.cookies
    assert Client().post(address).status_code == 405


def ended(house: House, how: str) -> None:
    link = LabelLink.objects.get()
    if how == "revoked":
        client = client_of(house.person("operator"))
        client.post(reverse("admin:connector_shipment_do", args=[house.shipment.pk, "revoke-link"]), {"link": link.pk})
        assert AuditEntry.objects.filter(act="link_revoked").exists()
    elif how == "expired":
        LabelLink.objects.update(expires_at=clock.now() - dt.timedelta(seconds=1))
    elif how == "used up":
        LabelLink.objects.update(downloads=label_links.MOST_DOWNLOADS)
    else:
        type(house.shipment).objects.update(state=how)


@pytest.mark.parametrize("how", ["revoked", "expired", "used up", "voiding", "voided"])
def test_an_ended_link_says_so_and_nothing_else(house: House, how: str) -> None:
    address = made(house)
    ended(house, how)
    for answer in (get(address), get(f"{address}/1")):
        text = answer.content.decode()
        assert answer.status_code == 410 and "opens nothing any more" in text
        told = (house.mark, house.tenant.name, house.shipment.master_tracking_number, "FedEx", "%PDF")
        assert not any(word in text for word in told)
    assert LabelLink.objects.get().downloads in (0, label_links.MOST_DOWNLOADS)
    assert not AuditEntry.objects.filter(act="link_used").exists()


def test_a_slash_too_many_opens_the_same_page(house: House) -> None:
    """Mail programs and people add one at the end of an address."""
    address = made(house)
    answer = get(f"{address}/")
    assert answer.status_code == 200 and house.shipment.master_tracking_number in answer.content.decode()
    assert answer["Cache-Control"] == "no-store" and answer["Referrer-Policy"] == "no-referrer"
    assert get(f"{address}/1/").content == get(f"{address}/1").content == b"%PDF-1.4 x"
    assert f'href="{address}/1"' in answer.content.decode(), "the page leads to the file, not to a page below itself"


def test_a_guess_opens_nothing(house: House) -> None:
    address = made(house)
    for wrong in (address[:-1] + ("A" if address[-1] != "A" else "B"), address[:-1], "/label/" + LabelLink.objects.get().digest):
        answer = get(wrong)
        assert answer.status_code == 404 and house.shipment.master_tracking_number not in answer.content.decode()


def test_an_address_that_asks_too_often_waits(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_links, "PER_MINUTE", 3)
    monkeypatch.setattr(clock, "local_now", lambda: NOW)
    address = made(house)
    statuses = [get(f"{address[:-3]}{n:03d}", REMOTE_ADDR="203.0.113.9").status_code for n in range(5)]
    assert statuses == [404, 404, 404, 429, 429]
    answer = get(f"{address}/1", REMOTE_ADDR="203.0.113.9")
    assert answer.status_code == 429 and answer["Retry-After"] == "60"
    assert get(address, REMOTE_ADDR="203.0.113.10").status_code == 200


def test_no_log_holds_a_link(house: House, caplog: pytest.LogCaptureFixture) -> None:
    address = made(house)
    ended(house, "expired")
    with caplog.at_level(logging.DEBUG):
        get(address)
        get(address[:-1] + "x")
    assert address.rpartition("/")[2][:20] not in caplog.text
    line = logging.LogRecord("django.request", logging.ERROR, "x", 1, "Internal Server Error: %s", (f"{address}/1",), None)
    assert logs.PlainLines().format(line) == "Internal Server Error: /label/[redacted]/1"


def test_who_may_only_look_and_others_make_no_links(house: House) -> None:
    other = build("omega")
    url = reverse("admin:connector_shipment_links", args=[house.shipment.pk])
    assert ask(house, role="viewer").status_code == 403
    assert client_of(other.person("administrator")).post(url, {"days": "14"}).status_code == 404
    assert client_of(house.person("operator")).get(url).status_code == 405
    assert not LabelLink.objects.exists()
    made(house)
    revoke = reverse("admin:connector_shipment_do", args=[house.shipment.pk, "revoke-link"])
    assert client_of(house.person("viewer")).post(revoke, {"link": LabelLink.objects.get().pk}).status_code == 403
    theirs = reverse("admin:connector_shipment_do", args=[other.shipment.pk, "revoke-link"])
    client_of(other.person("operator")).post(theirs, {"link": LabelLink.objects.get().pk})
    assert LabelLink.objects.get().revoked_at is None
    page = client_of(house.person("viewer")).get(reverse("admin:connector_shipment_change", args=[house.shipment.pk]))
    assert "Links to the label" in page.content.decode() and "Make a link" not in page.content.decode()


@pytest.mark.parametrize("days", ["0", "61", "-1", "", "99999999", "²"])
def test_days_that_cannot_be_are_refused(house: House, days: str) -> None:
    assert ask(house, days=days).status_code == 302 and not LabelLink.objects.exists()


def test_without_a_label_file_or_with_a_voided_one_there_is_no_link(house: House) -> None:
    type(house.shipment).objects.update(state="voided")
    with pytest.raises(NotPossible, match="voided"):
        label_links.make(house.shipment, actor="x")
    type(house.shipment).objects.update(state="active")
    Label.objects.all().delete()
    with pytest.raises(NotPossible, match="no label file"):
        label_links.make(house.shipment, actor="x")
    assert not LabelLink.objects.exists()


def test_each_parcel_has_its_own_file(house: House) -> None:
    second = Package.objects.create(
        tenant=house.tenant, shipment=house.shipment, carrier=house.target, sequence=2, tracking_number="794600009999"
    )
    Label.objects.create(
        tenant=house.tenant, package=second, media_type="application/zpl", data=b"^XA^XZ", sha256="1" * 64, size=6, created_at=NOW
    )
    address = made(house)
    text = get(address).content.decode()
    assert "Parcel 2 of 2" in text and "ZPL" in text
    assert get(f"{address}/2").content == b"^XA^XZ" and get(f"{address}/2")["Content-Disposition"].startswith("attachment")

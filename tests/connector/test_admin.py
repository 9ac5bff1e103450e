"""The console: what each role sees and may do, that nothing leaks, that looking changes nothing."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.core import serializers
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django_q.models import Failure, OrmQ, Schedule, Success

from connector import models
from connector.admin.base import TenantAdmin
from connector.models import AuditEntry, Connection, EffectSend, Membership, Shipment, Transfer, User
from connector.models.tenants import Role
from tests.connector.admin_support import House, build, client_of, owner

pytestmark = pytest.mark.django_db

LISTS = (
    *("transfer", "shipment", "connection", "integration", "tenant", "auditentry", "alert", "alertchannel"),
    *("reconciliationrun", "reconciliationfinding", "invoicefile"),
)
COMPANIES = {
    "companies-TOTAL_FORMS": "2",
    "companies-INITIAL_FORMS": "1",
    "companies-0-code": "10",
    "sites-TOTAL_FORMS": "2",
    "sites-INITIAL_FORMS": "1",
    "sites-0-company": "10",
    "sites-0-code": "S1",
}


@pytest.fixture
def houses() -> tuple[House, House]:
    return build("alpha"), build("omega")


def pages_of(house: House) -> dict[str, str]:
    """Every page about a tenant's rows."""
    found = {f"{state} transfer": reverse("admin:connector_transfer_change", args=[t.pk]) for state, t in house.transfers.items()}
    found |= {
        "shipment": reverse("admin:connector_shipment_change", args=[house.shipment.pk]),
        "before a void": reverse("admin:connector_shipment_void", args=[house.shipment.pk]),
        "before attaching": reverse("admin:connector_shipment_attach", args=[house.shipment.pk]),
        "edit the cost": reverse("admin:connector_shipment_cost", args=[house.shipment.pk]),
        "call": reverse("admin:connector_exchange", args=[house.transfers["failed"].pk, house.call.pk]),
        "label": reverse("admin:connector_label", args=[house.shipment.pk, house.package.pk]),
        "proof": reverse("admin:connector_proof", args=[house.shipment.pk, house.package.pk]),
        "tenant": reverse("admin:connector_tenant_change", args=[house.tenant.pk]),
        "integration": reverse("admin:connector_integration_change", args=[house.integration.pk]),
        "back-fill": reverse("admin:connector_backfill_change", args=[house.backfill.pk]),
        "progress of a back-fill": reverse("admin:connector_backfill_progress", args=[house.backfill.pk]),
        "new back-fill": reverse("admin:connector_backfill_new", args=[house.integration.pk]),
        "invoice file": reverse("admin:connector_invoicefile_change", args=[house.invoice.pk]),
        "progress of an invoice file": reverse("admin:connector_invoicefile_progress", args=[house.invoice.pk]),
        "new invoice file": reverse("admin:connector_invoicefile_new", args=[house.target.pk]),
        "alert": reverse("admin:connector_alert_change", args=[house.alert.pk]),
        "alert channel": reverse("admin:connector_alertchannel_change", args=[house.channel.pk]),
        "edit alert channel": reverse("admin:connector_alertchannel_edit", args=[house.channel.pk]),
        "new alert channel": reverse("admin:connector_alertchannel_new", args=["mail", house.tenant.pk]),
        "comparison": reverse("admin:connector_reconciliationrun_change", args=[house.comparison.pk]),
        "progress of a comparison": reverse("admin:connector_comparison_progress", args=[house.comparison.pk]),
        "finding": reverse("admin:connector_reconciliationfinding_change", args=[house.finding.pk]),
        "rates": reverse("admin:connector_integration_rates", args=[house.integration.pk]),
        "quotes": reverse("admin:connector_transfer_quotes", args=[house.transfers["done"].pk]),
        "edit integration": reverse("admin:connector_integration_edit", args=[house.integration.pk]),
        "mappings": reverse("admin:connector_integration_mappings", args=[house.integration.pk]),
        "audit": reverse("admin:connector_auditentry_change", args=[AuditEntry.objects.filter(tenant=house.tenant).first().pk]),  # type: ignore[union-attr]
    }
    for connection in (house.source, house.target):
        for name in ("change", "edit", "ping_result", "history"):
            found[f"{name} {connection.vendor}"] = reverse(f"admin:connector_connection_{name}", args=[connection.pk])
    return found


def admin_urls(house: House) -> list[str]:
    """Every URL of the console that can be built with this house's ids."""
    ids = {"object_id": house.transfers["failed"].pk, "pk": house.source.pk, "act": "replay", "shipment_id": house.shipment.pk}
    ids |= {"package_id": house.package.pk, "vendor": "ifs_cloud", "kind": "ifs_fedex", "tenant_id": house.tenant.pk}
    ids |= {"integration_id": house.integration.pk, "transfer_id": house.transfers["failed"].pk, "exchange_id": house.call.pk}
    ids |= {"app_label": "connector", "url": "x", "content_type_id": 1, "connection_id": house.target.pk}
    by_model = {
        "transfer": house.transfers["failed"].pk,
        "shipment": house.shipment.pk,
        "connection": house.source.pk,
        "integration": house.integration.pk,
        "tenant": house.tenant.pk,
        "backfill": house.backfill.pk,
        "reconciliationrun": house.comparison.pk,
        "reconciliationfinding": house.finding.pk,
        "comparison": house.comparison.pk,
        "invoicefile": house.invoice.pk,
        "alert": house.alert.pk,
        "alertchannel": house.channel.pk,
        "user": house.person("operator").pk,
        "auditentry": AuditEntry.objects.filter(tenant=house.tenant).first().pk,  # type: ignore[union-attr]
    }
    names: list[tuple[str, Any]] = []

    def collect(patterns: Any) -> None:
        for entry in patterns:
            if isinstance(entry, URLResolver):
                collect(entry.url_patterns)
            elif isinstance(entry, URLPattern) and entry.name and entry.name not in ("logout", "app_list"):
                names.append((entry.name, entry.pattern.converters))

    collect(next(r for r in get_resolver().url_patterns if isinstance(r, URLResolver) and r.namespace == "admin").url_patterns)
    urls = []
    for name, converters in names:
        model = name.split("_")[1] if name.startswith("connector_") and len(name.split("_")) > 2 else ""
        values = {k: by_model.get(model, ids.get(k, 1)) if k in ("object_id", "pk") else ids.get(k, 1) for k in converters}
        if name.endswith("_do"):
            site_admin = admin.site.get_model_admin(apps.get_model("connector", model))
            urls += [reverse(f"admin:{name}", kwargs=values | {"act": act}) for act in site_admin.acts] or []  # type: ignore[attr-defined]
        else:
            urls.append(reverse(f"admin:{name}", kwargs=values))
    return urls


def everything() -> str:
    """All rows that looking must not change."""
    tables = [m for m in apps.get_models() if m._meta.app_label in ("connector", "django_q")]
    return "\n".join(serializers.serialize("json", m._default_manager.order_by("pk")) for m in tables if m is not User)


def test_every_registered_model_is_bound_to_tenants() -> None:
    free = {OrmQ, Schedule, Success, Failure}
    for model, site_admin in admin.site._registry.items():
        assert isinstance(site_admin, TenantAdmin) or model in free, f"{model.__name__} is registered without TenantAdmin"


def test_looking_at_every_page_changes_nothing_and_calls_nobody(
    houses: tuple[House, House], monkeypatch: pytest.MonkeyPatch
) -> None:
    def called(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a vendor was called")

    monkeypatch.setattr("integrations.base.http.Http.request", called)
    urls = admin_urls(houses[0])
    assert len(urls) > 60
    for user in (owner(), houses[0].person("administrator")):
        client = client_of(user)
        before = everything()
        for url in urls:
            answer = client.get(url)
            assert answer.status_code < 500, url
        assert everything() == before


def test_acts_answer_get_with_405(houses: tuple[House, House]) -> None:
    client = client_of(owner())
    acts = [url for url in admin_urls(houses[0]) if "/do/" in url]
    assert len(acts) > 40
    for url in acts:
        assert client.get(url).status_code == 405, url


@pytest.mark.parametrize("role", Role.values)
def test_nothing_of_another_tenant_is_seen(houses: tuple[House, House], role: str) -> None:
    mine, theirs = houses
    client = client_of(mine.person(role))
    for name, url in pages_of(theirs).items():
        assert client.get(url).status_code in (403, 404, 302), name
        assert theirs.mark not in client.get(url, follow=True).content.decode(), name
    searches = (
        "",
        "?q=" + theirs.mark,
        "?show=all",
        "?show=all&q=shipment:" + theirs.mark,
        "?q=" + theirs.shipment.master_tracking_number,
    )
    searches += (
        f"?tenant={theirs.tenant.pk}",
        f"?integration={theirs.integration.pk}&show=all",
        f"?tenant__id__exact={theirs.tenant.pk}",
    )
    for name in LISTS:
        for query in searches:
            text = client.get(reverse(f"admin:connector_{name}_changelist") + query, follow=True).content.decode()
            shown = text.replace(f'value="{theirs.mark}"', "").replace(f"shipment:{theirs.mark}", "")
            assert theirs.tenant.name not in shown, (name, query)
            assert f"{theirs.mark} " not in shown, (name, query)
    assert theirs.mark not in client.get(reverse("admin:index")).content.decode()


@pytest.mark.parametrize("role", Role.values)
def test_nothing_of_another_tenant_can_be_done(houses: tuple[House, House], role: str) -> None:
    mine, theirs = houses
    client = client_of(mine.person(role))
    before = everything()
    for url in admin_urls(theirs):
        if "/do/" in url:
            answer = client.post(url, {"reason": "mine now", "number": "123456789012", "then": "rebuy"})
            assert answer.status_code in (403, 404), url
    assert everything() == before


def test_one_sees_ones_own(houses: tuple[House, House]) -> None:
    mine = houses[0]
    client = client_of(mine.person("viewer"))
    for name, url in pages_of(mine).items():
        if not name.startswith(("edit", "new", "before")):  # pages of acts that a viewer has not
            assert client.get(url).status_code == 200, name


def test_a_viewer_changes_nothing(houses: tuple[House, House]) -> None:
    mine = houses[0]
    client = client_of(mine.person("viewer"))
    before = everything()
    for url in admin_urls(mine):
        if "/do/" in url:
            assert client.post(url, {"reason": "x", "number": "1234567"}).status_code == 403, url
    assert client.get(reverse("admin:connector_connection_edit", args=[mine.source.pk])).status_code == 403
    assert everything() == before


def test_replay_in_the_row_and_in_bulk(houses: tuple[House, House]) -> None:
    mine = houses[0]
    client = client_of(mine.person("operator"))
    failed, doubt = mine.transfers["failed"], mine.transfers["in_doubt"]
    url = reverse("admin:connector_transfer_changelist")
    assert reverse("admin:connector_transfer_do", args=[failed.pk, "replay"]) in client.get(url).content.decode()
    client.post(url, {"action": "replay_selected", "_selected_action": [failed.pk, doubt.pk], "index": 0})
    failed.refresh_from_db()
    doubt.refresh_from_db()
    assert (failed.state, doubt.state) == ("waiting", "in_doubt")
    assert doubt.due_at == dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC), "what is in doubt is never part of a bulk act"


def test_a_bulk_act_leaves_other_tenants_alone(houses: tuple[House, House]) -> None:
    mine, theirs = houses
    client = client_of(mine.person("operator"))
    url = reverse("admin:connector_transfer_changelist")
    client.post(url, {"action": "replay_selected", "_selected_action": [theirs.transfers["failed"].pk], "index": 0})
    assert Transfer.objects.get(pk=theirs.transfers["failed"].pk).state == "failed"


def test_in_doubt_is_decided_with_a_reason(houses: tuple[House, House]) -> None:
    mine = houses[0]
    client = client_of(mine.person("operator"))
    doubt = mine.transfers["in_doubt"]
    url = reverse("admin:connector_transfer_do", args=[doubt.pk, "not-made"])
    assert "Give a reason" in client.post(url, {"reason": " "}, follow=True).content.decode()
    assert EffectSend.objects.get(transfer=doubt).outcome == "unknown"
    client.post(url, {"reason": "the carrier says so"})
    send = EffectSend.objects.get(transfer=doubt)
    assert (send.outcome, send.decided_by) == ("absent", "user:operator-alpha")


def test_cancel_is_refused_while_in_doubt(houses: tuple[House, House]) -> None:
    mine = houses[0]
    url = reverse("admin:connector_transfer_do", args=[mine.transfers["in_doubt"].pk, "cancel"])
    text = client_of(mine.person("operator")).post(url, {"reason": "x"}, follow=True).content.decode()
    assert "in doubt. Settle it first" in text


def test_void_wants_a_reason_and_opens_a_transfer(houses: tuple[House, House]) -> None:
    mine = houses[0]
    client = client_of(mine.person("operator"))
    url = reverse("admin:connector_shipment_do", args=[mine.shipment.pk, "void"])
    client.post(url, {"then": "clear"})
    assert Shipment.objects.get(pk=mine.shipment.pk).state == "active"
    client.post(url, {"then": "clear", "reason": "damaged"})
    assert Shipment.objects.get(pk=mine.shipment.pk).state == "voiding"
    assert Transfer.objects.filter(flow="void", record=mine.shipment.record).count() == 1


def test_a_shipment_is_found_by_any_number(houses: tuple[House, House]) -> None:
    mine = houses[0]
    client = client_of(mine.person("viewer"))
    for query in ("C-mark-alpha", "c mark", "Cmarkal"):
        assert (
            mine.shipment.master_tracking_number
            in client.get(reverse("admin:connector_shipment_changelist"), {"q": query}).content.decode()
        )
    none = client.get(reverse("admin:connector_shipment_changelist"), {"q": "zzz"}).content.decode()
    assert mine.shipment.master_tracking_number not in none


def test_shipments_are_filtered(houses: tuple[House, House]) -> None:
    mine = houses[0]
    client = client_of(mine.person("viewer"))
    url = reverse("admin:connector_shipment_changelist")
    assert (
        mine.shipment.master_tracking_number
        in client.get(url, {"state": "active", "ship_date_from": "2026-11-01"}).content.decode()
    )
    assert mine.shipment.master_tracking_number not in client.get(url, {"state": "voided"}).content.decode()
    assert mine.shipment.master_tracking_number not in client.get(url, {"ship_date_to": "2026-11-01"}).content.decode()


def test_a_label_comes_with_a_type_of_our_choosing(houses: tuple[House, House]) -> None:
    mine = houses[0]
    client = client_of(mine.person("viewer"))
    url = reverse("admin:connector_label", args=[mine.shipment.pk, mine.package.pk])
    answer = client.get(url)
    assert answer["Content-Type"] == "application/pdf" and answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer["Content-Disposition"].startswith("inline")
    models.Label.objects.update(media_type="text/html", data=b"<script>")
    answer = client.get(url)
    assert answer["Content-Type"] == "application/octet-stream" and answer["Content-Disposition"].startswith("attachment")


def test_what_a_vendor_said_is_shown_as_text(houses: tuple[House, House]) -> None:
    mine = houses[0]
    text = client_of(mine.person("viewer")).get(pages_of(mine)["call"]).content.decode()
    assert "<script>alert(1)</script>" not in text and "&lt;script&gt;alert(1)" in text


def test_secrets_are_written_and_never_shown(houses: tuple[House, House]) -> None:
    mine = houses[0]
    client = client_of(mine.person("administrator"))
    url = reverse("admin:connector_connection_edit", args=[mine.source.pk])
    text = client.get(url).content.decode()
    assert "secret-of-alpha-ifs" not in text and "set. Empty keeps it." in text
    form = {"name": "x", "environment": "custom", "url_base": mine.source.urls["base"], "settings": '{"realm": "standard1"}'}
    form |= {**COMPANIES, "credential_client_secret": "a brand new secret"}
    broken = client.post(url, form | {"settings": "{"})
    assert "a brand new secret" not in broken.content.decode() and "not JSON" in broken.content.decode()
    answer = client.post(url, form)
    assert answer.status_code == 302, answer.context["form"].errors
    now = Connection.objects.get(pk=mine.source.pk)
    assert now.secrets()["client_secret"] == "a brand new secret" and now.plain["client_id"] == "MLC"
    assert "a brand new secret" not in "".join(str(e.facts) for e in AuditEntry.objects.all())
    assert client.post(url, form | {"credential_client_secret": ""}).status_code == 302
    assert Connection.objects.get(pk=mine.source.pk).secrets()["client_secret"] == "a brand new secret"


def test_a_new_host_asks_for_the_secrets_again(houses: tuple[House, House]) -> None:
    mine = houses[0]
    client = client_of(mine.person("administrator"))
    url = reverse("admin:connector_connection_edit", args=[mine.source.pk])
    form = {
        "name": "x",
        "environment": "custom",
        "url_base": "https://elsewhere.example.com",
        "settings": '{"realm": "standard1"}',
    }
    answer = client.post(url, form | COMPANIES)
    assert answer.status_code == 200
    assert Connection.objects.get(pk=mine.source.pk).urls == mine.source.urls


def test_an_operator_does_not_move_a_connection(houses: tuple[House, House]) -> None:
    mine = houses[0]
    client = client_of(mine.person("operator"))
    url = reverse("admin:connector_connection_edit", args=[mine.source.pk])
    form = {"name": "renamed", "environment": "custom", "url_base": "http://127.0.0.1:8/x", "settings": '{"realm": "standard1"}'}
    client.post(url, form | {**COMPANIES, "credential_client_secret": "x" * 12})
    now = Connection.objects.get(pk=mine.source.pk)
    assert now.name == "renamed" and now.urls == mine.source.urls


def test_an_administrator_makes_users_below_himself_only(houses: tuple[House, House]) -> None:
    mine, theirs = houses
    boss = mine.person("administrator")
    client = client_of(boss)
    add = reverse("admin:connector_user_add")
    text = client.get(add).content.decode()
    assert "Administrator" not in text.split("<form", 1)[1] and theirs.tenant.name not in text
    form = {"username": "fresh", "password": "long enough for tests", "is_active": "on", f"role_{mine.tenant.pk}": "operator"}
    assert client.post(add, form | {"is_superuser": "on", f"role_{theirs.tenant.pk}": "operator"}).status_code == 302
    fresh = User.objects.get(username="fresh")
    assert not fresh.is_superuser
    assert list(Membership.objects.filter(user=fresh).values_list("tenant", "role")) == [(mine.tenant.pk, "operator")]
    assert client.post(add, form | {"username": "more", f"role_{mine.tenant.pk}": "administrator"}).status_code == 200
    assert not User.objects.filter(username="more").exists()
    for other in (boss, theirs.person("viewer"), owner()):
        assert client.get(reverse("admin:connector_user_change", args=[other.pk])).status_code in (403, 404)


def test_the_list_of_users_is_made_for_whoever_asked(houses: tuple[House, House], rf: Any) -> None:
    """Web processes serve several people at once by the same ModelAdmin: nothing of a request may stay on it."""
    mine, theirs = houses
    both = mine.person("operator")
    Membership.objects.create(tenant=theirs.tenant, user=both, role=Role.VIEWER)
    pages = []
    for user in (mine.person("administrator"), owner()):
        request = rf.get(reverse("admin:connector_user_changelist"))
        request.user = user
        pages.append(admin.site.get_model_admin(User).changelist_view(request))
    first, second = [page.render().content.decode() for page in pages]
    assert f"Operator at {mine.tenant}" in first and theirs.tenant.name not in first
    assert f"Viewer at {theirs.tenant}" in second


def test_users_without_a_role_see_nothing(houses: tuple[House, House]) -> None:
    client = client_of(User.objects.create_user("nobody", password="x", is_staff=True))
    for name in LISTS:
        assert client.get(reverse(f"admin:connector_{name}_changelist")).status_code == 403
    assert houses[0].mark not in client.get(reverse("admin:index")).content.decode()


def test_an_inactive_user_is_out(houses: tuple[House, House]) -> None:
    person = houses[0].person("operator")
    client = client_of(person)
    User.objects.filter(pk=person.pk).update(is_active=False)
    assert client.get(reverse("admin:connector_transfer_changelist")).status_code == 302


def test_the_queue_is_the_owners_and_read_only(houses: tuple[House, House]) -> None:
    url = reverse("admin:django_q_schedule_changelist")
    assert client_of(houses[0].person("administrator")).get(url).status_code == 403
    boss = client_of(owner())
    assert boss.get(url).status_code == 200
    assert boss.get(reverse("admin:django_q_schedule_add")).status_code == 403


def test_the_brake_shows_on_every_page(houses: tuple[House, House]) -> None:
    mine = houses[0]
    client = client_of(mine.person("operator"))
    client.post(reverse("admin:connector_integration_do", args=[mine.integration.pk, "stop-buying"]), {"reason": "stocktaking"})
    for name in LISTS:
        assert "stocktaking" in client.get(reverse(f"admin:connector_{name}_changelist")).content.decode()
    assert "stocktaking" not in client_of(houses[1].person("operator")).get(reverse("admin:index")).content.decode()


def test_an_empty_installation_says_what_to_do_first() -> None:
    text = client_of(owner()).get(reverse("admin:index")).content.decode()
    assert "First steps" in text and reverse("admin:connector_tenant_add") in text


def test_strangers_are_sent_to_the_login(client: Client) -> None:
    assert client.get(reverse("admin:index")).status_code == 302

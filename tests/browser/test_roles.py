"""What each role finds on the screens of its work: what it may not do is absent there, and refused when tried anyway."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.urls import reverse
from selenium import webdriver
from selenium.webdriver.common.by import By

from connector.models import User
from connector.services.attention import Cause
from tests.browser.support import button, page_says, until
from tests.browser.test_accessibility import browser, house  # noqa: F401 (fixtures)
from tests.connector.admin_support import House, client_of, owner

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
EVERYBODY = ("viewer", "operator", "administrator", "owner")
WORKERS = ("operator", "administrator", "owner")
LEADERS = ("administrator", "owner")


def become(browser: webdriver.Chrome, live_server: Any, user: User) -> None:  # noqa: F811
    browser.delete_all_cookies()
    name = settings.SESSION_COOKIE_NAME
    browser.add_cookie({"name": name, "value": client_of(user).cookies[name].value, "path": "/"})


def shown(browser: webdriver.Chrome) -> set[str]:  # noqa: F811
    """What can be pressed, by its words."""
    script = """return [...document.querySelectorAll("button, a")].map(pressed => {
        const words = pressed.cloneNode(true);
        words.querySelectorAll(".material-symbols-outlined").forEach(icon => icon.remove());
        return words.textContent.trim();
    });"""
    return set(browser.execute_script(script))


def screens(house: House) -> list[tuple[str, str, tuple[str, ...]]]:  # noqa: F811
    """(address, what its main button says, who has it)."""

    def page(name: str, *args: Any) -> str:
        return reverse(f"admin:connector_{name}", args=args)

    failed = Cause(house.integration.pk, "ship", "failed", "", "unmapped_service", "", "")
    return [
        (page("transfer_changelist"), "Replay", WORKERS),
        (page("transfer_change", house.transfers["failed"].pk), "Replay", WORKERS),
        (page("transfer_change", house.transfers["needs_approval"].pk), "Approve", WORKERS),
        (page("transfer_change", house.transfers["in_doubt"].pk), "It was not made, send again", WORKERS),
        (page("shipment_change", house.shipment.pk), "Void and buy again", WORKERS),
        (page("shipment_change", house.shipment.pk), "Make a link for the supplier", WORKERS),
        (page("shipment_change", house.shipment.pk), "Download", EVERYBODY),
        (page("connection_changelist"), "Ping", WORKERS),
        (page("connection_change", house.source.pk), "Ping", WORKERS),
        (page("integration_change", house.integration.pk), "Stop buying", WORKERS),
        (page("integration_change", house.integration.pk), "Compare now", WORKERS),
        (page("findings"), "Mark as known …", WORKERS),
        (page("reconciliationfinding_change", house.finding.pk), "Mark as known", WORKERS),
        (page("cause") + f"?{failed.query}", "Replay this one", WORKERS),
        (page("integration_rates", house.integration.pk), "See what these would choose", EVERYBODY),
        (page("invoicefile_changelist"), f"Read an invoice file of {house.target.name}", WORKERS),
        (page("invoicefile_change", house.invoice.pk), "Apply this one", WORKERS),
        (page("invoicefile_change", house.invoice.pk), "Put it away", WORKERS),
        (page("shipment_change", house.shipment.pk), "Correct the cost", WORKERS),
        (page("shipment_change", house.shipment.pk), "Get quotes", WORKERS),
        (page("costs") + "?first=2026-11-01&last=2026-11-30", "Download", EVERYBODY),
        (page("alertchannel_change", house.channel.pk), "Edit", LEADERS),
        (page("auditentry_changelist"), "Chains, seals, export", EVERYBODY),
        (reverse("admin:index"), "Users", LEADERS),
        (reverse("admin:index"), "Failed tasks", ("owner",)),
    ]


def test_each_role_finds_its_work_and_no_more(browser: webdriver.Chrome, live_server: Any, house: House) -> None:  # noqa: F811
    browser.get(live_server.url + reverse("admin:login"))
    wrong = []
    for role in EVERYBODY:
        become(browser, live_server, owner() if role == "owner" else house.person(role))
        found: dict[str, set[str]] = {}
        for address, words, who in screens(house):
            if address not in found:
                browser.get(live_server.url + address)
                found[address] = shown(browser)
            has = words in found[address]
            if has != (role in who):
                wrong.append(f"{role} {'sees' if has else 'does not see'} {words!r} on {address}")
    assert not wrong, "\n".join(wrong)


def test_an_operator_stops_buying_and_a_viewer_only_sees_it(
    browser: webdriver.Chrome,  # noqa: F811
    live_server: Any,
    house: House,  # noqa: F811
) -> None:
    address = live_server.url + reverse("admin:connector_integration_change", args=[house.integration.pk])
    browser.get(live_server.url + reverse("admin:login"))
    become(browser, live_server, house.person("operator"))
    browser.get(address)
    button(browser, "Stop buying").click()
    until("the brake", lambda: page_says(browser, "Buying is stopped for"))
    house.integration.refresh_from_db()
    assert house.integration.stop_buying

    become(browser, live_server, house.person("viewer"))
    browser.get(address)
    until("Buying is stopped for", lambda: page_says(browser, "Buying is stopped for"))
    assert "Allow buying" not in shown(browser)
    act = reverse("admin:connector_integration_do", args=[house.integration.pk, "allow-buying"])
    assert client_of(house.person("viewer")).post(act).status_code == 403
    house.integration.refresh_from_db()
    assert house.integration.stop_buying


def test_a_wrong_input_is_told_at_its_field(browser: webdriver.Chrome, live_server: Any, house: House) -> None:  # noqa: F811
    browser.set_window_size(390, 844)
    browser.get(live_server.url + reverse("admin:login"))
    become(browser, live_server, house.person("administrator"))
    browser.get(live_server.url + reverse("admin:connector_connection_edit", args=[house.source.pk]))
    browser.find_element(By.XPATH, "//summary[.='More settings']").click()
    field = browser.find_element(By.NAME, "settings")
    field.clear()
    field.send_keys("not JSON")
    button(browser, "Save").click()
    until("the form again", lambda: page_says(browser, "Nothing was saved."))
    field = browser.find_element(By.NAME, "settings")
    assert field.get_attribute("aria-invalid") == "true"
    told = [browser.find_element(By.ID, part).text for part in str(field.get_attribute("aria-describedby")).split()]
    assert any(text.startswith("More settings:") for text in told), told

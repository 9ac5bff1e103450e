"""Can people who do not see the page or use no mouse work with it? axe-core looks at each kind of page, wide and narrow.

No page may be wider than the screen: wide tables are turned inside their cards.

axe/ holds axe-core as its makers publish it (MPL 2.0, see axe/LICENSE); it is used by this test alone and never served.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.urls import reverse
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from connector.models import AuditEntry, LabelLink, ReconciliationFinding, Transfer
from connector.services import label_links
from connector.services.attention import Cause
from tests import machine
from tests.connector.admin_support import NOW, House, build, client_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
LISTS = ("reconciliationfinding", "reconciliationrun", "alert", "alertchannel", "tenant", "user", "backfill")
AXE = Path(__file__).parent / "axe" / "axe.min.js"
SHOTS = os.environ.get("SHOTS", "")
"""A folder for pictures of every page, for whoever wants to look."""
GRAVE = ("serious", "critical")
SIZES = {"wide": (1440, 1000), "narrow": (390, 844)}
WIDER = "const page = document.documentElement; return page.scrollWidth > page.clientWidth + 1;"
RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa"]}).then(done, error => done(String(error)));
"""


@pytest.fixture
def house() -> House:
    return build("alpha")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path / 'profile'}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.binary_location = next(found for name in machine.BROWSERS if (found := shutil.which(name)))
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def pages(house: House) -> dict[str, str]:
    """One page of each kind."""
    lists = ("transfer", "shipment", "connection", "integration", "auditentry", "invoicefile")
    found = {f"list of {name}": reverse(f"admin:connector_{name}_changelist") for name in lists}
    found["filtered shipments"] = reverse("admin:connector_shipment_changelist") + "?state=active&cost_from=1&sort=cost_highest"
    found["wrong filter"] = reverse("admin:connector_shipment_changelist") + "?cost_from=x"
    found["shipment"] = reverse("admin:connector_shipment_change", args=[house.shipment.pk])
    found["void and buy again"] = reverse("admin:connector_shipment_void", args=[house.shipment.pk]) + "?then=rebuy"
    found["attach now"] = reverse("admin:connector_shipment_attach", args=[house.shipment.pk])
    found["correct a cost"] = reverse("admin:connector_shipment_cost", args=[house.shipment.pk]) + "?amount=14.10"
    found["month end"] = reverse("admin:connector_costs") + "?first=2026-11-01&last=2026-11-30"
    found["carrier invoice"] = reverse("admin:connector_invoicefile_change", args=[house.invoice.pk])
    found["read an invoice"] = reverse("admin:connector_invoicefile_new", args=[house.target.pk])
    found["transfer"] = reverse("admin:connector_transfer_change", args=[house.transfers["failed"].pk])
    found["connection"] = reverse("admin:connector_connection_change", args=[house.source.pk])
    found["edit a connection"] = reverse("admin:connector_connection_edit", args=[house.source.pk])
    found["integration"] = reverse("admin:connector_integration_change", args=[house.integration.pk])
    found["needs attention"] = reverse("admin:connector_causes")
    found["audit entry"] = reverse("admin:connector_auditentry_change", args=[AuditEntry.objects.latest("pk").pk])
    found["empty list"] = reverse("admin:connector_alert_changelist") + "?cause__exact=paused"
    found["rates"] = reverse("admin:connector_integration_rates", args=[house.integration.pk]) + "?rate_rule=cheapest"
    found["mappings"] = reverse("admin:connector_integration_mappings", args=[house.integration.pk])
    found["link to a label"] = label_links.make(house.shipment, actor="test").path
    found["link that opens nothing"] = "/label/nothing"
    found["dashboard"] = reverse("admin:index")
    found["reconciliation"] = reverse("admin:connector_findings")
    found["finding"] = reverse("admin:connector_reconciliationfinding_change", args=[house.finding.pk])
    found["comparison"] = reverse("admin:connector_reconciliationrun_change", args=[house.comparison.pk])
    found["budgets"] = reverse("admin:connector_budgets")
    return found | work_of_operators(house)


def work_of_operators(house: House) -> dict[str, str]:
    """What operators decide, and what stands around it."""
    Transfer.objects.filter(pk=house.shipment.transfer_id).update(attention="label_missing")
    ReconciliationFinding.objects.update(record=house.shipment.record)
    transfers = {state: reverse("admin:connector_transfer_change", args=[row.pk]) for state, row in house.transfers.items()}
    found = {f"transfer {state}": transfers[state] for state in ("needs_approval", "in_doubt", "done")}
    for state, code in (("needs_approval", ""), ("failed", "unmapped_service"), ("in_doubt", "")):
        cause = Cause(house.integration.pk, "ship", state, "", code, "", "")
        found[f"cause {state}"] = f"{reverse('admin:connector_cause')}?{cause.query}"
    found |= {f"list of {name}": reverse(f"admin:connector_{name}_changelist") for name in LISTS}
    found["finished transfers"] = reverse("admin:connector_transfer_changelist") + "?show=all"
    found["call"] = reverse("admin:connector_exchange", args=[house.call.transfer_id, house.call.pk])
    found["found by a number"] = reverse("admin:connector_find") + "?q=shipment"
    found["nothing found"] = reverse("admin:connector_find") + "?q=nowhere"
    found["deadlines"] = reverse("admin:connector_deadlines")
    found["month end without lines"] = reverse("admin:connector_costs") + "?first=2020-01-01&last=2020-01-31"
    found["wrong month"] = reverse("admin:connector_costs") + "?first=2026-11-30&last=2026-11-01"
    found["lines of an invoice"] = reverse("admin:connector_invoicefile_change", args=[house.invoice.pk]) + "?state=wrong"
    found["seals"] = reverse("admin:connector_seals")
    found["back-fill"] = reverse("admin:connector_backfill_change", args=[house.backfill.pk])
    found["new back-fill"] = reverse("admin:connector_backfill_new", args=[house.integration.pk])
    found["edit an integration"] = reverse("admin:connector_integration_edit", args=[house.integration.pk])
    found["alert channel"] = reverse("admin:connector_alertchannel_change", args=[house.channel.pk])
    ended = label_links.make(house.shipment, actor="test")
    LabelLink.objects.filter(pk=ended.link.pk).update(expires_at=NOW - dt.timedelta(days=400))
    found["link that has ended"] = ended.path
    return found


def sign_in(browser: webdriver.Chrome, live_server: Any, house: House) -> None:
    client = client_of(house.person("administrator"))
    browser.get(live_server.url + reverse("admin:login"))
    name = settings.SESSION_COOKIE_NAME
    browser.add_cookie({"name": name, "value": client.cookies[name].value, "path": "/"})


def complaints(browser: webdriver.Chrome) -> list[str]:
    """What axe finds grave on the page, one line each, with the first place."""
    browser.execute_script(AXE.read_text())
    found = browser.execute_async_script(RUN)
    assert isinstance(found, dict), found
    return [
        f"{v['id']} ({v['impact']}): {v['help']}; {len(v['nodes'])} times, first: {v['nodes'][0]['html'][:160]}"
        for v in found["violations"]
        if v["impact"] in GRAVE
    ]


@pytest.mark.parametrize("size", SIZES)
def test_pages_are_accessible(browser: webdriver.Chrome, live_server: Any, house: House, size: str) -> None:
    browser.set_window_size(*SIZES[size])
    browser.set_script_timeout(60)
    sign_in(browser, live_server, house)
    found: dict[str, list[str]] = {}
    for name, address in pages(house).items():
        browser.get(live_server.url + address)
        for details in browser.find_elements("css selector", "#changelist details"):
            browser.execute_script("arguments[0].open = true", details)
        if SHOTS:
            browser.save_screenshot(f"{SHOTS}/{size}-{name.replace(' ', '-')}.png")
        told = complaints(browser)
        if browser.execute_script(WIDER):
            told.append("the page is wider than the screen")
        if told:
            found[name] = told
    assert not found, "\n".join(f"{name}: {line}" for name, lines in found.items() for line in lines)


@pytest.mark.parametrize("size", SIZES)
def test_the_link_that_is_shown_once_is_accessible(browser: webdriver.Chrome, live_server: Any, house: House, size: str) -> None:
    """By the keyboard alone: the fold is opened, the form sent, and what comes can be read and copied."""
    browser.set_window_size(*SIZES[size])
    browser.set_script_timeout(60)
    sign_in(browser, live_server, house)
    browser.get(live_server.url + reverse("admin:connector_shipment_change", args=[house.shipment.pk]))
    browser.find_element(By.XPATH, "//summary[contains(., 'Give the label to a supplier')]").send_keys(Keys.ENTER)
    browser.find_element(By.XPATH, "//button[contains(., 'Make a link for the supplier')]").send_keys(Keys.ENTER)
    WebDriverWait(browser, 30).until(lambda shown: shown.find_elements(By.ID, "mlc-label-link"))
    told = complaints(browser)
    if SHOTS:
        browser.save_screenshot(f"{SHOTS}/{size}-link-shown-once.png")
    assert not told and not browser.execute_script(WIDER), told

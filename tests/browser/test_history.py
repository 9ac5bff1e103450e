"""The shipment history in a real browser: filter, keep, choose columns, download and see how far it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.browser.test_accessibility import browser, house, sign_in  # noqa: F401 (fixtures)
from tests.browser.test_demo import button, page_says, until
from tests.connector.admin_support import House
from tests.connector.test_history import many

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_the_history_is_filtered_kept_and_downloaded(
    browser: webdriver.Chrome,  # noqa: F811
    live_server: Any,
    house: House,  # noqa: F811
    tmp_path: Path,
) -> None:
    many(house, 130)
    browser.set_window_size(1440, 1000)
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    sign_in(browser, live_server, house)
    browser.get(live_server.url + reverse("admin:connector_shipment_changelist"))
    until("50 shipments on this page", lambda: page_says(browser, "50 shipments on this page"))
    browser.find_element(By.LINK_TEXT, "Next").click()
    until("the second page", lambda: page_says(browser, "Previous"))

    browser.find_element(By.XPATH, "//summary[contains(., 'Filters')]").click()
    browser.find_element(By.NAME, "cost_from").send_keys("2")
    button(browser, "Filter").click()
    until("the filtered page", lambda: page_says(browser, "Filters: Cost from"))
    assert browser.current_url.endswith("?cost_from=2"), "empty filters stay out of the address"

    browser.find_element(By.XPATH, "//summary[contains(., 'Filters')]").click()
    browser.find_element(By.ID, "keep-name").send_keys("dear ones")
    button(browser, "Keep").click()
    until("the kept filter", lambda: page_says(browser, "Kept as"))
    assert browser.find_element(By.LINK_TEXT, "dear ones").get_attribute("aria-current") == "true"

    browser.find_element(By.XPATH, "//summary[contains(., 'Columns')]").click()
    browser.find_element(By.CSS_SELECTOR, "input[value=cost_center]").click()
    button(browser, "Show these").click()
    until("the new column", lambda: browser.find_elements(By.XPATH, "//th[contains(., 'Cost centre')]"))

    browser.find_element(By.XPATH, "//summary[contains(., 'Download')]").click()
    button(browser, "Download").click()
    until("the end of the file", lambda: page_says(browser, "rows, complete"))
    [file] = until("the file", lambda: list(tmp_path.glob("shipments-*.csv")))
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    assert "Cost centre" in lines[0] and len(lines) > 30 and all(",2.10," in line for line in lines[1:])
    complaints = [e["message"] for e in browser.get_log("browser") if "Content Security Policy" in e["message"]]
    assert not complaints, complaints

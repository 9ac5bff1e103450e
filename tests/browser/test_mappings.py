"""The mapping editor in a real browser: a ship-via that nobody knows becomes a label, and the change is taken back."""

from __future__ import annotations

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from tests.browser.support import Demo, button, complaints, page_says, sign_in, until

pytestmark = [pytest.mark.browser]


def click(browser: webdriver.Chrome, text: str) -> None:
    """Scroll to a button and press it."""
    found = button(browser, text)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
    found.click()


def last_row(browser: webdriver.Chrome) -> list[str]:
    """Names of the two fields in the last row of the value map “service”."""
    return [
        str(field.get_attribute("name"))
        for field in browser.find_elements(By.CSS_SELECTOR, "#map-service tbody tr:last-child input[type=text]")
    ]


def test_a_ship_via_is_mapped_checked_saved_replayed_and_taken_back(demo: Demo, browser: webdriver.Chrome) -> None:
    sign_in(browser, demo)
    until("22 tracking numbers in IFS", lambda: len(demo.tracking()) == 22)
    browser.find_element(By.CSS_SELECTOR, "a[href$='/connector/integration/']").click()
    browser.find_element(By.PARTIAL_LINK_TEXT, "IFS Cloud to FedEx").click()
    browser.find_element(By.LINK_TEXT, "Mappings").click()
    until("the value that is not mapped", lambda: browser.refresh() or page_says(browser, "ROAD-X"))

    # Only the fields of the chosen kind are there.
    company = browser.find_element(By.NAME, "slot-recipient_company-mode")
    text = browser.find_element(By.NAME, "slot-recipient_company-constant")
    assert not text.is_displayed()
    Select(company).select_by_value("constant")
    assert text.is_displayed()
    Select(company).select_by_value("own")

    # A row more, a code, a check: the waiting document and the request that would be sent.
    before = last_row(browser)
    add = browser.find_element(By.CSS_SELECTOR, "#map-service [data-add]")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", add)
    add.click()
    key, code = last_row(browser)
    assert key != before[0]
    browser.find_element(By.NAME, key).send_keys("ROAD-X")
    browser.find_element(By.NAME, code).send_keys("FEDEX_2_DAY")
    click(browser, "Check the mapping")
    until("what it does", lambda: page_says(browser, "1 of 3 unfinished transfers would be carried otherwise"))
    request = browser.find_element(By.CSS_SELECTOR, "[data-dry-run]").text
    assert '"serviceType": "FEDEX_2_DAY"' in request and page_says(browser, "On the document shipment:1007")
    assert len(demo.tracking()) == 22
    click(browser, "Save these changes")
    until("the answer", lambda: page_says(browser, "Saved."))

    # It is mapped and still waits; one click runs it.
    until("Mapped to FEDEX_2_DAY since", lambda: page_says(browser, "Mapped to FEDEX_2_DAY since"))
    click(browser, "Replay 1")
    until("its tracking number in IFS", lambda: "1007" in demo.tracking())

    # Back to how it was.
    browser.get(browser.current_url)
    link = browser.find_element(By.LINK_TEXT, "See and go back to it")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", link)
    link.click()
    until("the earlier version", lambda: page_says(browser, "Save these changes"))
    click(browser, "Save these changes")
    until("the return", lambda: page_says(browser, "Went back to an earlier version."))
    assert not browser.find_elements(By.CSS_SELECTOR, "#map-service input[value='ROAD-X']")
    assert complaints(browser) == []
    assert len(demo.simulator("/fedex/_sim/state")["shipments"]) == 23


def test_a_phone_shows_the_editor_without_scrolling_sideways(demo: Demo, browser: webdriver.Chrome) -> None:
    sign_in(browser, demo)
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    browser.get(f"{demo.url}/admin/connector/integration/")
    browser.get(
        f"{browser.find_element(By.PARTIAL_LINK_TEXT, 'IFS Cloud to FedEx').get_attribute('href').split('change')[0]}mappings/"
    )
    until("Check the mapping", lambda: page_says(browser, "Check the mapping"))
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390

"""The demo as a stranger uses it: `run_all` in processes of its own, a real browser, nothing stubbed."""

from __future__ import annotations

import pytest
import requests
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.browser.support import Demo, button, complaints, page_says, sign_in, until

pytestmark = [pytest.mark.browser]


def test_a_stranger_ships_mends_replays_and_prints(demo: Demo, browser: webdriver.Chrome) -> None:
    sign_in(browser, demo)

    # Within a minute the good ones are shipped and the three faulty ones say what to do.
    until("22 tracking numbers in IFS", lambda: len(demo.tracking()) == 22)
    browser.get(f"{demo.url}/admin/connector/transfer/")
    until("three failed transfers", lambda: browser.get(browser.current_url) or browser.page_source.count(">Failed<") == 3)
    for advice in ("No FedEx service for ship-via ROAD-X", "Shorten it in the ERP", "No weight"):
        until(advice, lambda wanted=advice: page_says(browser, wanted), 30)  # type: ignore[misc]

    # Ping, layer by layer.
    browser.find_element(By.CSS_SELECTOR, "a[href$='/connector/connection/']").click()
    browser.find_element(By.PARTIAL_LINK_TEXT, "FedEx").click()
    button(browser, "Ping").click()
    until("the ping's result", lambda: page_says(browser, "FedEx accepts the API key."))

    # Run now.
    browser.find_element(By.CSS_SELECTOR, "a[href$='/connector/integration/']").click()
    button(browser, "Run now").click()
    until("the answer to Run now", lambda: page_says(browser, "It runs now."))

    # Open the failed transfer, mend the address in the ERP, replay.
    demo.simulator(
        "/ifs_cloud/_sim/edit",
        tenant="standard",
        set="ShipmentSet",
        key={"ShipmentId": 1014},
        values={"ReceiverAddress1": "12 Harbor Way", "ReceiverAddress2": "", "ReceiverAddress3": "", "ReceiverZipCode": "94607"},
        user="clerk",
    )
    browser.get(f"{demo.url}/admin/connector/transfer/?show=all&q=shipment:1014")
    browser.find_element(By.LINK_TEXT, "Shipment 1014").click()
    if browser.find_elements(By.XPATH, "//button[normalize-space()='Replay']"):  # unless the next poll was quicker
        button(browser, "Replay").click()
    until("the transfer done", lambda: browser.refresh() or page_says(browser, "Every step is done"))
    assert "1014" in demo.tracking()

    # See the label and print it.
    number = demo.tracking()["1014"]
    browser.find_element(By.LINK_TEXT, number).click()
    label = browser.find_element(By.LINK_TEXT, "View").get_attribute("href")
    cookies = {c["name"]: c["value"] for c in browser.get_cookies()}
    answer = requests.get(str(label), cookies=cookies, timeout=10)
    assert answer.headers["Content-Type"] == "application/pdf" and answer.content.startswith(b"%PDF")
    tabs = len(browser.window_handles)
    button(browser, "Print").click()
    until("the label in a tab of its own", lambda: len(browser.window_handles) == tabs + 1)

    assert complaints(browser) == []
    assert len(demo.simulator("/fedex/_sim/state")["shipments"]) == 23, "every good document once, nothing twice"

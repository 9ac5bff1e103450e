"""From nothing to the first label by the dashboard's steps, then breaking and mending in the simulators' page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

from tests.browser.support import Demo, button, complaints, page_says, sign_in, until

pytestmark = [pytest.mark.browser]
STEPS = ("tenant", "connection", "ping", "integration", "look", "label")


@pytest.fixture
def nothing(tmp_path: Path) -> Iterator[Demo]:
    """An installation without any row, with simulators that run."""
    running = Demo(tmp_path, "--empty")
    try:
        until("the first page", running.ready)
        yield running
    finally:
        running.stop()


def states(browser: webdriver.Chrome) -> dict[str, str]:
    """What the card says of every step now; nothing while it is just being replaced."""
    try:
        found = browser.find_elements(By.CSS_SELECTOR, "[data-step]")
        return {str(e.get_attribute("data-step")): str(e.get_attribute("data-state")) for e in found}
    except StaleElementReferenceException:
        return {}


def fold(browser: webdriver.Chrome, title: str, place: int = 0) -> WebElement:
    """The opened form under a heading of the simulators' page; `place` 0 is IFS, 1 is FedEx."""
    section = browser.find_elements(By.CSS_SELECTOR, "section")[place]
    found = section.find_element(By.XPATH, f".//details[summary[normalize-space()='{title}']]")
    if not found.get_attribute("open"):
        found.find_element(By.TAG_NAME, "summary").click()
    return found


def press(form: WebElement, **entered: str) -> None:
    """Fill the form and send it."""
    for name, value in entered.items():
        field = form.find_element(By.NAME, name)
        if field.tag_name == "select":
            Select(field).select_by_value(value)
        else:
            field.clear()
            field.send_keys(value)
    form.find_element(By.TAG_NAME, "button").click()


def test_from_nothing_to_the_first_label_and_through_a_lost_answer(nothing: Demo, browser: webdriver.Chrome) -> None:
    sign_in(browser, nothing)
    until("the steps", lambda: states(browser) == {name: "now" if name == "tenant" else "later" for name in STEPS})

    # One click makes the demo; the card follows by itself until the first label is there.
    button(browser, "Try it with simulators").click()
    until("the demo", lambda: page_says(browser, "The demo is made."))
    until("the first label", lambda: states(browser).get("label") == "done", 90)
    assert states(browser)["look"] == "done"
    for name in ("IFS Cloud (simulator)", "FedEx (simulator)"):
        until(f"the button for {name}", lambda n=name: browser.refresh() or page_says(browser, f"Ping {n}"), 30)  # type: ignore[misc]
        button(browser, f"Ping {name}").click()
        until("the ping", lambda: page_says(browser, "FedEx accepts") or page_says(browser, "Working"))
        browser.get(f"{nothing.url}/admin/")
    until("all steps done", lambda: states(browser) == dict.fromkeys(STEPS, "done"))
    until("First steps: all done", lambda: page_says(browser, "First steps: all done"))

    # Break it: FedEx sells the next label, and its answer is lost.
    until("22 tracking numbers in IFS", lambda: len(nothing.tracking()) == 22)
    browser.find_element(By.CSS_SELECTOR, "nav a[href$='/simulators/'], a[href$='/simulators/']").click()
    press(fold(browser, "Let something go wrong", 1), fault="lost_answer", place="buy", times="1")
    until(
        "Switched on: The work is done, but its answer is lost · Buying a label · once.",
        lambda: page_says(browser, "Switched on: The work is done, but its answer is lost · Buying a label · once."),
        30,
    )
    press(fold(browser, "Make shipments that are ready"), count="1")
    until("shipment 2001 is ready", lambda: page_says(browser, "shipment 2001 is ready"))
    browser.find_element(By.XPATH, "//button[starts-with(normalize-space(), 'Run now')]").click()
    until("the lost answer among the calls, without reloading", lambda: page_says(browser, "lost_answer"))
    until("the number in IFS", lambda: "2001" in nothing.tracking(), 120)
    assert nothing.simulator("/fedex/_sim/state")["counts"]["made"] == 23, "one label was sold, not two"

    # Mend it: another user of IFS corrects the address, and the transfer is replayed.
    press(fold(browser, "Another user mends an address"), shipment="1014")
    until(
        "Another user has saved it in the simulated IFS.",
        lambda: page_says(browser, "Another user has saved it in the simulated IFS."),
        30,
    )
    browser.get(f"{nothing.url}/admin/connector/transfer/?show=all&q=shipment:1014")
    browser.find_element(By.LINK_TEXT, "Shipment 1014").click()
    if browser.find_elements(By.XPATH, "//button[normalize-space()='Replay']"):  # unless the next poll was quicker
        button(browser, "Replay").click()
    until("the number in IFS", lambda: "1014" in nothing.tracking())

    # Move it: FedEx picks the parcel up.
    browser.get(f"{nothing.url}/admin/connector/connection/simulators/")
    press(fold(browser, "Move a parcel", 1), parcel=nothing.tracking()["1014"], event="PU")
    until("FedEx has scanned it.", lambda: page_says(browser, "FedEx has scanned it."))
    assert not complaints(browser)

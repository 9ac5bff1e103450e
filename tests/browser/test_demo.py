"""The demo as a stranger uses it: `run_all` in processes of its own, a real browser, nothing stubbed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.fernet import Fernet
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests import machine

pytestmark = [pytest.mark.browser]
ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_S = 90


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(what: str, look: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Wait for a condition; its value."""
    deadline = time.monotonic() + patience_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {patience_s} s for {what}"
        time.sleep(0.3)


class Demo:
    """The running demo."""

    def __init__(self, folder: Path) -> None:
        self.port, self.simulator_port = free_port(), free_port()
        env = {k: v for k, v in os.environ.items() if k not in ("DJANGO_SETTINGS_MODULE", "TEST_DATABASE_URL", "REDIS_URL")}
        env |= {
            "DATABASE_URL": f"sqlite:///{folder / 'demo.sqlite3'}",
            "SIMULATOR_STATE_DIR": str(folder / "simulators"),
            "SECRET_KEY": uuid.uuid4().hex * 2,
            "FIELD_ENCRYPTION_KEY": Fernet.generate_key().decode(),
            "AUDIT_KEY": uuid.uuid4().hex,
            "DEBUG": "1",
            "ALLOWED_HOSTS": "127.0.0.1,localhost",
            "ALLOW_PRIVATE_HOSTS": "127.0.0.1,localhost",
            "PORT": str(self.port),
            "SIMULATOR_PORT": str(self.simulator_port),
        }
        self.log = folder / "log.txt"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "run_all"],
                cwd=ROOT,
                env=env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def simulator(self, path: str, **body: Any) -> Any:
        """The simulators' control plane."""
        url = f"http://127.0.0.1:{self.simulator_port}{path}"
        answer = requests.post(url, json=body, timeout=10) if body else requests.get(url, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def tracking(self) -> dict[str, str]:
        """Numbers that stand in the simulated IFS."""
        return {k: v for k, v in self.simulator("/ifs_cloud/_sim/tracking")["standard"].items() if v}

    def password(self) -> str:
        found = re.search(r"password: (\S+)", self.log.read_text())
        return found.group(1) if found else ""

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return requests.get(f"{self.url}/readyz", timeout=2).status_code == 200 and bool(self.password())
        except requests.RequestException:
            return False

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    running = Demo(tmp_path)
    try:
        until("the first page", running.ready)
        yield running
    finally:
        running.stop()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    flags = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking"
    for flag in f"{flags} --disable-component-update --disable-sync --disable-quic --window-size=1440,1000".split():
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path / 'profile'}")
    options.binary_location = next(found for name in machine.BROWSERS if (found := shutil.which(name)))
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def button(browser: webdriver.Chrome, text: str) -> WebElement:
    """The button that says `text`."""
    return browser.find_element(By.XPATH, f"//button[normalize-space()='{text}']")


def page_says(browser: webdriver.Chrome, text: str) -> bool:
    """Whether the page shows a text now; a page that is just being replaced shows nothing."""
    try:
        return text in browser.find_element(By.TAG_NAME, "body").text
    except StaleElementReferenceException:
        return False


def test_a_stranger_ships_mends_replays_and_prints(demo: Demo, browser: webdriver.Chrome) -> None:
    browser.get(f"{demo.url}/")
    browser.find_element(By.NAME, "username").send_keys("admin")
    browser.find_element(By.NAME, "password").send_keys(demo.password())
    browser.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    until("the dashboard", lambda: page_says(browser, "Needs a person"), 15)

    # Within a minute the good ones are shipped and the three faulty ones say what to do.
    until("22 tracking numbers in IFS", lambda: len(demo.tracking()) == 22, 60)
    browser.get(f"{demo.url}/admin/connector/transfer/")
    until("three failed transfers", lambda: browser.get(browser.current_url) or browser.page_source.count(">Failed<") == 3, 30)
    for advice in ("No FedEx service for ship-via ROAD-X", "Shorten it in the ERP", "No weight"):
        assert page_says(browser, advice)

    # Ping, layer by layer.
    browser.find_element(By.CSS_SELECTOR, "a[href$='/connector/connection/']").click()
    browser.find_element(By.PARTIAL_LINK_TEXT, "FedEx").click()
    button(browser, "Ping").click()
    until("the ping's result", lambda: page_says(browser, "FedEx accepts the API key."), 60)

    # Run now.
    browser.find_element(By.CSS_SELECTOR, "a[href$='/connector/integration/']").click()
    button(browser, "Run now").click()
    until("the answer to Run now", lambda: page_says(browser, "It runs now."), 15)

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
    browser.find_element(By.LINK_TEXT, "shipment:1014").click()
    if browser.find_elements(By.XPATH, "//button[normalize-space()='Replay']"):  # unless the next poll was quicker
        button(browser, "Replay").click()
    until("the transfer done", lambda: browser.refresh() or page_says(browser, "Every step is done"), 60)
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
    until("the label in a tab of its own", lambda: len(browser.window_handles) == tabs + 1, 15)

    complaints = [e["message"] for e in browser.get_log("browser") if "Content Security Policy" in e["message"]]
    assert not complaints, complaints
    assert len(demo.simulator("/fedex/_sim/state")["shipments"]) == 23, "every good document once, nothing twice"

"""The running demo, and what tests in a browser look for."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from cryptography.fernet import Fernet
from selenium import webdriver
from selenium.common.exceptions import JavascriptException, NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_S = 90
BEING_REPLACED = (NoSuchElementException, StaleElementReferenceException, JavascriptException)
"""What the driver says of a page that is going away, or not wholly there yet: look again."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(what: str, look: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Wait for a condition; its value. Patience costs nothing where all is well, so it is the same for all on slow machines."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            found = look()
        except BEING_REPLACED:
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {patience_s} s for {what}"
        time.sleep(0.3)


class Demo:
    """The running demo; `arguments` are those of `run_all`."""

    def __init__(self, folder: Path, *arguments: str) -> None:
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
                [sys.executable, "manage.py", "run_all", *arguments],
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


def button(browser: webdriver.Chrome, text: str) -> WebElement:
    """The button that says `text`, once it is there."""
    found: WebElement = until(
        f"the button {text!r}", lambda: browser.find_element(By.XPATH, f"//button[normalize-space()='{text}']")
    )
    return found


def page_says(browser: webdriver.Chrome, text: str) -> bool:
    """Whether the page shows a text, and is there to its end; a page that is just being replaced shows nothing."""
    try:
        whole = browser.execute_script("return document.readyState") == "complete"
        return whole and text in browser.find_element(By.TAG_NAME, "body").text
    except BEING_REPLACED:
        return False


def sign_in(browser: webdriver.Chrome, demo: Demo) -> None:
    """As the demo's administrator, up to the dashboard."""
    browser.get(f"{demo.url}/")
    browser.find_element(By.NAME, "username").send_keys("admin")
    browser.find_element(By.NAME, "password").send_keys(demo.password())
    browser.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    until("the dashboard", lambda: page_says(browser, "Needs a person"))


def complaints(browser: webdriver.Chrome) -> list[str]:
    """What the content security policy kept from running, and errors of scripts."""
    told = [entry["message"] for entry in browser.get_log("browser")]
    return [text for text in told if "Content Security Policy" in text or "Uncaught" in text]

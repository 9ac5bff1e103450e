"""What this machine can run, and what somebody insists on (`MLC_REQUIRE`, comma-separated: postgres, browser)."""

from __future__ import annotations

import os
import shutil

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def required() -> set[str]:
    """Names of what may not be skipped."""
    return {name.strip() for name in os.environ.get("MLC_REQUIRE", "").split(",") if name.strip()}


def browser_problem() -> str | None:
    """Why there is no browser to test with; None if there is one."""
    missing = []
    if not any(shutil.which(name) for name in BROWSERS):
        missing.append("Chromium")
    if not shutil.which("chromedriver"):
        missing.append("chromedriver")
    return f"no {' and no '.join(missing)} on PATH" if missing else None

"""Pages of the console as people outside can open them."""

from __future__ import annotations

from django.conf import settings


def page_url(path: str) -> str:
    """A page of the console as people outside can open it; the bare path where nobody told us our address."""
    base = settings.PUBLIC_URL or next((o for o in settings.CSRF_TRUSTED_ORIGINS if "*" not in o), "")
    return base.rstrip("/") + path if path else ""

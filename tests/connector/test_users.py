"""Roles as they are told, headers that every page carries, and what `check --deploy` says of a real installation."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from connector import permissions
from connector.admin.base import TenantAdmin
from connector.models import User
from connector.models.tenants import Role
from tests.connector.admin_support import build, client_of, owner

ROOT = Path(__file__).resolve().parent.parent.parent


# -- roles -------------------------------------------------------------------------------------------


def test_the_page_of_the_docs_tells_what_the_checks_allow() -> None:
    page = (ROOT / "docs/users.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| ")]
    told = {row[0]: [cell == "yes" for cell in row[1:]] for row in rows if row[0] not in ("right", "---")}
    assert told == {text: [may for _, may in allowed] for text, allowed in permissions.rights_by_role()}
    assert rows[0][1:] == [role for role, _ in permissions.rights_by_role()[0][1]]


def test_every_right_that_a_page_asks_for_is_explained() -> None:
    explained = {act for act, _ in permissions.RIGHTS}
    asked = {right for a in admin.site._registry.values() if isinstance(a, TenantAdmin) for right, _ in a.acts.values()}
    assert asked and asked <= explained


@pytest.mark.django_db
def test_everybody_may_read_what_roles_may_do() -> None:
    house = build("alpha")
    url = reverse("admin:roles")
    for user in (*(house.person(role) for role in Role.values), owner(), User.objects.create_user("nobody", is_staff=True)):
        text = client_of(user).get(url).content.decode()
        assert permissions.RIGHTS[0][1] in text and "Installation owner" in text
    assert f"Viewer at {house.tenant}" in client_of(house.person("viewer")).get(url).content.decode()
    assert Client().get(url).status_code == 302
    assert url in client_of(owner()).get(reverse("admin:connector_user_changelist")).content.decode()


# -- headers -----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_every_page_carries_the_headers_that_protect_it() -> None:
    boss = client_of(owner())
    for page in (Client().get("/admin/login/"), boss.get("/admin/"), boss.get(reverse("admin:second_factor"))):
        assert page["X-Content-Type-Options"] == "nosniff" and page["X-Frame-Options"] == "DENY"
        assert page["Referrer-Policy"] == "same-origin" and page["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "camera=()" in page["Permissions-Policy"]
        assert "'unsafe-inline'" not in page["Content-Security-Policy"].split("script-src")[1].split(";")[0]
        assert "frame-ancestors 'none'" in page["Content-Security-Policy"]
        assert "no-store" in page["Cache-Control"]
        assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>\s*\S", page.content.decode()), "an inline script"


# -- check --deploy ----------------------------------------------------------------------------------


def check_deploy(tmp_path: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """What an operator runs, in a process of its own, with the environment that docs/operations.md tells."""
    env = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "VIRTUAL_ENV", "LANG")}
    env |= {
        "DJANGO_SETTINGS_MODULE": "connector.settings",
        "DEBUG": "0",
        "SECRET_KEY": Fernet.generate_key().decode() * 2,
        "FIELD_ENCRYPTION_KEY": Fernet.generate_key().decode(),
        "AUDIT_KEY": Fernet.generate_key().decode(),
        "DATABASE_URL": f"sqlite:///{tmp_path / 'new.sqlite3'}",
        "ALLOWED_HOSTS": "console.example.com",
        "CSRF_TRUSTED_ORIGINS": "https://console.example.com",
        "SECURE_SSL_REDIRECT": "1",
        "SECURE_HSTS_SECONDS": "31536000",
        "TRUST_X_FORWARDED_PROTO": "1",
        "TRUST_X_FORWARDED_FOR": "1",
    }
    command = [sys.executable, "manage.py", "check", "--deploy", "--database", "default", "--fail-level", "INFO"]
    return subprocess.run(command, cwd=ROOT, env=env | changes, capture_output=True, text=True, check=False, timeout=120)


def test_check_deploy_has_nothing_to_say_of_a_real_installation(tmp_path: Path) -> None:
    done = check_deploy(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("SECURE_SSL_REDIRECT", "0", "security.W008"),
        ("SECURE_HSTS_SECONDS", "0", "security.W004"),
        ("SECURE_COOKIES", "0", "security.W012"),
        ("SECRET_KEY", "short", "security.W009"),
        ("DEBUG", "1", "security.W018"),
    ],
)
def test_check_deploy_tells_what_is_missing(tmp_path: Path, name: str, value: str, code: str) -> None:
    done = check_deploy(tmp_path, **{name: value})
    assert done.returncode != 0 and code in done.stderr


def test_probes_from_inside_are_not_sent_to_https(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert Client().get("/admin/login/").status_code == 301
    assert Client().get("/healthz").status_code == 200

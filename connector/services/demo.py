"""The demo: a tenant whose connections lead to the simulators, with samples that ship and three that need a person.

Everything is made once. What is there stays as it is, whatever somebody has changed in it since; nothing here
is ever made twice.
"""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from connector.models import Connection, Integration, Tenant, User
from connector.services import clock, simulators
from connector.services.configuration import importing

ACTOR = "demo"
ADMIN = "admin"
SLUG = "demo"
ZONE = "America/Chicago"
PAST_DAYS = 30
"""The samples were made before the integration: it starts this many days ago, so that they count as work."""

_TABLES: dict[str, Any] = {"tenants": Tenant, "connections": Connection, "integrations": Integration}


@dataclass(slots=True)
class Demo:
    """What a run made and found. `password` only when the user was made just now: nothing keeps it."""

    created: dict[str, list[str]] = field(default_factory=dict)
    samples: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    password: str | None = None


def document(port: int) -> dict[str, Any]:
    """The whole demo as a configuration document (INTERFACE); the simulators answer at `port`."""
    start = (clock.now() - dt.timedelta(days=PAST_DAYS)).replace(microsecond=0)
    return {
        "version": 1,
        "tenants": [{"slug": "demo", "name": "Demo Manufacturing", "timezone": ZONE}],
        "connections": [
            {
                "slug": "demo-ifs",
                "tenant": "demo",
                "vendor": "ifs_cloud",
                "name": "IFS Cloud (simulator)",
                "environment": "simulator",
                "urls": {"base": simulators.url("ifs_cloud", port)},
                "credentials": {"client_id": "MLC", "client_secret": "ifs-demo-secret"},
                "settings": {"realm": "standard1"},
                "company_codes": [
                    {
                        "code": "10",
                        "name": "Demo Manufacturing Inc.",
                        "cost_center": "CC-100",
                        "freight_account": "6400",
                        "sites": [
                            _site("S1", "Memphis distribution", "9015550100", "3875 Airways Blvd", "Memphis", "TN", "38116"),
                            _site("S2", "Austin assembly", "5125550100", "9500 Metric Blvd Suite 120", "Austin", "TX", "78758"),
                        ],
                    }
                ],
            },
            {
                "slug": "demo-fedex",
                "tenant": "demo",
                "vendor": "fedex",
                "name": "FedEx (simulator)",
                "environment": "simulator",
                "urls": {"base": simulators.url("fedex", port)},
                "credentials": {"client_id": "demo-key", "client_secret": "demo-secret", "account_number": "123456789"},
            },
        ],
        "integrations": [
            {
                "slug": "demo-ifs-fedex",
                "tenant": "demo",
                "kind": "ifs_fedex",
                "name": "IFS Cloud to FedEx (demo)",
                "source": "demo-ifs",
                "target": "demo-fedex",
                "company_codes": ["10"],
                "enabled": True,
                "start_from": start.isoformat(),
                "schedule": {"ship": {"every_minutes": 1}},
                # One sample's ship-via is left out on purpose: it waits for a person to map it.
                "value_maps": {
                    "service": {"FDX-GND": "FEDEX_GROUND", "FDX-2DAY": "FEDEX_2_DAY"},
                    "carrier": {"FEDEX": "fedex"},
                },
            }
        ],
    }


def _site(code: str, name: str, phone: str, street: str, city: str, state: str, postal_code: str) -> dict[str, Any]:
    address = {
        "company": "Demo Manufacturing",
        "name": name,
        "phone": phone,
        "lines": [street],
        "city": city,
        "state": state,
        "postal_code": postal_code,
        "country": "US",
    }
    return {"code": code, "timezone": ZONE, "address": address}


def exists() -> bool:
    """Whether the demo's tenant is there."""
    return Tenant.objects.filter(slug=SLUG).exists()


def first_user() -> str | None:
    """Make a superuser to sign in as where there is none of that name; the password, which nothing keeps."""
    if User.objects.filter(username=ADMIN).exists():
        return None
    password = secrets.token_urlsafe(12)
    User.objects.create_superuser(ADMIN, password=password)
    return password


def create(port: int, *, actor: str = ACTOR, running: bool = False) -> Demo:
    """Make what is missing: samples and configuration. `port` is where the simulators (will) serve.

    With `running` they must answer there now; otherwise the samples may also go into the state they will start from.
    Raises simulators.SimulatorsUnreachable, and findings.InvalidConfiguration where a slug of the demo belongs
    to something else or this machine's simulators are not among ALLOW_PRIVATE_HOSTS.
    """
    # Samples first: switching the integration on wakes its first poll.
    made = Demo(samples=simulators.load_samples(port, running=running))
    wanted = document(port)
    for table, model in _TABLES.items():
        held = set(model.objects.filter(slug__in=[row["slug"] for row in wanted[table]]).values_list("slug", flat=True))
        wanted[table] = [row for row in wanted[table] if row["slug"] not in held]
    if any(wanted[table] for table in _TABLES):
        summary = importing.apply(wanted, actor)
        made.created, made.notes = summary.created, summary.notes
    made.notes += _strayed(port)
    return made


def _strayed(port: int) -> list[str]:
    """A remark for each demo connection that leads to another port of this machine."""
    found = Connection.objects.filter(tenant__slug="demo", environment="simulator").order_by("slug")
    split = [(connection.slug, urlsplit(connection.urls.get("base", ""))) for connection in found]
    return [
        f"{slug} leads to port {parts.port}, the simulators are at {port}: change the one or the other."
        for slug, parts in split
        if parts.hostname == simulators.HOST and parts.port != port
    ]

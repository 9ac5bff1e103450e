"""Where a connection will lead and with what: vendor, environment, addresses and credentials, from the file over what is stored.

A stored secret never goes to another host than the one it was entered for.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from connector.models import Connection
from connector.models.connections import UnreadableSecret
from connector.services.configuration.connection_checks import url_allowed, url_of
from connector.services.configuration.findings import Findings, nearest
from connector.services.configuration.reading import MISSING, Block, secret_of
from integrations import registry
from integrations.base.vendor import Vendor

NAMED_VENDORS = ("ifs_cloud", "acumatica", "fedex", "ups", "shipbob", "shipstation")
"""Vendor slugs of the interface; those that the registry lacks come with a later release."""


def vendor_of(found: Findings, block: Block, existing: Connection | None) -> Vendor | None:
    """The vendor of the entry, which never changes once a connection exists."""
    slug = block.text("vendor", existing.vendor if existing else MISSING, limit=40, empty=False)
    if slug is None:
        return None
    if existing is not None and slug != existing.vendor:
        found.add(
            block.at("vendor"), f"the vendor of a connection never changes (it is {existing.vendor}); make a new connection"
        )
        return None
    if slug in registry.VENDORS:
        return registry.get(slug)
    if slug in NAMED_VENDORS:
        found.add(block.at("vendor"), f'this release has no "{slug}" yet; it has {", ".join(registry.slugs())}')
    else:
        found.add(block.at("vendor"), f'no vendor "{slug}"{nearest(slug, registry.slugs())}')
    return None


def environment_of(found: Findings, block: Block, vendor: Vendor, existing: Connection | None) -> str:
    """The environment, or "" when the vendor has none of that name."""
    known = [e.key for e in vendor.environments]
    environment: str = block.text("environment", existing.environment if existing else "production", limit=40, empty=False)
    if block.has("environment") and environment not in (*known, "custom"):
        told = f'{vendor.label} has no environment "{environment}"{nearest(environment, known)}'
        found.add(block.at("environment"), told)
        return ""
    return environment


def urls_of(found: Findings, block: Block, vendor: Vendor, existing: Connection | None, environment: str) -> dict[str, str]:
    """The effective URLs: what the file says; else what is stored; else the environment's own ("" is none).

    A stored URL that was the former environment's own follows the environment.
    """
    own = _environment_urls(vendor, environment)
    stored: Mapping[str, str] = existing.urls if existing else {}
    former = _environment_urls(vendor, existing.environment) if existing else {}
    moved = existing is not None and existing.environment != environment
    given = Block(found, block.data.get("urls", {}), block.at("urls"), vendor.url_keys)
    made: dict[str, str] = {}
    for key in vendor.url_keys:
        url: str | None
        if given.has(key):
            url = url_of(found, vendor, key, given.data[key], given.at(key))
            if url is None:
                continue
        elif block.has("urls") or existing is None:
            url = own.get(key)
        else:
            url = own.get(key) if moved and stored.get(key) == former.get(key) else stored.get(key)
        if not url and not environment:
            continue  # the environment is wrong, which has been said
        if not url:
            found.add(given.at(key), f'is required: the environment "{environment}" has no address of its own')
            continue
        if not given.has(key) and url != stored.get(key) and not url_allowed(found, url, given.at(key)):
            continue
        made[key] = url
    return made


def credentials_of(
    found: Findings, block: Block, vendor: Vendor, existing: Connection | None, urls: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str] | None]:
    """Plain credentials, and the secrets (None: as stored). What is not given is kept, null removes."""
    known = {c.key: c for c in vendor.credentials}
    given = Block(found, block.data.get("credentials", {}), block.at("credentials"), list(known))
    plain: dict[str, str] = dict(existing.plain) if existing else {}
    secrets: dict[str, str] = {}
    readable = True
    if existing is not None:
        try:
            secrets = existing.secrets()
        except UnreadableSecret:
            readable = False
    kept = [key for key in known if known[key].secret and not given.has(key) and (key in secrets or not readable)]
    moved = [key for key in urls if existing is not None and _origin(existing.urls.get(key, "")) != _origin(urls[key])]
    if existing is not None and moved and kept:
        at = given.at(kept[0]) if given.data else given.path
        changes = ", ".join(
            f"urls.{key} from {_origin(existing.urls.get(key, '')) or 'nothing'} to {_origin(urls[key])}" for key in moved
        )
        found.add(
            at,
            f"the host changes ({changes}): give {', '.join(kept)} again, or null; a stored secret is not sent to a new host",
        )
    elif not readable and kept and any(known[key].secret for key in given.data if key in known):
        found.add(
            given.path,
            f"the stored secrets cannot be read with the present FIELD_ENCRYPTION_KEY: give {', '.join(kept)} again, or null",
        )
    for key, value in given.data.items():
        if key not in known:
            continue
        place = secrets if known[key].secret else plain
        if value is None:
            place.pop(key, None)
        elif (text := secret_of(found, value, given.at(key))) is not None:
            place[key] = text
    if existing is None:
        for key, credential in known.items():
            absent = key not in given.data or given.data[key] is None
            if credential.required and absent:
                found.add(given.at(key), f"is required for a new connection ({credential.label})")
    touched = existing is None or any(known[key].secret for key in given.data if key in known)
    return plain, secrets if touched else None


def _environment_urls(vendor: Vendor, environment: str) -> Mapping[str, str]:
    return next((e.urls for e in vendor.environments if e.key == environment), {})


def _origin(url: str) -> str:
    """Scheme, host and port: where a secret would be sent to."""
    parts = urlsplit(url)
    if not parts.hostname:
        return ""
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    return f"{parts.scheme}://{parts.hostname}:{port}"

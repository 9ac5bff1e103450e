"""Switches that people put on and off: an integration, and the brake on all purchases of some level."""

from __future__ import annotations

from typing import Literal

from django.db import transaction

from connector.models import (
    Installation,
    Integration,
    Tenant,
    Transfer,
)
from connector.services import audit, clock, keys, wake
from connector.services.alerts import raising
from connector.services.audit import Draft
from connector.services.configuration.findings import ConfigError, InvalidConfiguration
from integrations.flows.table import KINDS

REASON_CAP = 300
BRAKE_CODE = "stop_buying"
SWITCHED_OFF_CODE = "switched_off"
"""Codes of waiting transfers that are held; they are due at once when they are let go."""

Level = Literal["installation", "tenant", "integration"]


def switch(integration: Integration, tenant: Tenant, on: bool, actor: str, reason: str) -> None:
    integration.enabled = on
    integration.save(update_fields=["enabled", "updated_at"])
    detail = {"reason": reason} if reason else None
    act = "integration_on" if on else "integration_off"
    audit.append(tenant, Draft(act, {"slug": integration.slug}, integration, detail, actor))
    if on:
        held = Transfer.objects.filter(integration=integration, state=Transfer.State.WAITING, code=SWITCHED_OFF_CODE)
        held.update(due_at=clock.now())
        # At once, whatever the hours: the first poll is the baseline, and what becomes ready after it is work.
        for flow in KINDS[integration.kind].flows:
            if flow.available:
                wake.poll(integration.pk, flow.name)
        wake.work()


def integration_switch(integration: Integration, on: bool, actor: str, reason: str = "") -> bool:
    """Switch an integration on or off; cursors are kept. Returns whether anything changed.

    Raises InvalidConfiguration when this release cannot run it.
    """
    with transaction.atomic():
        locked = Integration.objects.select_for_update().get(pk=integration.pk)
        kind = KINDS.get(locked.kind)
        if on and (kind is None or not kind.available):
            raise InvalidConfiguration([ConfigError("kind", f'this release cannot run "{locked.kind}"')])
        if locked.enabled == on:
            integration.enabled = on
            return False
        switch(locked, locked.tenant, on, actor, reason.strip())
    integration.enabled = on
    return True


def stop_buying(level: Level, obj: Tenant | Integration | None, on: bool, actor: str, reason: str = "") -> bool:
    """Put the brake on all purchases on or off: for the installation (`obj` None), a tenant or an integration.

    Look-ups and write-backs go on. On release, what it held is due at once. Returns whether anything changed.
    Raises InvalidConfiguration for a reason longer than REASON_CAP characters.
    """
    reason = reason.strip()
    if len(reason) > REASON_CAP:
        raise InvalidConfiguration([ConfigError("reason", f"is longer than {REASON_CAP} characters")])
    with transaction.atomic():
        row: Installation | Tenant | Integration
        held = Transfer.objects.filter(state=Transfer.State.WAITING, code=BRAKE_CODE)
        if level == "installation":
            keys.installation()
            row, tenant = Installation.objects.select_for_update().get(pk=1), None
        elif level == "tenant" and isinstance(obj, Tenant):
            row = tenant = Tenant.objects.select_for_update().get(pk=obj.pk)
            held = held.filter(tenant=row)
        elif level == "integration" and isinstance(obj, Integration):
            row = Integration.objects.select_for_update().get(pk=obj.pk)
            tenant = row.tenant
            held = held.filter(integration=row)
        else:
            raise TypeError(f"stop_buying({level!r}) does not go with {obj!r}")
        stored_reason = reason if on else ""
        if row.stop_buying == on and (not reason or row.stop_buying_reason == stored_reason):
            return False
        row.stop_buying, row.stop_buying_reason = on, stored_reason
        row.save(update_fields=["stop_buying", "stop_buying_reason"])
        detail = {"reason": reason} if reason else None
        audit.append(tenant, Draft("stop_buying_on" if on else "stop_buying_off", {"level": level}, row, detail, actor))
        raising.brake_switched(level, row, tenant.pk if tenant else None, on, actor)
        if not on:
            held.update(due_at=clock.now())
            wake.work()
    if obj is not None:
        obj.stop_buying, obj.stop_buying_reason = on, stored_reason
    return True

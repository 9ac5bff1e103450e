"""Scopes that do nothing for a while: after a configuration error until a person acts, or resting (ENGINE 3)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q

from connector.models import Connection, Integration, Pause, Transfer
from connector.services import audit, clock, wake
from integrations.base.errors import ConfigurationError


def open_pauses(integration: Integration) -> list[Pause]:
    """Every pause that is not ended and concerns this integration."""
    ends = [integration.source_id, integration.target_id]
    return list(
        Pause.objects.filter(Q(connection_id__in=ends) | Q(integration=integration))
        .exclude(state="ended")
        .annotate(db_now=clock.at())
    )


def standing(connections: Collection[int], integrations: Collection[int]) -> list[Pause]:
    """Every pause that is not ended and concerns any of these, the newest first."""
    return list(
        Pause.objects.filter(Q(connection_id__in=connections) | Q(integration_id__in=integrations)).exclude(state="ended")
    )


def concerning(integration: Integration, found: Iterable[Pause]) -> list[Pause]:
    """Those of these pauses that concern an integration."""
    ends = (integration.source_id, integration.target_id)
    return [p for p in found if p.integration_id == integration.pk or p.connection_id in ends]


def pause(integration: Integration, connection: Connection, error: ConfigurationError, step: str = "") -> Pause:
    """Stop the scope that the error names. A scope already paused stays so; a probe that failed makes it active again."""
    whole = error.scope == "integration"
    key: dict[str, Any] = {
        "scope": error.scope,
        "connection": None if whole else connection,
        "integration": integration if whole else None,
        "scope_name": error.scope_name if error.scope in ("company", "site") else "",
        "kind": Pause.Kind.CONFIGURATION,
    }
    told = {"code": error.code[:60], "message": _sentence(error), "remedy": error.remedy}
    try:
        with transaction.atomic():
            found = Pause.objects.select_for_update().filter(**key).exclude(state="ended").first()
            if found is None:
                found = Pause.objects.create(
                    tenant_id=integration.tenant_id, state="active", since=clock.at(), step=step, **key, **told
                )
                audit.append(
                    integration.tenant,
                    audit.Draft("paused", {"scope": error.scope, "name": key["scope_name"], "code": error.code}, obj=found),
                )
            else:
                Pause.objects.filter(pk=found.pk).update(
                    state="active", probe_transfer=None, probe_at=None, step=step or found.step, **told
                )
    except IntegrityError:  # another worker paused the same scope this instant
        found = Pause.objects.filter(**key).exclude(state="ended").get()
    if error.scope == "connection":
        Connection.objects.filter(pk=connection.pk).update(health=Connection.Health.FAILED)
    return found


def _sentence(error: ConfigurationError) -> str:
    return (
        f"{error.message} ({error.vendor_text})"
        if error.vendor_text and error.vendor_text not in error.message
        else error.message
    )


def count_unavailable(connection: Connection, transfer_id: int, tenant_id: int) -> bool:
    """One more transfer found the vendor unavailable. True when the connection rests now."""
    Connection.objects.filter(pk=connection.pk).exclude(unavailable_transfer=transfer_id, unavailable_in_a_row__gt=0).update(
        unavailable_in_a_row=F("unavailable_in_a_row") + 1, unavailable_transfer=transfer_id
    )
    count = Connection.objects.values_list("unavailable_in_a_row", flat=True).get(pk=connection.pk)
    if count < settings.ENGINE["REST_AFTER"]:
        return False
    try:
        with transaction.atomic():
            Pause.objects.create(
                tenant_id=tenant_id,
                scope="connection",
                kind=Pause.Kind.REST,
                connection=connection,
                state="active",
                code="resting",
                message=f"{connection.name} did not answer {count} transfers in a row.",
                remedy="Nothing to do: one record tries again from time to time, and work goes on when it passes.",
                since=clock.at(),
                probe_at=clock.at(settings.ENGINE["REST_BASE_S"]),
            )
    except IntegrityError:
        return True
    return True


def answered(connection: Connection) -> None:
    """The vendor answered: the row of failures ends."""
    Connection.objects.filter(pk=connection.pk, unavailable_in_a_row__gt=0).update(
        unavailable_in_a_row=0, unavailable_transfer=None
    )


def probe_failed(found: Pause) -> None:
    """The resting connection's probe found it still away: wait longer."""
    wait = min(settings.ENGINE["REST_BASE_S"] * 2 ** (found.probe_count + 1), settings.ENGINE["REST_CAP_S"])
    Pause.objects.filter(pk=found.pk).exclude(state="ended").update(
        state="active", probe_count=F("probe_count") + 1, probe_at=clock.at(wait), probe_transfer=None
    )


def end(found: Pause, reason: str) -> None:
    """The scope works again."""
    with transaction.atomic():
        if (
            not Pause.objects.filter(pk=found.pk)
            .exclude(state="ended")
            .update(state="ended", ended_at=clock.at(), probe_transfer=None)
        ):
            return
        if found.kind == Pause.Kind.REST and found.connection_id:
            Connection.objects.filter(pk=found.connection_id).update(unavailable_in_a_row=0, unavailable_transfer=None)
        audit.append(found.tenant, audit.Draft("pause_ended", {"code": found.code, "reason": reason}, obj=found))
        wake.work(2)


def try_again(pauses: Sequence[Pause], reason: str) -> None:
    """Something changed (a good ping, new credentials): one transfer of the scope goes first; without any, it just ends."""
    for found in pauses:
        waiting = Transfer.objects.filter(state__in=("waiting", "running", "in_doubt"))
        if found.integration_id:
            waiting = waiting.filter(integration_id=found.integration_id)
        else:
            ends = Q(integration__source_id=found.connection_id) | Q(integration__target_id=found.connection_id)
            waiting = waiting.filter(ends)
            if found.scope == "site":
                waiting = waiting.filter(site=found.scope_name)
            elif found.scope == "company":
                waiting = waiting.filter(company_code=found.scope_name)
        if waiting.exists():
            Pause.objects.filter(pk=found.pk).exclude(state="ended").update(state="probing", probe_transfer=None)
            wake.work()
        else:
            end(found, reason)


def of_connection(connection: Connection) -> list[Pause]:
    """Open pauses of a connection, its companies and its sites, and of the integrations that begin or end there."""
    ours = Q(connection=connection) | Q(integration__source=connection) | Q(integration__target=connection)
    return list(Pause.objects.filter(ours).exclude(state="ended"))

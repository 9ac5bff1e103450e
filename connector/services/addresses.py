"""What carriers said of addresses lately: one call serves every document that goes to the same place on the same day."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from connector.models import CheckedAddress, Connection, Step
from connector.services import audit, clock
from connector.services.engine import codec
from integrations.base.address_checks import AddressCheck, place_of
from integrations.base.errors import IntegrationError, RateLimited, Unavailable
from integrations.base.records import Address

CHECK = "check address"
CHOOSE = "choose address"
KEEP_S = 86400.0
DOWN = "down"
"""Digest of the row that tells that the check did not answer."""


@dataclass(frozen=True, slots=True)
class Known:
    """A verdict that is less than a day old, and the call that told it."""

    check: AddressCheck
    batch: uuid.UUID | None


def mark_of(connection: Connection, address: Address) -> str:
    """Digest of a place and of where it is asked about: a test system's answers are none of the real one's."""
    return audit.digest([connection.environment, connection.urls, codec.encode(place_of(address))])


def known(connection: Connection, marks: Collection[str]) -> dict[str, Known]:
    """Verdicts by mark; of this connection only, so that no tenant learns where another one ships."""
    rows = CheckedAddress.objects.filter(
        tenant=connection.tenant_id, connection=connection, digest__in=marks, checked_at__gte=clock.at(-KEEP_S)
    )
    found = {}
    for row in rows:
        try:
            found[row.digest] = Known(codec.decode(row.result, AddressCheck, row.schema), row.batch)
        except codec.Undecodable:
            continue
    return found


def went_down(connection: Connection, error: IntegrationError) -> None:
    """Remember for all processes that the check does not answer: one that hangs must not hold up group after group."""
    told: dict[str, object] = {"message": error.message, "code": error.code, "remedy": error.remedy}
    told |= {"wait_s": error.retry_after_s} if isinstance(error, RateLimited) else {}
    CheckedAddress.objects.update_or_create(
        connection=connection,
        digest=DOWN,
        defaults={"tenant_id": connection.tenant_id, "result": told, "checked_at": clock.at()},
    )


def outage(connection: Connection, within_s: float) -> IntegrationError | None:
    """What kept the check from answering, if that is less than `within_s` seconds ago and nothing came since.

    After that one caller is told None, and asks; to the others it is out as long as that one has no answer.
    """
    down = CheckedAddress.objects.filter(connection=connection, digest=DOWN)
    row = down.first()
    if row is None or down.filter(checked_at__lt=clock.at(-within_s)).update(checked_at=clock.at()):
        return None
    told = {"code": row.result["code"], "remedy": row.result["remedy"], "vendor": connection.vendor}
    if "wait_s" in row.result:
        return RateLimited(row.result["message"], retry_after_s=row.result["wait_s"], **told)
    return Unavailable(row.result["message"], **told)


def keep(connection: Connection, checks: Mapping[str, AddressCheck], batch: uuid.UUID | None) -> None:
    """Remember verdicts for a day."""
    rows = [
        CheckedAddress(
            tenant_id=connection.tenant_id,
            connection=connection,
            digest=mark,
            result=codec.encode(check),
            schema=codec.SCHEMA,
            batch=batch,
            checked_at=clock.at(),
        )
        for mark, check in sorted(checks.items())  # two processes that keep the same ones do not wait for each other
    ]
    CheckedAddress.objects.filter(connection=connection, digest=DOWN).delete()
    CheckedAddress.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["connection", "digest"],
        update_fields=["result", "schema", "batch", "checked_at"],
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """What a document's page tells of its address. `check` None: it could not be checked, for the reason in `note`."""

    check: AddressCheck | None
    note: str = ""
    chosen: str = ""
    by: str = ""

    @property
    def sides(self) -> list[tuple[str, list[str]]]:
        """(title, lines) of the address as written and, where there is one, as the carrier proposes it."""
        if self.check is None:
            return []
        sides = [("As written in the ERP", self.check.asked), ("As the carrier proposes it", self.check.proposed)]
        return [(title, _lines(address)) for title, address in sides if address is not None]


def _lines(address: Address) -> list[str]:
    town = " ".join(part for part in (address.city, address.state, address.postal_code) if part)
    return [line for line in (*address.lines, town, address.country) if line]


def seen(steps: Iterable[Step]) -> Seen | None:
    """The address check among the steps of a transfer; None where there was none."""
    by_name = {step.name: step for step in steps}
    asked = by_name.get(CHECK)
    if asked is None:
        return None
    try:
        check = codec.decode(asked.result, AddressCheck, asked.schema) if asked.result else None
    except codec.Undecodable:
        return None
    choice = by_name[CHOOSE].result or {} if CHOOSE in by_name else {}
    note = asked.note or str((asked.error or {}).get("message", ""))
    return Seen(check, note, str(choice.get("address", "")), str(choice.get("by", "")))


def forget_old() -> None:
    """Erase what is too old to count: addresses are personal."""
    CheckedAddress.objects.filter(checked_at__lt=clock.at(-KEEP_S)).delete()


__all__ = ["outage", "went_down", "CHECK", "CHOOSE", "KEEP_S", "Known", "Seen", "forget_old", "keep", "known", "mark_of", "seen"]

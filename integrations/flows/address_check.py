"""The carrier's opinion of the recipient's address, before a label is bought. Advice: what it does is the integration's choice.

check address → choose address; `ahead` asks about a claimed group in one call.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from connector.models import Step, Transfer
from connector.services import addresses
from connector.services.addresses import CHECK, CHOOSE
from connector.services.engine import codec
from connector.services.engine.run import Job, Prefetched, Run
from integrations import registry
from integrations.base.address_checks import AddressCheck, Premises, Verdict, moved_to
from integrations.base.errors import AddressDoubtful, IntegrationError, RateLimited, Rejected
from integrations.base.records import Address, Problem, ShipmentRequest
from integrations.base.roles import Carrier
from integrations.flows.table import KINDS, OFF

DOWN_S = {"warn": 300.0, "block": 30.0}
"""Where the check does not answer, it is left alone for this long; then one document asks, and the others go on."""
PATIENCE_S = 60.0
"""With `block` a document waits once for its turn at the carrier, if that comes within this time."""
_STOPS = (Verdict.DOUBTFUL, Verdict.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Choice:
    """Where it ships. `address`: "as_written", or "proposed" by the carrier. `by`: the person who chose, if one did."""

    recipient: Address
    address: str = "as_written"
    by: str = ""


def wanted(job: Job) -> bool:
    """Whether this integration has addresses checked."""
    return bool(_option(job, "address_check") != OFF)


def settle(run: Run, carrier: Carrier, request: ShipmentRequest) -> ShipmentRequest:
    """The request with the address it ships to. Raises AddressDoubtful where a person has to decide.

    A check that gives no answer never holds a purchase, and counts against nobody (FedEx sheet 15). With `block` raises
    RateLimited once, where the carrier says that our turn comes soon.
    """
    if not wanted(run.job):
        return request
    mark = addresses.mark_of(run.job.target, request.recipient)
    told = run.transfer.decision or {}
    decided = told if told.get("address") and told.get("mark") == mark else {}
    check = _ask(run, carrier, request.recipient, mark, patient=_blocks(run) and not decided)
    choice = run.map(CHOOSE, _choose, carrier, request, check, mark, decided)
    if choice.address == "proposed":
        run.note("address_corrected", by=choice.by)
    if choice.recipient == request.recipient:
        return request
    return replace(request, recipient=choice.recipient, written_recipient=request.recipient)


def tell_unchecked(run: Run) -> None:
    """With `block`, a label that was bought without the check asks for a look: who wants every address checked must know."""
    if _blocks(run) and not (run.transfer.decision or {}).get("address"):
        run.finishers.append(lambda: _ask_for_a_look(run))


def _ask_for_a_look(run: Run) -> None:
    """An earlier attempt may have asked, so the kept step tells it; what the label itself lacks comes first."""
    step = Step.objects.filter(transfer=run.transfer, name=CHECK, generation=run.source_record.generation).first()
    if step is not None and step.state == Step.State.SKIPPED:
        attention = "address_not_checked"
        Transfer.objects.filter(pk=run.transfer.pk, attention__isnull=True).update(attention=attention)


def ahead(job: Job, carrier: Carrier, recipients: Iterable[Address], batch: uuid.UUID) -> None:
    """Ask about all of these that are not known, in one call. Raises what the carrier raised."""
    marks = {addresses.mark_of(job.target, address): address for address in recipients}
    known = addresses.known(job.target, marks)
    _fetch(job, carrier, {mark: address for mark, address in marks.items() if mark not in known}, batch)


def _fetch(
    job: Job, carrier: Carrier, asked: Mapping[str, Address], batch: uuid.UUID | None
) -> dict[str, AddressCheck | Problem]:
    if not asked:
        return {}
    outage = addresses.outage(job.target, DOWN_S[_option(job, "address_check")])
    if outage is not None:
        raise outage
    try:
        found = dict(zip(asked, carrier.validate_addresses(list(asked.values())), strict=True))
    except IntegrationError as error:
        addresses.went_down(job.target, error)
        raise
    addresses.keep(job.target, {mark: c for mark, c in found.items() if isinstance(c, AddressCheck)}, batch)
    return found


class _Asker:
    """Reads one verdict, from the last day's or from the carrier."""

    def __init__(self, run: Run, carrier: Carrier, address: Address, mark: str) -> None:
        self.run, self.adapter, self.address, self.mark = run, carrier, address, mark

    def __call__(self, keys: Sequence[str]) -> dict[str, Any]:
        known = addresses.known(self.run.job.target, [self.mark]).get(self.mark)
        if known is not None:
            return {keys[0]: Prefetched(known.check, 0.0, known.batch)}
        return {keys[0]: _fetch(self.run.job, self.adapter, {self.mark: self.address}, None)[self.mark]}


def _ask(run: Run, carrier: Carrier, address: Address, mark: str, *, patient: bool) -> AddressCheck | None:
    try:
        check: AddressCheck = run.read(CHECK, _Asker(run, carrier, address, mark), beside=True)
    except IntegrationError as error:
        # What cannot stand on a label is said again, with its remedy, when the label is asked for.
        if isinstance(error, Rejected) or (patient and _our_turn_comes(run, error)):
            raise
        run.skip_step(CHECK, Step.Kind.READ, f"The address was not checked: {error.message}")
        run.note("address_not_checked", code=error.code, message=f"The address was not checked: {error.message}")
        return None
    if check.verdict != Verdict.GOOD or check.messages:
        # No part of the address: entries are kept for ever.
        facts = {"verdict": check.verdict, "premises": check.premises, "request_id": check.request_id}
        run.note("address_checked", message=" ".join(check.messages), **{k: str(v) for k, v in facts.items() if v})
    return check


def _our_turn_comes(run: Run, error: IntegrationError) -> bool:
    """Whether the carrier only asks for a short pause, and this document has not waited for one at this step before."""
    if not isinstance(error, RateLimited) or error.retry_after_s > PATIENCE_S:
        return False
    return (run.transfer.step, run.transfer.code) != (CHECK, error.code[:60])


def _blocks(run: Run) -> bool:
    return bool(_option(run.job, "address_check") == "block")


# -- choosing ----------------------------------------------------------------------------------------


def _choose(
    run: Run, carrier: Carrier, request: ShipmentRequest, check: AddressCheck | None, mark: str, decided: Mapping[str, Any]
) -> Choice:
    """A person's word first, then the options. Raises AddressDoubtful."""
    recipient = _home_or_business(run, request.recipient, check)
    if decided:
        actor = str(decided.get("address_by", ""))
        if decided["address"] != "proposed":
            return Choice(recipient, by=actor)
        return Choice(moved_to(recipient, codec.decode(decided["proposed"], Address)), "proposed", actor)
    if check is None:
        return Choice(recipient)
    doubt = check.verdict in _STOPS or (check.po_box and not carrier.reaches_po_box(request.service))
    if doubt:
        if _blocks(run):
            raise _doubtful(run, check, mark)
        return Choice(recipient)
    if check.verdict == Verdict.CORRECTED and check.proposed is not None:
        match _option(run.job, "address_correction"):
            case "ask":
                raise _doubtful(run, check, mark, code="address_corrected")
            case "apply":
                return Choice(moved_to(recipient, check.proposed), "proposed")
    return Choice(recipient)


def _home_or_business(run: Run, recipient: Address, check: AddressCheck | None) -> Address:
    """The recipient with the carrier's word on home or business, where that is wanted and nobody has said otherwise."""
    if check is None or recipient.residential is not None or not _option(run.job, "residential_from_check"):
        return recipient
    if check.premises not in (Premises.BUSINESS, Premises.RESIDENTIAL):
        return recipient
    return replace(recipient, residential=check.premises == Premises.RESIDENTIAL)


def _doubtful(run: Run, check: AddressCheck, mark: str, code: str | None = None) -> AddressDoubtful:
    name = registry.get(run.job.target.vendor).label
    says = {
        Verdict.CORRECTED: f"{name} knows the recipient's address in another spelling.",
        Verdict.UNKNOWN: f"{name} does not find the recipient's address.",
    }
    return AddressDoubtful(
        says.get(check.verdict, f"{name} doubts the recipient's address.") + " Nothing was bought.",
        code=code,
        remedy="Correct it in the ERP, or choose on the transfer's page: ship to the proposed address, or as written."
        if check.proposed is not None
        else "Correct it in the ERP, or choose on the transfer's page: ship as written.",
        field="recipient",
        vendor=run.job.target.vendor,
        operation=CHECK,
        vendor_text=" ".join(check.messages),
        request_id=check.request_id,
        written=codec.encode(check.asked),
        proposed=codec.encode(check.proposed) if check.proposed is not None else None,
        mark=mark,
        verdict=check.verdict.value,
    )


def _option(job: Job, name: str) -> Any:
    value = job.options.get(name)
    return KINDS[job.integration.kind].defaults()[name] if value is None else value


__all__ = ["CHECK", "CHOOSE", "ahead", "settle", "tell_unchecked", "wanted"]

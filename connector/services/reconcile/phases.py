"""The parts of a comparison: what each asks for, batch by batch, and what follows from the answers.

erp       our labels against the ERP's headers, 20 a call
carrier   our labels against the carrier's news, 30 parcels a call
numbers   the ERP's documents that hold a number against our labels, a page a call
ready     the ERP's ready documents against what we have seen, a page a call
sends     requests refused, not made or in doubt against the carrier, one call each
charges   freight cost that should have been written: no call

Each batch says from where to go on. Nothing here writes, except what the caller stores.
"""

from __future__ import annotations

import datetime as dt
import uuid
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q

from connector.models import (
    Baseline,
    Connection,
    EffectSend,
    FlowState,
    FreightCharge,
    Integration,
    Package,
    ReconciliationRun,
    Shipment,
    SourceRecord,
    Transfer,
)
from connector.services import keys, schedules, vendors
from connector.services.engine.polling import sites_of
from connector.services.engine.run import Job, Run
from connector.services.engine.signals import Stuck
from connector.services.engine.work import Flows, flow_options
from connector.services.reconcile import findings, kinds
from connector.services.reconcile.compare import Found, subject_of, with_carrier, with_erp
from integrations.base.errors import Rejected
from integrations.base.records import DocumentHead, Problem, Standing
from integrations.base.roles import ListQuery, Site
from integrations.base.tracking import DELIVERED, RETURNED, TrackQuery

FLOW = "ship"
KEYS = 20
PARCELS = 30
SITES = 20
SENDS = 3
ROWS = 100
AN_HOUR = dt.timedelta(hours=1)
A_DAY = dt.timedelta(days=1)
VOIDED_BACK = dt.timedelta(days=60)
"""A label voided in the period may be older than the period by so much."""
AGAIN = 2000
"""Things about which something stands that are looked at again although they lie outside the period."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one batch compared: subjects of `kinds` and what was found about them. `cursor` None: the phase is done."""

    kinds: frozenset[str]
    subjects: tuple[str, ...] = ()
    found: tuple[Found, ...] = ()
    cursor: Mapping[str, Any] | None = None
    compared: int = 0
    unreadable: int = 0
    unseen: Mapping[str, str] = field(default_factory=dict)
    left_out: bool = False


@dataclass(slots=True)
class Round:
    """What the batches of one process share."""

    run: ReconciliationRun
    integration: Integration
    flows: Flows
    now: dt.datetime
    recorder: Any
    _erp: Any = None
    _carrier: Any = None

    @property
    def erp(self) -> Any:
        """The ERP's adapter. Raises ConfigurationError."""
        if self._erp is None:
            self._erp = vendors.open_adapter(self.integration.source)
        return self._erp

    @property
    def carrier(self) -> Any:
        """The carrier's adapter. Raises ConfigurationError."""
        if self._carrier is None:
            self._carrier = vendors.open_adapter(self.integration.target)
        return self._carrier

    @property
    def since(self) -> dt.datetime:
        """Where the period begins."""
        return dt.datetime.combine(self.run.since, dt.time(), tzinfo=dt.UTC)

    def sites(self) -> list[Site]:
        """The integration's sites whose documents from before the start are known. Raises ConfigurationError."""
        listed = set(Baseline.objects.filter(integration=self.integration, flow=FLOW).values_list("site", flat=True))
        found = sites_of(self.integration, vendors.companies_of(self.integration.source))
        # A baseline without a site is one of the whole connection.
        return sorted((site for site in found if site.code in listed or "" in listed), key=lambda site: site.code)


Phase = Callable[[Round, Mapping[str, Any]], Batch]


def _stood(round_: Round, some: frozenset[str], name: str) -> Q:
    """Rows about which something stands: they are looked at again, however old they are."""
    rows = findings.standing(round_.integration, some).exclude(**{name: None}).order_by("pk")
    return Q(pk__in=list(rows.values_list(name, flat=True)[:AGAIN]))


def _chosen(round_: Round, some: frozenset[str], usual: Q) -> Any:
    # With the tenant and by date, for the index; the few about which something stands by their ids.
    here = Shipment.objects.filter(tenant=round_.integration.tenant_id, integration=round_.integration)
    here = here.filter(usual | _stood(round_, some, "shipment_id"), created_at__lte=round_.run.started_at)
    return here.exclude(state=Shipment.State.VOIDING).order_by("pk").prefetch_related("packages")


def _in_period(round_: Round) -> Q:
    """Made, or voided, in the period."""
    return Q(created_at__gte=round_.since) | Q(created_at__gte=round_.since - VOIDED_BACK, voided_at__gte=round_.since)


# -- our labels --------------------------------------------------------------------------------------


def erp_shipments(round_: Round) -> Any:
    """The labels that are compared with the ERP."""
    return _chosen(round_, kinds.ERP_KINDS, _in_period(round_))


def compare_erp(round_: Round, cursor: Mapping[str, Any]) -> Batch:
    """Up to 20 labels against the ERP's headers."""
    some = list(erp_shipments(round_).filter(pk__gt=cursor.get("after", 0))[:KEYS])
    if not some:
        return Batch(kinds.ERP_KINDS)
    told: Mapping[str, Standing | Problem] = round_.erp.read_standings([s.source_key for s in some])
    records = {s.record_id for s in some}
    busy, theirs = _open_work(records)
    numbers = _numbers_of(records)
    # Where a newer label took the place of a voided one, the field is that one's.
    active = set(Shipment.objects.filter(record__in=records, state="active").values_list("record", flat=True))
    found: list[Found] = []
    subjects: list[str] = []
    unreadable = 0
    for shipment in some:
        answer = told.get(shipment.source_key)
        if shipment.record_id in busy or answer is None:
            continue
        made = with_erp(shipment, answer, numbers.get(shipment.record_id, ()), replaced=shipment.record_id in active)
        if made is None:
            unreadable += 1
            continue
        subjects.append(subject_of(shipment))
        found += [one for one in made if not (one.kind == "erp_other" and shipment.record_id in theirs)]
    after = {"after": some[-1].pk}
    return Batch(kinds.ERP_KINDS, tuple(subjects), tuple(found), after, len(some), unreadable)


def _open_work(records: set[int]) -> tuple[set[int], set[int]]:
    """Records that are being worked on this moment, and those where a person has decided to keep the ERP's number."""
    busy = Transfer.objects.filter(record__in=records, state__in=("waiting", "running", "in_doubt"))
    kept = Transfer.objects.filter(record__in=records, decision__field_conflict="theirs")
    return set(busy.values_list("record", flat=True)), set(kept.values_list("record", flat=True))


def _numbers_of(records: set[int]) -> dict[int, set[str]]:
    """All numbers that were ever bought for these records."""
    found: dict[int, set[str]] = {}
    held = Package.objects.filter(shipment__record__in=records)
    for record, number, master in held.values_list("shipment__record", "tracking_number", "shipment__master_tracking_number"):
        found.setdefault(record, set()).update((number, master))
    return found


def carrier_shipments(round_: Round) -> Any:
    """The labels that are compared with the carrier: what is delivered is asked for no more (sheet 11.1)."""
    open_ones = ~Q(state=Shipment.State.ACTIVE, status__in=(DELIVERED, RETURNED))
    chosen = _chosen(round_, kinds.CARRIER_KINDS, _in_period(round_) & open_ones)
    return chosen.filter(carrier=round_.integration.target_id)


def compare_carrier(round_: Round, cursor: Mapping[str, Any]) -> Batch:
    """Labels with up to 30 parcels together (or one with more) against the carrier's news."""
    some: list[tuple[Shipment, list[Package]]] = []
    parcels = 0
    for shipment in carrier_shipments(round_).filter(pk__gt=cursor.get("after", 0))[:PARCELS]:
        packages = [p for p in shipment.packages.all() if p.voided == (shipment.state == Shipment.State.VOIDED)]
        if some and parcels + len(packages) > PARCELS:
            break
        some.append((shipment, packages))
        parcels += len(packages)
    if not some:
        return Batch(kinds.CARRIER_KINDS)
    asked = [TrackQuery(p.tracking_number, p.ship_date, p.carrier_unique_id) for _, packages in some for p in packages]
    told = round_.carrier.track(asked) if asked else {}
    found: list[Found] = []
    subjects: list[str] = []
    for shipment, packages in some:
        made = with_carrier(shipment, packages, told, round_.now)
        if made is not None:
            subjects.append(subject_of(shipment))
            found += made
    refused = sum(isinstance(answer, Problem) for answer in told.values())
    after = {"after": some[-1][0].pk}
    return Batch(kinds.CARRIER_KINDS, tuple(subjects), tuple(found), after, len(some), refused)


# -- the ERP's documents -----------------------------------------------------------------------------

EXTRA = frozenset({"erp_extra"})
UNSEEN = frozenset({"erp_unseen"})


def _document(key: str) -> str:
    return f"document:{key}"


def compare_numbers(round_: Round, cursor: Mapping[str, Any]) -> Batch:
    """A page of the ERP's documents with a number against our labels; first those about which something stands."""
    if "group" not in cursor:
        return _numbers_again(round_, int(cursor.get("again", 0)))
    sites, group, after = round_.sites(), int(cursor["group"]), str(cursor.get("after", ""))
    documents, kind = round_.integration.options.get("documents") or ["shipment"], int(cursor.get("kind", 0))
    here = sites[group * SITES : (group + 1) * SITES]
    if not here or kind >= len(documents):
        return Batch(EXTRA)
    asked = ListQuery(documents[kind], tuple(here), _first_day(round_))
    page: list[Standing] = next(round_.erp.list_numbered(asked, after), [])
    last = group + 1 >= -(-len(sites) // SITES)
    behind = {"group": 0, "kind": kind + 1} if last else {"group": group + 1, "kind": kind}
    following = {"group": group, "kind": kind, "after": page[-1].key} if page else behind
    return _judge_numbers(round_, page, [one.key for one in page], following)


def _first_day(round_: Round) -> dt.date:
    """What was dated before the start was shipped by somebody else, and rightly so."""
    start = round_.integration.start_from or round_.integration.created_at
    return max(round_.run.since, start.date())


def _numbers_again(round_: Round, after: int) -> Batch:
    """Documents about which something stands, whatever their date."""
    rows = list(findings.standing(round_.integration, EXTRA).filter(pk__gt=after).order_by("pk")[:KEYS])
    if not rows:
        return Batch(EXTRA, cursor={"group": 0})
    told = round_.erp.read_standings([row.source_key for row in rows])
    there = [one for one in told.values() if isinstance(one, Standing)]
    gone = [k for k, one in told.items() if isinstance(one, Problem) and getattr(one.error, "code", "") == "document_gone"]
    return _judge_numbers(round_, there, [*(one.key for one in there), *gone], {"again": rows[-1].pk})


def _judge_numbers(round_: Round, page: Sequence[Standing], concluded: Sequence[str], cursor: Mapping[str, Any]) -> Batch:
    numbers = {(number or "").strip() for one in page for number in (one.tracking_number, one.shared_number)} - {""}
    ours = _ours_among(round_, numbers)
    records = {
        record.source_key: record
        for record in SourceRecord.objects.filter(
            integration__source=round_.integration.source_id, flow=FLOW, source_key__in=[one.key for one in page]
        )
    }
    labelled = set(Shipment.objects.filter(record__in=records.values(), state="active").values_list("record", flat=True))
    other = round_.flows[FLOW].another_carrier
    found: list[Found] = []
    told: set[tuple[str, str]] = set()
    # What stands in a field of a document's own comes first: a shared one repeats it, and is told once for its order.
    candidates = [(one, one.tracking_number, False) for one in page] + [(one, one.shared_number, True) for one in page]
    for one, stands, shared in candidates:
        record, number = records.get(one.key), (stands or "").strip()
        if not number or number in ours or not round_.carrier.is_number(number) or one.cancelled:
            continue
        # Before the start, or told already by the comparison of our own label (which does not look at shared fields).
        if record is not None and (record.before_start or (record.pk in labelled and not shared)):
            continue
        order = one.key.rpartition("/")[0] or one.key
        if (order, number) in told:
            continue
        if other is not None and other(round_.integration, one.forwarder):
            continue
        told.add((order, number))
        known = "another number" if record is not None and record.pk in labelled else "no label"
        found.append(
            Found(
                "erp_extra",
                _document(one.key),
                one.key,
                number,
                ours=known if record is not None else "no label, never seen",
                erp=f"{number}, {one.state}",
                mark=number,
                record=record.pk if record is not None else None,
            )
        )
    return Batch(EXTRA, tuple(_document(key) for key in concluded), tuple(found), cursor, len(page))


def _ours_among(round_: Round, numbers: set[str]) -> set[str]:
    """Those of these numbers that the tenant has bought, over whichever connection."""
    connections = list(Connection.objects.filter(tenant=round_.integration.tenant_id).values_list("pk", flat=True))
    packages = Package.objects.filter(carrier__in=connections, tracking_number__in=numbers)
    masters = Shipment.objects.filter(carrier__in=connections, master_tracking_number__in=numbers)
    return {
        *packages.values_list("tracking_number", flat=True),
        *masters.values_list("master_tracking_number", flat=True),
    }


def compare_ready(round_: Round, cursor: Mapping[str, Any]) -> Batch:
    """All documents that are ready against what we have seen."""
    sites = round_.sites()
    if not sites:
        return Batch(UNSEEN)
    heads: dict[str, DocumentHead] = {}
    documents = round_.integration.options.get("documents") or ["shipment"]
    for kind in documents:
        for page in round_.erp.list_documents(ListQuery(kind, tuple(sites))):
            if round_.run.calls + len(round_.recorder.waiting) >= round_.run.call_limit:
                return Batch(UNSEEN, left_out=True)
            heads |= {head.key: head for head in page}
    state = FlowState.objects.filter(integration=round_.integration, flow=FLOW).first()
    polled = state.last_good_poll_at if state is not None else None
    before = _noticed_before(round_)
    seen = _seen(round_, list(heads))
    unseen = {key: before.get(key, round_.now.isoformat()) for key in heads if key not in seen}
    found = []
    for key, noticed in unseen.items():
        head = heads[key]
        if _overlooked(round_, dt.datetime.fromisoformat(noticed), head.date, polled):
            date = f", dated {head.date:%Y-%m-%d}" if head.date else ""
            found.append(Found("erp_unseen", _document(key), key, ours="never seen", erp=f"ready ({head.state}){date}"))
    stood = [row.subject for row in findings.standing(round_.integration, UNSEEN)]
    subjects = dict.fromkeys([*stood, *(one.subject for one in found)])
    return Batch(UNSEEN, tuple(subjects), tuple(found), compared=len(heads), unseen=unseen)


def _noticed_before(round_: Round) -> dict[str, str]:
    """Ready documents that were not known at the last comparison, each with when it was noticed."""
    last = ReconciliationRun.objects.filter(integration=round_.integration, state="done").exclude(pk=round_.run.pk)
    return dict(last.order_by("-pk").values_list("unseen", flat=True).first() or {})


def _seen(round_: Round, found: Sequence[str]) -> set[str]:
    known: set[str] = set()
    for start in range(0, len(found), 500):
        records = SourceRecord.objects.filter(
            integration__source=round_.integration.source_id, flow=FLOW, source_key__in=found[start : start + 500]
        )
        known |= set(records.values_list("source_key", flat=True))
    return known


def _overlooked(round_: Round, noticed: dt.datetime, date: dt.datetime | None, polled: dt.datetime | None) -> bool:
    """Whether polls have had their chance: one passed long after it was noticed, or they do not come at all.

    What is noticed for the first time may have become ready a minute ago; not so if its date lies behind.
    """
    integration = round_.integration
    if polled is None or noticed < polled - AN_HOUR:
        return True
    zone = zoneinfo.ZoneInfo(integration.tenant.timezone)
    late_s = schedules.overdue_s(schedules.merged_schedule(integration, FLOW), zone, round_.now, polled)
    if integration.enabled and late_s > AN_HOUR.total_seconds():
        return True
    return date is not None and date < polled - A_DAY and polled > round_.now - AN_HOUR


# -- requests and charges ----------------------------------------------------------------------------

SENT = frozenset({"label_extra", "in_doubt"})
CHARGED = frozenset({"charge_planned"})


def sends(round_: Round) -> Any:
    """Requests that count as not made, and those whose outcome has been open for an hour."""
    settled = Q(outcome__in=("absent", "refused"), sent_at__gte=round_.since, effect__kind="label")
    open_ones = Q(outcome__in=EffectSend.OPEN, sent_at__lt=round_.now - AN_HOUR)
    here = EffectSend.objects.filter(transfer__integration=round_.integration)
    here = here.filter(settled | open_ones | _stood(round_, SENT, "send_id"))
    return here.select_related("effect__record", "transfer").order_by("pk")


def compare_sends(round_: Round, cursor: Mapping[str, Any]) -> Batch:
    """A few requests against the carrier, each looked up under its reference."""
    some = list(sends(round_).filter(pk__gt=cursor.get("after", 0))[:SENDS])
    if not some:
        return Batch(SENT)
    job = Job(integration=round_.integration, installation=keys.installation(), owner=uuid.uuid4(), buying=False)
    job.options = flow_options(round_.integration)
    found: list[Found] = []
    subjects: list[str] = []
    unreadable = 0
    for send in some:
        try:
            made = _look_up(round_, job, send)
        except (Rejected, Stuck):
            unreadable += 1
            continue
        subjects.append(f"send:{send.pk}")
        found += [made] if made is not None else []
    return Batch(SENT, tuple(subjects), tuple(found), {"after": some[-1].pk}, len(some), unreadable)


def _look_up(round_: Round, job: Job, send: EffectSend) -> Found | None:
    """What the carrier has under a request's reference, against what we think of it. Raises what the vendor raised."""
    open_one = send.outcome in EffectSend.OPEN
    if send.outcome == EffectSend.Outcome.DONE:
        return None
    number, says, remedy = "", "", ""
    spec = round_.flows.get(send.effect.record.flow)
    if send.effect.kind == "label" and send.connection_id == round_.integration.target_id and spec is not None:
        run = Run(job, send.transfer, send.effect.record)
        operation = spec.operations["label"](run, round_.carrier)
        payload = run.payload_of(operation, send)
        looked = operation.find(send.reference, payload)
        verdict = operation.adopt(looked, payload, send.effect.record, send)
        live = [m for m in looked.matches if not m.cancelled]
        if live or looked.ambiguous:
            number = live[0].master_tracking_number if len(live) == 1 else ""
            says = f"{number or 'several shipments'} under {send.reference}"
            remedy = "" if verdict.result is not None else kinds.KNOWN
        if verdict.known:
            number = says = ""
        says = says or (f"nothing under {send.reference}" if open_one else "")
    if not open_one and not says:
        return None
    return Found(
        "in_doubt" if open_one else "label_extra",
        f"send:{send.pk}",
        send.transfer.source_key,
        number,
        ours=f"{send.get_outcome_display().lower()} ({send.effect.kind})",
        carrier=says,
        mark="" if open_one else says,
        remedy="" if open_one else remedy,
        record=send.effect.record_id,
        transfer=send.transfer_id,
        send=send.pk,
    )


def charges(round_: Round) -> Any:
    """Freight cost planned an hour ago or longer and not written, of labels that count."""
    late = Q(state=FreightCharge.State.PLANNED, created_at__lt=round_.now - AN_HOUR, shipment__state="active")
    here = FreightCharge.objects.filter(shipment__integration=round_.integration)
    return here.filter(late | _stood(round_, CHARGED, "charge_id")).select_related("shipment").order_by("pk")


def compare_charges(round_: Round, cursor: Mapping[str, Any]) -> Batch:
    """A hundred shares of freight cost; nobody is called."""
    some = list(charges(round_).filter(pk__gt=cursor.get("after", 0))[:ROWS])
    if not some:
        return Batch(CHARGED)
    busy, _ = _open_work({charge.shipment.record_id for charge in some})
    found = [
        Found(
            "charge_planned",
            f"charge:{charge.pk}",
            charge.shipment.source_key,
            charge.shipment.master_tracking_number,
            ours=f"{charge.amount} {charge.currency} for {charge.order}",
            erp="not written",
            record=charge.shipment.record_id,
            transfer=charge.shipment.transfer_id,
            shipment=charge.shipment_id,
            charge=charge.pk,
        )
        for charge in some
        if charge.state == FreightCharge.State.PLANNED and charge.shipment.state == "active"
    ]
    concluded = [charge for charge in some if charge.shipment.record_id not in busy]
    subjects = tuple(f"charge:{charge.pk}" for charge in concluded)
    told = tuple(one for one in found if one.subject in set(subjects))
    return Batch(CHARGED, subjects, told, {"after": some[-1].pk}, len(some))


PHASES: Mapping[str, Phase] = {
    "erp": compare_erp,
    "carrier": compare_carrier,
    "numbers": compare_numbers,
    "ready": compare_ready,
    "sends": compare_sends,
    "charges": compare_charges,
}
WORDS: Mapping[str, str] = {
    "erp": "our labels with the ERP",
    "carrier": "our labels with the carrier",
    "numbers": "numbers in the ERP",
    "ready": "documents that are ready",
    "sends": "requests refused, not made or in doubt",
    "charges": "freight cost",
}


def total(round_: Round) -> int:
    """About how many things will be compared, for the progress; pages of the ERP are not known before."""
    countable = (erp_shipments(round_), carrier_shipments(round_), sends(round_), charges(round_))
    return sum(rows.count() for rows in countable)


__all__ = ["PHASES", "WORDS", "Batch", "Round", "total"]

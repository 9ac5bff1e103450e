"""Find work: baseline, regular poll, daily sweep, and what changed after it was handled (ENGINE 3 and 4)."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, Q, QuerySet

from connector import workers
from connector.models import (
    AuditEntry,
    Baseline,
    Connection,
    Exchange,
    FlowState,
    Integration,
    Pause,
    Shipment,
    SourceRecord,
    Transfer,
)
from connector.services import audit, clock, keys, vendors, wake
from connector.services.engine import codec, pauses
from connector.services.engine.recorder import ExchangeBuffer
from integrations import registry
from integrations.base.context import Company
from integrations.base.errors import ConfigurationError, IntegrationError, Unavailable
from integrations.base.http import recording
from integrations.base.records import Document, DocumentHead, Problem
from integrations.base.roles import ListQuery
from integrations.base.roles import Site as RoleSite

logger = logging.getLogger(__name__)

POLL_LEASE_S = 300.0
RECHECK_DAYS = 30
LOOK = "look"
"""Where a flow's cursor keeps what a person has asked for: to look further back, once."""


@dataclass(frozen=True, slots=True)
class PollSpec:
    """What a flow tells the poll: which documents, and how to see that a bought document has really changed.

    `kinds(options)` gives document kinds. `changed(integration, record, document)` compares with what was
    bought ("" = nothing that matters changed, else an attention code).
    """

    flow: str
    kinds: Callable[[Mapping[str, Any]], Sequence[str]]
    window_days: Callable[[Mapping[str, Any], str], int]
    changed: Callable[[Integration, SourceRecord, Document], str]


@dataclass(slots=True)
class PollResult:
    """Counts of one poll, as the interface names them."""

    seen: int = 0
    new: int = 0
    changed: int = 0
    before_start: int = 0
    unreadable: int = 0
    baseline: bool = False
    busy: bool = False
    paused: bool = False
    error: dict[str, object] | None = None

    def as_dict(self) -> dict[str, int]:
        return {
            "seen": self.seen,
            "new": self.new,
            "changed": self.changed,
            "before_start": self.before_start,
            "unreadable": self.unreadable,
        }


@dataclass(slots=True)
class _Poll:
    """One poll under way."""

    integration: Integration
    spec: PollSpec
    state: FlowState
    owner: uuid.UUID
    erp: Any
    companies: Sequence[Company]
    buffer: ExchangeBuffer
    result: PollResult = field(default_factory=PollResult)
    renewed: float = field(default_factory=time.monotonic)

    @property
    def tenant_id(self) -> int:
        return self.integration.tenant_id


class _LeaseLost(Exception):
    """Another process polls this flow now."""


def poll(integration: Integration, spec: PollSpec, *, wait_s: float = 0.0, sweep: bool = False) -> PollResult:
    """List what is ready, make source records and transfers of what is new, look at what changed.

    One at a time per (integration, flow), by a lease on its state row; `wait_s` is how long to wait for one
    that is under way (then `busy`). A vendor's error ends up in the result and, if it is a configuration
    error, as a pause of its scope; nothing is raised for it.
    """
    result = PollResult()
    owner = uuid.uuid4()
    state = _take_lease(integration, spec.flow, owner, wait_s)
    if state is None:
        result.paused = _pauses(integration).exists()
        result.busy = not result.paused
        return result
    batch = uuid.uuid4()
    buffer = ExchangeBuffer({integration.source.slug: integration.source}, batch=batch)
    buffer.step = "poll"
    ended = False
    try:
        context = vendors.context_of(integration.source)
        erp = registry.adapter_class(integration.source.vendor)(context)
        run = _Poll(integration, spec, state, owner, erp, context.companies, buffer, result)
        with recording(buffer):
            _poll(run, sweep)
        _store_state(run)
        ended = True
        for found in pauses.of_connection(integration.source) if getattr(state, "source_is_held", False) else ():
            if found.connection_id and (found.kind == Pause.Kind.REST or found.step == "poll"):
                pauses.end(found, "a poll passed")
    except _LeaseLost:
        result.busy = True
    except IntegrationError as error:
        result.error = error.as_dict()
        if isinstance(error, ConfigurationError) and not keys.problem():
            pauses.pause(integration, integration.source, error, "poll")
        elif isinstance(error, Unavailable):
            for found in Pause.objects.filter(connection=integration.source, kind="rest", state="active"):
                pauses.probe_failed(found)
        FlowState.objects.filter(pk=state.pk, lease_owner=owner).update(last_poll_at=clock.at(), last_error=result.error)
    except Exception as error:
        told = {"code": "internal_error", "message": f"ml-connector itself failed in this poll ({type(error).__name__})."}
        FlowState.objects.filter(pk=state.pk, lease_owner=owner).update(last_poll_at=clock.at(), last_error=told)
        raise
    finally:
        Exchange.objects.bulk_create(_worth_keeping(buffer.take(), result))
        if not ended:
            FlowState.objects.filter(pk=state.pk, lease_owner=owner).update(lease_owner=None, lease_until=None)
    if result.new or result.changed:
        wake.work(2 if result.new > settings.ENGINE["GROUP"] else 1)
    return result


def _worth_keeping(rows: list[Exchange], result: PollResult) -> list[Exchange]:
    """An idle poll every few minutes would fill the table with nothing: keep what found work or went wrong."""
    if result.error or result.new or result.changed or result.unreadable or result.baseline:
        return rows
    return [row for row in rows if row.status is None or row.status >= 400]


def _pauses(integration: Integration) -> QuerySet[Pause]:
    """What holds the source, or the whole integration (one record goes first, not a poll)."""
    concerned = Q(connection_id=integration.source_id, scope="connection") | Q(integration=integration)
    # A rest whose time for a probe has come: a poll proves as much as a record, and there may be no record.
    over = Q(kind="rest", probe_at__lte=clock.at())
    return Pause.objects.filter(concerned, state="active").exclude(over)


def _take_lease(integration: Integration, flow: str, owner: uuid.UUID, wait_s: float) -> FlowState | None:
    """The flow's state with the database's time as `db_now`; None where it is paused or somebody else's for too long."""
    deadline = time.monotonic() + wait_s
    states = FlowState.objects.filter(integration=integration, flow=flow)
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=clock.at())
    made = False
    while True:
        hit = states.filter(free, ~Exists(_pauses(integration))).update(
            lease_owner=owner, lease_process=workers.process_name(), lease_until=clock.at(POLL_LEASE_S)
        )
        if hit:
            held = Pause.objects.filter(connection_id=integration.source_id).exclude(state="ended")
            return states.annotate(db_now=clock.at(), source_is_held=Exists(held)).get()
        if not made:
            made = True
            first = {"tenant_id": integration.tenant_id}
            if FlowState.objects.get_or_create(integration=integration, flow=flow, defaults=first)[1]:
                continue
        if _pauses(integration).exists() or time.monotonic() >= deadline:
            return None
        time.sleep(0.25)


def _renew(run: _Poll) -> None:
    """Long lists take long: keep the lease, or stop at once when it is gone."""
    if time.monotonic() - run.renewed < 20:
        return
    run.renewed = time.monotonic()
    if not FlowState.objects.filter(pk=run.state.pk, lease_owner=run.owner).update(lease_until=clock.at(POLL_LEASE_S)):
        raise _LeaseLost


def _poll(run: _Poll, sweep: bool) -> None:
    now = run.state.db_now  # type: ignore[attr-defined]
    sites = sites_of(run.integration, run.companies)
    swept = run.state.last_sweep_at
    # A person's word for once. It is forgotten when a poll has passed, not before.
    asked = run.state.cursor.get(LOOK)
    further = 0 if asked is None else asked["days"]
    sweep = sweep or further is None or swept is None or (now - swept).total_seconds() > settings.ENGINE["SWEEP_EVERY_S"]
    for kind in run.spec.kinds(run.integration.options):
        rule = hashlib.sha256(f"{kind}\x00{run.erp.ready_rule(kind)}".encode()).hexdigest()
        known = set(
            Baseline.objects.filter(
                integration=run.integration, flow=run.spec.flow, document_kind=kind, rule_hash=rule
            ).values_list("site", flat=True)
        )
        fresh = [s for s in sites if s.code not in known]
        if fresh:
            _baseline(run, kind, fresh, rule, now)
        old = tuple(s for s in sites if s.code in known)
        if not old:
            continue
        days = run.spec.window_days(
            vendors.merge(registry.get(run.integration.source.vendor).settings_defaults, run.integration.source.settings), kind
        )
        since = None if sweep else (now - dt.timedelta(days=max(days, further or 0))).date()
        for page in run.erp.list_documents(ListQuery(kind, old, since)):
            _renew(run)
            _take_page(run, page)
        run.result.unreadable += len(getattr(run.erp, "unreadable", ()))
    if sweep and swept is not None:
        _recheck_labelled(run)
    if sweep:
        FlowState.objects.filter(pk=run.state.pk, lease_owner=run.owner).update(last_sweep_at=clock.at())


def sites_of(integration: Integration, companies: Sequence[Company]) -> list[RoleSite]:
    """The sites an integration covers, of its source's company codes. Raises ConfigurationError when there are none."""
    wanted = set(integration.company_codes)
    found = [
        RoleSite(company.code, site.code)
        for company in companies
        if not wanted or company.code in wanted
        for site in company.sites
    ]
    if not found:
        raise ConfigurationError(
            "No site is entered for the company codes of this integration.",
            code="no_sites",
            scope="integration",
            remedy=f"Open the connection “{integration.source.name}”, enter the company code's sites, then press Ping.",
        )
    return found


# -- baseline ----------------------------------------------------------------------------------------


def _baseline(run: _Poll, kind: str, sites: list[RoleSite], rule: str, now: dt.datetime) -> None:
    """List everything that is ready, all pages, before any transfer is made of it.

    What is found is "before start" and never becomes work by itself, unless `start_from` takes it in. An
    interrupted baseline starts again; transfers are made only in the transaction that completes it.
    """
    start = run.integration.start_from
    taken: list[int] = []
    run.result.baseline = True
    before, found = run.result.seen, -1
    # Paged by `$skip`, a list that shrinks meanwhile skips rows, and those would ship by surprise: until nothing new comes.
    while found != (found := _count(run)):
        run.result.seen = before
        listed: Counter[str] = Counter()
        for page in run.erp.list_documents(ListQuery(kind, tuple(sites), None)):
            _renew(run)
            listed.update(head.site for head in page)
            taken += _baseline_page(run, page, start, now)
    run.result.unreadable += len(getattr(run.erp, "unreadable", ()))
    with transaction.atomic():
        if not FlowState.objects.filter(pk=run.state.pk, lease_owner=run.owner).update(lease_until=clock.at(POLL_LEASE_S)):
            raise _LeaseLost
        Baseline.objects.bulk_create(
            Baseline(
                tenant_id=run.tenant_id,
                integration=run.integration,
                flow=run.spec.flow,
                document_kind=kind,
                site=site.code,
                rule_hash=rule,
                completed_at=now,
                seen=listed[site.code],
            )
            for site in sites
        )
        taken = list(dict.fromkeys(taken))
        for i in range(0, len(taken), 500):
            records = list(SourceRecord.objects.filter(pk__in=taken[i : i + 500], revision=0))
            _open_transfers(run, records)
            run.result.new += len(records)
        audit.append(
            run.integration.tenant,
            audit.Draft(
                "baseline",
                {"kind": kind, "sites": [s.code for s in sites], "seen": run.result.seen, "taken": len(taken)},
                obj=run.integration,
            ),
        )


def _count(run: _Poll) -> int:
    return SourceRecord.objects.filter(integration=run.integration, flow=run.spec.flow).count()


def _baseline_page(run: _Poll, page: list[DocumentHead], start: dt.datetime | None, now: dt.datetime) -> list[int]:
    run.result.seen += len(page)
    known = _known(run, page)
    taken = []
    made = []
    for head in _unique(page):
        old = known.get(head.key)
        inside = start is not None and head.date is not None and head.date >= start
        if old is not None:
            # Met before (an earlier, interrupted baseline, or another rule): what it is stays what it is.
            if inside and not old.before_start and old.revision == 0:
                taken.append(old.pk)
            elif inside and old.before_start and old.revision == 0 and _baseline_open(run, old):
                SourceRecord.objects.filter(pk=old.pk).update(before_start=False)
                taken.append(old.pk)
            continue
        made.append(_new_record(run, head, now, before_start=not inside))
        if not inside:
            run.result.before_start += 1
    SourceRecord.objects.bulk_create(made)
    return taken + [r.pk for r in made if not r.before_start]


def _baseline_open(run: _Poll, record: SourceRecord) -> bool:
    """Whether no baseline of this record's site was ever completed: then `start_from` still decides."""
    return not Baseline.objects.filter(
        integration=run.integration, flow=run.spec.flow, document_kind=record.document_kind, site=record.site
    ).exists()


# -- pages -------------------------------------------------------------------------------------------


def _unique(page: Iterable[DocumentHead]) -> list[DocumentHead]:
    """The last row of each key (a list that moves while it is paged may show one twice)."""
    return list({head.key: head for head in page}.values())


def _known(run: _Poll, page: Sequence[DocumentHead]) -> dict[str, SourceRecord]:
    found = SourceRecord.objects.filter(integration=run.integration, flow=run.spec.flow, source_key__in=[h.key for h in page])
    return {r.source_key: r for r in found}


def _new_record(run: _Poll, head: DocumentHead, now: dt.datetime, *, before_start: bool) -> SourceRecord:
    return SourceRecord(
        tenant_id=run.tenant_id,
        integration=run.integration,
        flow=run.spec.flow,
        source_key=head.key,
        document_kind=head.kind,
        company_code=head.company_code,
        site=head.site,
        version_seen=head.version,
        before_start=before_start,
        document_date=head.date,
        first_seen_at=now,
        last_seen_at=now,
    )


def _open_transfers(run: _Poll, records: Sequence[SourceRecord]) -> None:
    """A transfer with the next revision for each record."""
    SourceRecord.objects.filter(pk__in=[r.pk for r in records]).update(revision=F("revision") + 1)
    Transfer.objects.bulk_create(new_transfer(record, record.revision + 1) for record in records)
    for record in records:
        record.revision += 1


def new_transfer(record: SourceRecord, revision: int, *, flow: str = "", decision: dict[str, Any] | None = None) -> Transfer:
    """An unsaved transfer of a record, due now."""
    return Transfer(
        tenant_id=record.tenant_id,
        integration_id=record.integration_id,
        record=record,
        flow=flow or record.flow,
        source_key=record.source_key,
        company_code=record.company_code,
        site=record.site,
        revision=revision,
        state=Transfer.State.WAITING,
        due_at=clock.at(),
        created_at=clock.at(),
        updated_at=clock.at(),
        decision=decision,
    )


def _take_page(run: _Poll, page: list[DocumentHead]) -> None:
    """Upsert one page: new ones become work, changed ones are looked at, the rest costs nothing."""
    heads = _unique(page)
    run.result.seen += len(heads)
    known = _known(run, heads)
    fresh = [h for h in heads if h.key not in known]
    moved = [(known[h.key], h) for h in heads if h.key in known and known[h.key].version_seen != h.version]
    # Begun by a baseline that never ended: without a transfer and not before start.
    lost = [known[h.key] for h in heads if h.key in known and known[h.key].revision == 0 and not known[h.key].before_start]
    run.result.before_start += sum(1 for h in heads if h.key in known and known[h.key].before_start)
    if fresh or lost:
        now = clock.now()
        with transaction.atomic():
            made = SourceRecord.objects.bulk_create([_new_record(run, h, now, before_start=False) for h in fresh])
            _open_transfers(run, [*made, *lost])
        run.result.new += len(made) + len(lost)
    moved = [(r, h) for r, h in moved if r.revision > 0 or r.before_start]
    if moved:
        _take_moved(run, moved)


def _take_moved(run: _Poll, moved: Sequence[tuple[SourceRecord, DocumentHead]]) -> None:
    """Documents whose version moved since we last looked."""
    now = clock.now()
    bought: list[SourceRecord] = []
    latest = _latest_transfers([r.pk for r, _ in moved])
    for record, head in moved:
        changes: dict[str, Any] = {"version_seen": head.version, "last_seen_at": now}
        last = latest.get(record.pk)
        if record.bought_digest and last is not None and not record.before_start and not record.held:
            bought.append(record)
            continue
        with transaction.atomic():
            # The record first: who cancels at this moment locks it before the transfer, too.
            SourceRecord.objects.filter(pk=record.pk).update(**changes)
            if record.before_start or last is None or record.held:
                pass
            elif last.state == "failed":
                # Somebody mended the document: try again without waiting for a click. Nothing was bought.
                if not last.sends.filter(outcome__in=("sent", "unknown", "pending", "done")).exists():
                    hit = Transfer.objects.filter(pk=last.pk, state="failed").update(
                        state="waiting", due_at=clock.at(), attempts=0, updated_at=clock.at()
                    )
                    run.result.changed += hit
            elif last.state in ("skipped", "cancelled") and last.code not in ("cancelled_by_person", "superseded"):
                _open_transfers(run, [record])
                run.result.changed += 1
    for i in range(0, len(bought), settings.ENGINE["GROUP"]):
        _compare(run, bought[i : i + settings.ENGINE["GROUP"]])


def _latest_transfers(records: Sequence[int]) -> dict[int, Transfer]:
    found: dict[int, Transfer] = {}
    for transfer in Transfer.objects.filter(record__in=records).order_by("revision"):
        found[transfer.record_id] = transfer
    return found


# -- after the label ---------------------------------------------------------------------------------


def _compare(run: _Poll, records: Sequence[SourceRecord]) -> None:
    """Re-read bought documents whose version moved (often by our own write) and see whether anything that matters did."""
    _renew(run)
    documents = run.erp.read_documents([r.source_key for r in records])
    for record in records:
        document = documents.get(record.source_key)
        if document is None or isinstance(document, Problem):
            continue
        attention = run.spec.changed(run.integration, record, document)
        with transaction.atomic():
            if attention:
                run.result.changed += 1
                raise_attention(record, attention, document)
            SourceRecord.objects.filter(pk=record.pk).update(
                version_seen=document.version, version_handled=document.version, last_seen_at=clock.at()
            )


def raise_attention(record: SourceRecord, attention: str, document: Document) -> None:
    """Mark the record's newest transfer as needing a look (inside a transaction).

    Once per kind of attention and state of the document: what somebody has looked at does not come back every
    day, a further edit does.
    """
    last = Transfer.objects.filter(record=record).order_by("-revision").first()
    if last is None or last.attention == attention:
        return
    told = {"code": attention, "seen": _seen(document)}
    chain = f"record:{record.pk}"
    if AuditEntry.objects.filter(chain=chain, act="attention", facts__code=attention, facts__seen=told["seen"]).exists():
        return
    weaker = Q(attention__isnull=True) | Q(attention="changed_after_label")
    if attention == "cancelled_after_label":
        weaker |= Q(attention__in=("label_missing", "label_unreadable"))
    if not Transfer.objects.filter(weaker, pk=last.pk).update(attention=attention, updated_at=clock.at()):
        return
    audit.append_to_record(record, [audit.Draft("attention", told, obj=last)])


def _seen(document: Document) -> str:
    """Digest of what a purchase could depend on: not dates, notes, versions or what we write ourselves."""
    plain = replace(document, raw={}, version="", planned_ship_date=None, actual_ship_date=None)
    plain = replace(plain, tracking_number="", shared_tracking_number="")
    told = codec.encode(plain)
    del told["part_delivered"]  # how much has left is told by `state`
    return audit.digest(told)[:24]


def _recheck_labelled(run: _Poll) -> None:
    """Once a day: labelled, undelivered documents of the last 30 days, which have left the ready states, by key."""
    since = clock.now() - dt.timedelta(days=RECHECK_DAYS)
    shipments = Shipment.objects.filter(
        integration=run.integration, state=Shipment.State.ACTIVE, created_at__gte=since, written_at__isnull=False
    ).exclude(status="delivered")
    records = list(SourceRecord.objects.filter(pk__in=shipments.values("record")).order_by("pk"))
    for i in range(0, len(records), settings.ENGINE["GROUP"]):
        _compare(run, records[i : i + settings.ENGINE["GROUP"]])


def _store_state(run: _Poll) -> None:
    """How it went; the lease ends with the same statement."""
    FlowState.objects.filter(pk=run.state.pk, lease_owner=run.owner).update(
        last_poll_at=clock.at(),
        last_good_poll_at=clock.at(),
        last_result=run.result.as_dict(),
        last_error=None,
        lease_owner=None,
        lease_until=None,
    )
    Connection.objects.filter(pk=run.integration.source_id).update(last_good_at=clock.at())
    if (asked := run.state.cursor.get(LOOK)) is not None:
        looked(run.state.pk, asked)


def looked(state_id: int, asked: Mapping[str, Any]) -> None:
    """What was asked for is done; what somebody asked for meanwhile stays."""
    with transaction.atomic():
        state = FlowState.objects.select_for_update().get(pk=state_id)
        if state.cursor.get(LOOK) == asked:
            state.cursor = {name: value for name, value in state.cursor.items() if name != LOOK}
            state.save(update_fields=["cursor"])

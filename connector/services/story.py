"""The story of one document: how far it is and on what evidence, everything that happened in one line of time."""

from __future__ import annotations

import datetime as dt
import difflib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from connector.models import AuditEntry, Connection, EffectSend, Exchange, Reference, SourceRecord, Step, TrackingEvent, Transfer
from connector.services import stages, written
from connector.services.shipments import normalise
from connector.words import keys_meant, words
from integrations.flows.table import DOCUMENT_KINDS, STAGES, Stage, stages_of

SHOWN = 300
HITS = 50
REDACTED = "[redacted]"


@dataclass(frozen=True, slots=True)
class Mark:
    """One stage on the progress line: its state, what that rests on, when it ended."""

    stage: Stage
    state: str
    evidence: str = ""
    at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `kind`: staff, system, call, parcel. `link` is (name of a page, id)."""

    at: dt.datetime
    kind: str
    actor: str
    act: str
    text: str
    link: tuple[str, int] | None = None
    rests_on_calls: bool = False
    transfer: int | None = None
    """Of a call: the transfer whose page shows it; None for a call that read ahead for several documents."""


def progress(
    transfer: Transfer, steps: Sequence[Step], sends: Sequence[EffectSend], reads: Sequence[Step] | None = None
) -> list[Mark]:
    """The stages of the transfer's flow, in order, with their evidence: version, our reference, tracking number.

    `reads`: steps of the record, of any transfer, that tell what was read of it; they are asked for where they are not given.
    An optional stage is shown where it ran, or will run before anything is bought.
    """
    by_name = {step.name: step for step in steps}
    settled = any(send.outcome == EffectSend.Outcome.DONE for send in sends)
    bought = {send.effect.kind: send for send in sends}
    marks = []
    for stage in stages_of(transfer.flow, transfer.integration.options):
        step, send = by_name.get(stage.name), bought.get(stage.effect)
        if stage.optional and step is None and (settled or not _comes(stage, transfer, reads)):
            continue
        if stage.effect and send is not None and send.outcome == EffectSend.Outcome.DONE:
            told = send.result or {}
            number = told.get("master_tracking_number") or told.get("named")
            number = number or f"charge {told.get('number', '')} of {told.get('order', '')}"
            marks.append(Mark(stage, "done", f"{number}, our request {send.reference}", send.outcome_at))
        elif step is None:
            after = stage.effect or any(m.stage.effect and m.state == "done" for m in marks)
            comes = transfer.state != Transfer.State.DONE and (after or not any(s.outcome == "done" for s in sends))
            marks.append(Mark(stage, "not yet" if comes else "not needed"))
        else:
            marks.append(Mark(stage, step.state, _evidence(step, send), step.ended_at or step.started_at))
    return marks


def _comes(stage: Stage, transfer: Transfer, reads: Sequence[Step] | None) -> bool:
    known = stages.documents([transfer.record_id]) if reads is None else stages.told_by(reads)
    needs = stages.Needs(transfer.integration, known)
    return bool(needs(stage, transfer.flow, transfer.record))


def _evidence(step: Step, send: EffectSend | None) -> str:
    asked = f"our request {send.reference}: {send.get_outcome_display()}" if send is not None else ""
    if step.error:
        return "; ".join(text for text in (asked, str(step.error.get("message", ""))) if text)
    if asked:
        return asked
    result = step.result or {}
    wrote = ", ".join(result.get("written", ()))
    left = written.not_written(result.get("skipped") or ())
    version = f"version {_short(str(result['version']))}" if result.get("version") else ""
    verdict = str(result.get("verdict", "")).replace("_", " ")
    offers = f"{len(result['offers'])} offers" if "offers" in result else ""
    parts = (f"wrote {wrote}" if wrote else "", f"not written: {left}" if left else "", version, verdict)
    return ", ".join(text for text in (*parts, offers, _offer(result.get("offer"))) if text) or step.note


def _short(version: str) -> str:
    """A version as far as people can compare it; the whole stands among the steps."""
    return version if len(version) <= 16 else f"{version[:6]}…{version[-9:]}"


def _offer(offer: Any) -> str:
    """The offer that was chosen, with its price."""
    if not isinstance(offer, dict):
        return ""
    cost = offer.get("cost") or {}
    return f"{offer.get('service', '')}, {cost['amount']} {cost['currency']}" if cost else str(offer.get("service", ""))


def work_on(record: SourceRecord) -> tuple[list[int], list[int]]:
    """Records and transfers of a document: of the one that ships it, and of the work beside it (its news, its cost)."""
    same = SourceRecord.objects.filter(integration=record.integration_id, source_key=record.source_key)
    flows = {record.flow, *STAGES}
    pairs = list(same.filter(flow__in=flows).order_by("pk", "transfers").values_list("pk", "transfers"))
    return list(dict.fromkeys(pk for pk, _ in pairs)), sorted(transfer for _, transfer in pairs if transfer is not None)


def events(records: Sequence[int], tenant: int, exchanges: Sequence[Exchange]) -> list[Event]:
    """Acts, calls and scans of a document, oldest first; at most some hundreds of each. `records`: all of the document's."""
    chains = [f"record:{pk}" for pk in records]
    found = [
        Event(e.at, _kind(e.actor), e.actor, e.act, _said(e), ("entry", e.pk), bool(e.facts.get("exchanges")))
        for e in AuditEntry.objects.filter(chain__in=chains, tenant=tenant).order_by("chain", "sequence")[:SHOWN]
    ]
    for x in exchanges:
        answer = str(x.status) if x.status else x.error
        text = f"{x.method}: {answer} in {x.duration_ms} ms"
        found.append(Event(x.started_at, "call", "", x.operation, text, ("exchange", x.pk), transfer=x.transfer_id))
    scans = (
        TrackingEvent.objects.filter(package__shipment__record__in=records)
        .select_related("package")
        .order_by("occurred_at")[:SHOWN]
    )
    found += [
        Event(s.occurred_at, "parcel", s.package.tracking_number, s.status, " ".join(p for p in (s.text, s.place) if p))
        for s in scans[:SHOWN]
    ]
    return sorted(found, key=lambda event: event.at)


def _kind(actor: str) -> str:
    return "staff" if actor.startswith(("user:", "command")) else "system"


def _said(entry: AuditEntry) -> str:
    facts = entry.facts
    told = []
    if entry.act == "tracking" and facts.get("status"):
        told.append(words(str(facts["status"])))
    if facts.get("tracking_numbers"):
        told.append(", ".join(map(str, facts["tracking_numbers"])))
    told += [str(facts[name]) for name in ("cost", "cost_from", "reason", "message", "reference", "assignee") if facts.get(name)]
    result = facts["result"] if isinstance(facts.get("result"), dict) else {}
    if result.get("written"):
        told.append(", ".join(map(str, result["written"])))
    if skipped := result.get("skipped") or facts.get("not_written"):
        told.append(f"not written: {written.not_written(skipped)}")
    return "; ".join(told)


def next_action(transfer: Transfer, paused: Sequence[str]) -> str:
    """What happens next, or what a person should do, in one sentence."""
    match transfer.state:
        case "failed":
            return transfer.remedy or "Mend the cause, then press Replay."
        case "in_doubt":
            return "Look at the carrier under our reference and decide; it is looked up again by itself meanwhile."
        case "needs_approval":
            return "Somebody who may spend the money presses Approve, or Cancel."
        case "waiting" if paused:
            return f"It waits: {paused[0]}"
        case "waiting":
            return "Nothing to do: it runs by itself when it is due."
        case "running":
            return "Nothing to do: it is being worked on this moment."
        case "cancelled" | "skipped":
            return "Nothing, unless it should ship after all: then press Replay."
    if transfer.attention:
        return "Look at it as said above, then press “I have looked at it”."
    return "Nothing: it is done."


def find(tenants: Sequence[int], term: str) -> list[Transfer]:
    """The newest transfer of each document of these tenants that bears this number, or begins with it.

    At most HITS and one more.
    """
    found = Transfer.objects.filter(record__in=records_with(tenants, term), tenant__in=tenants)
    newest: dict[int, Transfer] = {}
    for transfer in found.select_related("integration").order_by("-pk")[: HITS * 4]:
        newest.setdefault(transfer.record_id, transfer)
    return list(newest.values())[: HITS + 1]


def records_with(tenants: Sequence[int], term: str) -> set[int]:
    """Documents that bear a number: their own, an order's, a parcel's, a reference of ours, a transfer's.

    Each way is asked for by itself, by equality or prefix on its index: together in one OR they would read every row.
    """
    mine = Transfer.objects.filter(tenant__in=tenants)
    ways: list[QuerySet[Any, Any]] = [
        mine.filter(source_key__startswith=text).values_list("record")
        for text in dict.fromkeys((term, *keys_meant(term, DOCUMENT_KINDS)))
    ]
    number = normalise(term)
    if len(number) >= 3:
        references = Reference.objects.filter(tenant__in=tenants, normalised__startswith=number)
        ways.append(references.values_list("shipment__record"))
    if term.upper().startswith("ML"):
        connections = list(Connection.objects.filter(tenant__in=tenants).values_list("pk", flat=True))
        sends = EffectSend.objects.filter(connection__in=connections, reference=term.upper())
        ways.append(sends.values_list("transfer__record"))
    if term.isascii() and term.isdigit() and len(term) < 10:
        ways.append(mine.filter(pk=int(term)).values_list("record"))
    return {record for way in ways for (record,) in way[: HITS * 4]}


# -- calls -------------------------------------------------------------------------------------------


def curl(exchange: Exchange) -> str:
    """The request as a command for a shell. What was secret is a variable that whoever runs it must set."""
    parts = ["curl", "-X", shlex.quote(exchange.method), shlex.quote(exchange.url)]
    for name, value in exchange.request_headers.items():
        if name.lower() in ("content-length", "accept-encoding", "user-agent"):
            continue
        if REDACTED in str(value):
            given = "Bearer $TOKEN" if name.lower() == "authorization" else "$SECRET"
            parts += ["-H", f'"{name}: {given}"']
        else:
            parts += ["-H", shlex.quote(f"{name}: {value}")]
    if exchange.request_body:
        parts += ["--data-binary", shlex.quote(exchange.request_body)]
    return " ".join(parts)


def before(exchange: Exchange) -> Exchange | None:
    """The same call of the same document the time before, to compare with."""
    if exchange.transfer_id is None:
        return None
    same = Exchange.objects.filter(
        transfer__record=exchange.transfer.record_id,  # type: ignore[union-attr]
        connection=exchange.connection_id,
        operation=exchange.operation,
        method=exchange.method,
        started_at__lt=exchange.started_at,
    )
    return same.order_by("-started_at", "-pk").first()


def difference(old: Exchange, new: Exchange) -> list[tuple[str, str]]:
    """What differs, as lines marked "+", "-" or " "; empty when request and answer are the same."""
    lines = list(difflib.unified_diff(_text(old), _text(new), lineterm="", n=2))[2:]
    return [(line[:1], line[1:]) for line in lines if not line.startswith("@@")]


def _text(exchange: Exchange) -> list[str]:
    answer = str(exchange.status or exchange.error)
    return [
        f"{exchange.method} {exchange.url}",
        *_pretty(exchange.request_body),
        f"answer {answer}",
        *_pretty(exchange.response_body),
    ]


def _pretty(body: str) -> list[str]:
    try:
        found: Any = json.loads(body)
    except ValueError:
        return body.splitlines()
    return json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True).splitlines()

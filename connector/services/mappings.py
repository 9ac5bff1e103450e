"""What people do with an integration's mappings: look at them on a document, see what a change would do, change, go back.

Nothing here calls a vendor. Documents are those that were read last for a transfer; the request of a dry run is
made by the flow's and the adapter's own functions and not sent.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db.models import F, Q

from connector.models import AuditDetail, AuditEntry, EffectSend, Installation, Integration, SourceRecord, Step, Transfer
from connector.services import audit, transfers, vendors
from connector.services.configuration import saving
from connector.services.configuration.findings import nearest
from connector.services.configuration.reading import json_copy
from connector.services.configuration.saving import mappings_mark
from connector.services.engine import codec
from connector.services.engine.effects import reference_of
from connector.services.shipments import NotPossible
from integrations import registry
from integrations.base.errors import IntegrationError
from integrations.base.preview import PlannedWrite, Preview, Previewer
from integrations.base.records import Document
from integrations.base.vendor import Role
from integrations.flows.table import INCOTERMS, KINDS, Kind, is_on

SAMPLE = "sample"
LATEST = 60
"""So many transfers are looked through for documents to choose from."""
OPEN_CAP = 200
"""So many unfinished transfers are worked out before a change is saved."""
WAITING_CAP = 500
HISTORY_CAP = 50
UNMAPPED = Q(code__startswith="unmapped_") | Q(code="terms_missing")
"""How transfers fail that a value map could have carried."""


@dataclass(frozen=True, slots=True)
class State:
    """One version of an integration's mappings and value maps."""

    mappings: list[dict[str, Any]]
    value_maps: dict[str, dict[str, str]]

    @classmethod
    def of(cls, integration: Integration) -> State:
        """The version in force."""
        return cls(json_copy(integration.mappings), json_copy(integration.value_maps))

    @property
    def mark(self) -> str:
        """Tells this version from others."""
        return mappings_mark(self.mappings, self.value_maps)

    def slot(self, name: str) -> dict[str, Any]:
        """What is set for a slot; empty where the flow's own source holds."""
        return next((row for row in self.mappings if row.get("slot") == name), {})

    def on(self, integration: Integration) -> Integration:
        """A copy of the integration, not to be saved, with this version."""
        made = copy.copy(integration)
        made.mappings, made.value_maps = self.mappings, self.value_maps
        return made


def flow_of(kind: Kind) -> str:
    """The flow whose mapping the slots belong to. Raises NotPossible where there is none."""
    for flow in kind.flows:
        if flow.preview:
            return flow.name
    raise NotPossible("This kind of integration has no mappings in this release.")


def previewer(integration: Integration, state: State) -> Previewer:
    """What shows documents under a version of the mappings."""
    kind = KINDS[integration.kind]
    made: Previewer = registry.load(kind.flow(flow_of(kind)).preview)(state.on(integration))
    return made


# -- documents ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """A document as it was read last, with its record; `step` None for the sample."""

    record: SourceRecord
    document: Document
    step: Step | None = None

    @property
    def name(self) -> str:
        """How people choose it."""
        return SAMPLE if self.step is None else self.record.source_key


def _read(steps: Iterable[Step]) -> dict[int, Seen]:
    """The newest readable document of each record."""
    found: dict[int, Seen] = {}
    for step in sorted(steps, key=lambda s: s.pk):
        try:
            found[step.record_id] = Seen(step.record, codec.decode(step.result, Document, step.schema), step)
        except codec.Undecodable:
            continue
    return found


def _reads(**where: Any) -> list[Step]:
    return list(Step.objects.filter(name="read", kind=Step.Kind.READ, result__isnull=False, **where).select_related("record"))


def documents_of(rows: Sequence[Transfer]) -> dict[int, Seen]:
    """The documents that these transfers read last, by record id; what was never read is missing."""
    return _read(_reads(transfer__in=[t.pk for t in rows])) if rows else {}


def latest(integration: Integration) -> list[Seen]:
    """Documents of the newest transfers, newest first, one for each record."""
    flow = flow_of(KINDS[integration.kind])
    rows = Transfer.objects.filter(tenant=integration.tenant_id, integration=integration, flow=flow).order_by("-pk")[:LATEST]
    found = documents_of(list(rows))
    return sorted(found.values(), key=lambda s: -(s.step.pk if s.step else 0))


def document(integration: Integration, state: State, name: str, recent: Sequence[Seen] = ()) -> Seen:
    """The document of that name ("shipment:19" or "19"); the newest without a name, a sample where there is none yet.

    Raises NotPossible for one that this integration does not know or has not read.
    """
    name = name.strip()
    if name and name != SAMPLE:
        flow = flow_of(KINDS[integration.kind])
        kinds = integration.options.get("documents") or ["shipment"]
        # An order's number alone means its first delivery.
        names = [name] if ":" in name else [f"{kind}:{name}{more}" for kind in kinds for more in ("", "/1")]
        record = SourceRecord.objects.filter(integration=integration, flow=flow, source_key__in=names).first()
        if record is None:
            raise NotPossible(f"This integration knows no document {name}.")
        found = _read(_reads(record=record, transfer__flow=flow)).get(record.pk)
        if found is None:
            raise NotPossible(
                f"{record.source_key} has not been read yet, or what was read is no longer kept. Replay it, or choose another."
            )
        return found
    if not name and recent:
        return recent[0]
    made = previewer(integration, state).sample()
    record = SourceRecord(
        tenant_id=integration.tenant_id,
        integration=integration,
        source_key=made.key,
        company_code=made.company_code,
        site=made.site,
    )
    return Seen(record, made)


LABELS_NUMBER = "the label's number"
"""Stands for the tracking number in what is shown before there is one."""


# -- dry run -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DryRun:
    """The request that would buy the label, or why there would be none. The paying account shows its last four characters.

    `address_call` and `address_body`: the question about the address that goes before it, where one does.
    `writes`: what would then be written into the ERP, by its adapter's own decision; `write_problem`: why nothing would be.
    `quote_call` and `quote_body`: the question for prices that would come first, where the integration asks for them.
    """

    call: str = ""
    reference: str = ""
    body: Any = None
    notes: tuple[str, ...] = ()
    problem: str = ""
    remedy: str = ""
    address_call: str = ""
    address_body: Any = None
    writes: tuple[PlannedWrite, ...] = ()
    write_problem: str = ""
    quote_call: str = ""
    quote_body: Any = None


def dry_run(integration: Integration, seen: Seen, preview: Preview) -> DryRun:
    """Make the exact request of a document, and send nothing."""
    if preview.request is None:
        return DryRun(problem=preview.message, remedy=preview.remedy)
    reference = _reference(integration, seen)
    asked: dict[str, Any] = _written_back(integration, seen, preview)
    try:
        carrier = vendors.open_adapter(integration.target)
        if is_on(integration.options.get("address_check")):
            question = carrier.describe_address_check(preview.request.recipient)
            asked |= {"address_call": carrier.address_call, "address_body": question}
        if integration.options.get("rates"):
            prices = _masked(carrier.describe_quote(preview.request), carrier.account)
            asked |= {"quote_call": carrier.quote_call, "quote_body": prices}
            if not preview.request.service:
                told = "The label's request is made when it ships: its service is chosen among the offers."
                return DryRun(problem=told, remedy="What is asked first stands below.", **asked)
        body = carrier.describe_request(preview.request, reference)
        notes = tuple(carrier.request_notes(preview.request, reference))
        return DryRun(carrier.create_call, reference, _masked(body, carrier.account), notes, **asked)
    except IntegrationError as error:
        return DryRun(problem=error.message, remedy=error.remedy, **asked)


def _written_back(integration: Integration, seen: Seen, preview: Preview) -> dict[str, Any]:
    """What would be written into the ERP after the label is bought; of an invented document nothing is known there."""
    if seen.step is None:
        return {"write_problem": "Shown for a document that was read: the sample has no record in the ERP."}
    try:
        write = previewer(integration, State.of(integration)).write_back(seen.record, preview, LABELS_NUMBER)
        erp = vendors.open_adapter(integration.source)
        planned = erp.describe_tracking(seen.document, write)
    except IntegrationError as error:
        return {"write_problem": f"{error.message} {error.remedy}".strip()}
    shown = "as read" if seen.document.version else "none was read"
    return {"writes": tuple(replace(one, headers=one.headers | {"If-Match": shown}) for one in planned)}


def _reference(integration: Integration, seen: Seen) -> str:
    """Our reference as the next request would carry it (ENGINE 2)."""
    installation = Installation.objects.filter(pk=1).first()
    if seen.step is None or installation is None:
        return "ML" + "X" * 12
    record = seen.record
    last = (
        EffectSend.objects.filter(effect__record=record, effect__kind="label", effect__generation=record.generation)
        .order_by("-number")
        .first()
    )
    number = 1 if last is None else last.number + (1 if last.outcome == EffectSend.Outcome.ABSENT else 0)
    return reference_of(installation.uid, integration.slug, record.source_key, "label", record.generation, number)


def _masked(value: Any, account: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _masked(below, account) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(below, account) for below in value]
    return f"…{account[-4:]}" if value == account else value


# -- codes and what is not mapped --------------------------------------------------------------------


def codes_for(integration: Integration, name: str) -> list[str]:
    """What a value map may lead to, as far as the vendors name their codes; our own carrier first."""
    if name == "service":
        return sorted(registry.get(integration.target.vendor).services)
    if name == "carrier":
        others = [s for s in registry.slugs() if Role.CARRIER in registry.get(s).roles and s != integration.target.vendor]
        return [integration.target.vendor, *others, "other"]
    return list(INCOTERMS) if name == "terms_of_sale" else []


@dataclass(slots=True)
class Unmapped:
    """A value that no map knew, with the transfers that it stopped. `waits` False: they were skipped, nothing waits.

    `mapped`: what it has been mapped to since, so that only the replay is missing.
    """

    map: str
    value: str
    code: str
    waits: bool = True
    mapped: str = ""
    transfers: list[Transfer] = field(default_factory=list)


def unmapped(integration: Integration, state: State) -> list[Unmapped]:
    """Values that stopped transfers, the most frequent first; then forwarders whose documents were left to others."""
    kind = KINDS[integration.kind]
    maps = {slot.name: slot.value_map for slot in kind.slots if slot.value_map}
    rows = Transfer.objects.filter(tenant=integration.tenant_id, integration=integration).order_by("-pk")
    found: dict[tuple[str, str], Unmapped] = {}
    for transfer in rows.filter(UNMAPPED, state=Transfer.State.FAILED)[:WAITING_CAP]:
        told = transfer.error or {}
        name = maps.get(told.get("field") or transfer.code.removeprefix("unmapped_"), "")
        entry = found.setdefault(
            (name, told.get("vendor_text") or ""), Unmapped(name, told.get("vendor_text") or "", transfer.code)
        )
        entry.transfers.append(transfer)
    for (name, value), entry in found.items():
        known = {key.casefold(): code for key, code in state.value_maps.get(name, {}).items()}
        entry.mapped = known.get(value.casefold(), "")
    skipped = list(rows.filter(state=Transfer.State.SKIPPED, code="other_carrier")[:LATEST])
    documents = documents_of(skipped)
    show = previewer(integration, state)
    for transfer in skipped:
        seen = documents.get(transfer.record_id)
        slot = show.show(seen.record, seen.document).slot("carrier") if seen else None
        value = str(slot.value or "").strip() if slot else ""
        if value and slot and slot.mapped != integration.target.vendor:
            left = found.setdefault(("left", value), Unmapped("carrier", value, transfer.code, waits=False))
            left.transfers.append(transfer)
    return sorted(found.values(), key=lambda u: (not u.waits, -len(u.transfers), u.value))


def map_value(integration: Integration, name: str, value: str, code: str, *, actor: str, replay: bool) -> int:
    """Add one entry to a value map; with `replay`, run again what waits for it. Returns how many run again.

    Only for values that transfers wait for, and only to a code that the vendor names: there is no preview here.
    Raises NotPossible and InvalidConfiguration.
    """
    state = State.of(integration)
    value, code = value.strip(), code.strip()
    entry = next((u for u in unmapped(integration, state) if u.waits and u.map == name and u.value == value), None)
    if not value or entry is None:
        raise NotPossible("No transfer waits for this value any more.")
    if not code:
        raise NotPossible("Choose what it is to be mapped to.")
    if code not in codes_for(integration, name) and code != entry.mapped:
        raise NotPossible("Choose what it is to be mapped to.")
    table = state.value_maps.setdefault(name, {})
    before = next((known for known in table if known.casefold() == value.casefold()), None)
    if before is not None and table[before] != code:
        raise NotPossible(f"“{before}” is mapped to {table[before]} already. Change it in the table below, or replay what waits.")
    if before is None:
        base = State.of(integration).mark
        table[value] = code
        saving.mappings_save(integration, state.mappings, state.value_maps, actor=actor, base=base)
    done = 0
    for transfer in entry.transfers if replay else ():
        try:
            done += transfers.replay(transfer, actor=actor).done
        except NotPossible:
            continue
    return done


# -- what a change does ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """One difference in words: what, as it was, as it will be ("" for nothing)."""

    what: str
    before: str
    after: str


def told(own: Mapping[str, Any], source: str) -> str:
    """A slot's setting in words."""
    if own.get("constant"):
        return f"always “{own['constant']}”"
    text = own.get("source") or f"{source} (as usual)"
    return f"{text}, else “{own['default']}”" if own.get("default") else text


def changes(kind: Kind, old: State, new: State) -> list[Change]:
    """What differs between two versions, slot by slot and entry by entry."""
    made = []
    for slot in kind.slots:
        before, after = old.slot(slot.name), new.slot(slot.name)
        if before != after:
            made.append(Change(slot.label, told(before, slot.source), told(after, slot.source)))
    for name in dict.fromkeys((*kind.value_maps, *old.value_maps, *new.value_maps)):
        before, after = old.value_maps.get(name, {}), new.value_maps.get(name, {})
        for key in dict.fromkeys((*before, *after)):
            if before.get(key) != after.get(key):
                made.append(Change(f"Value map “{name}”: {key}", before.get(key, ""), after.get(key, "")))
        if before == after and (name in old.value_maps) != (name in new.value_maps):
            made.append(Change(f"Value map “{name}”", *(("none", "empty") if name in new.value_maps else ("empty", "none"))))
    return made


def cautions(integration: Integration, old: State, new: State) -> list[str]:
    """What a person should know before saving."""
    made = []
    if "carrier" in new.value_maps and "carrier" not in old.value_maps:
        made.append(
            "From now on only forwarders in the value map “carrier” count. Until now every forwarder that begins with the "
            "carrier's own letters was ours, also without an entry."
        )
    if "carrier" in old.value_maps and "carrier" not in new.value_maps:
        made.append(
            "Without entries in the value map “carrier”, every forwarder that begins with the carrier's own letters is ours."
        )
    for name, table in new.value_maps.items():
        known = codes_for(integration, name)
        for key, code in table.items():
            if known and code not in known and old.value_maps.get(name, {}).get(key) != code:
                near = nearest(code, known)
                made.append(f"“{code}” (for {key}) is none of the codes that we know{near}; it is used as it stands.")
    return made


@dataclass(slots=True)
class Effects:
    """What a change would make of unfinished transfers: lists of (transfer, before, after) by what becomes of them."""

    total: int = 0
    looked: int = 0
    mended: list[tuple[Transfer, str, str]] = field(default_factory=list)
    broken: list[tuple[Transfer, str, str]] = field(default_factory=list)
    changed: list[tuple[Transfer, str, str]] = field(default_factory=list)
    same: int = 0
    settled: int = 0
    unread: int = 0

    @property
    def affected(self) -> int:
        """How many would be carried otherwise than today."""
        return len(self.mended) + len(self.broken) + len(self.changed)

    @property
    def unseen(self) -> int:
        """How many were too many to be worked out."""
        return self.total - self.looked

    @property
    def first(self) -> str:
        """A document that the change concerns; "" for none."""
        return next((rows[0][0].source_key for _, rows in self.groups), "")

    @property
    def groups(self) -> list[tuple[str, list[tuple[Transfer, str, str]]]]:
        """The lists with a heading each, empty ones left out."""
        named = (
            ("Would stop here; today they would ship", self.broken),
            ("Would ship differently", self.changed),
            ("Would no longer stop here", self.mended),
        )
        return [(title, rows) for title, rows in named if rows]


def effects(integration: Integration, old: State, new: State) -> Effects:
    """Map the documents of unfinished transfers under both versions and compare. The newest OPEN_CAP are looked at."""
    flow = flow_of(KINDS[integration.kind])
    rows = Transfer.objects.filter(
        tenant=integration.tenant_id, integration=integration, flow=flow, state__in=Transfer.UNFINISHED
    ).order_by("-pk")
    taken = list(rows[:OPEN_CAP])
    made = Effects(total=len(taken) if len(taken) < OPEN_CAP else rows.count(), looked=len(taken))
    documents = documents_of(taken)
    fixed = EffectSend.objects.filter(
        effect__record__in=[t.record_id for t in taken],
        effect__generation=F("effect__record__generation"),
        outcome__in=(*EffectSend.OPEN, EffectSend.Outcome.DONE),
    )
    # What was sent for is settled by what was sent: its request is never made anew.
    settled = set(fixed.values_list("effect__record_id", flat=True))
    shown = previewer(integration, old), previewer(integration, new)
    for transfer in taken:
        seen = documents.get(transfer.record_id)
        if transfer.record_id in settled:
            made.settled += 1
        elif seen is None:
            made.unread += 1
        else:
            before, after = (s.show(seen.record, seen.document) for s in shown)
            _sort(made, transfer, before, after)
    return made


def _sort(made: Effects, transfer: Transfer, before: Preview, after: Preview) -> None:
    if _outcome(before) == _outcome(after):
        made.same += 1
        return
    row = (transfer, *_difference(before, after))
    if after.request is None and before.request is not None:
        made.broken.append(row)
    elif before.request is None and after.request is not None:
        made.mended.append(row)
    else:
        made.changed.append(row)


def _outcome(preview: Preview) -> str:
    return audit.digest(codec.encode(preview.request) if preview.request is not None else [preview.code, preview.message])


def _difference(before: Preview, after: Preview) -> tuple[str, str]:
    """The parts of two requests that differ, in short; or the sentence that says why there is none."""
    if before.request is None or after.request is None:
        return _short(before), _short(after)
    old, new = dict(_leaves(codec.encode(before.request))), dict(_leaves(codec.encode(after.request)))
    paths = [path for path in dict.fromkeys((*old, *new)) if old.get(path) != new.get(path)]
    return tuple("; ".join(f"{p}: {side[p]}" for p in paths if p in side) or "nothing" for side in (old, new))  # type: ignore[return-value]


def _short(preview: Preview) -> str:
    return preview.message if preview.request is None else f"ships by {preview.request.service}"


def _leaves(value: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _leaves(below, f"{path}.{key}" if path else str(key))
    elif value not in (None, "", [], ()):
        yield (
            path,
            ", ".join(str(v[-1] if isinstance(v, list | tuple) else v) for v in value) if isinstance(value, list) else value,
        )


# -- history -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the mappings: the entry that put it in force, what it changed, and all of it."""

    entry: AuditEntry
    changes: list[Change]
    state: State
    back_to: int | None = None


def history(integration: Integration) -> tuple[list[Version], bool]:
    """Versions, the one in force first; True when earlier ones are no longer kept or too many.

    Entries tell differences, so each version is worked out from the one after it.
    """
    kind = KINDS[integration.kind]
    entries = AuditEntry.objects.filter(
        tenant=integration.tenant_id,
        object_type="integration",
        object_id=integration.pk,
        act__in=("integration_created", "integration_changed", "mappings_restored"),
    ).order_by("-sequence")
    made: list[Version] = []
    state, back_to = State.of(integration), None
    for entry in entries.iterator(chunk_size=100):
        if entry.act == "mappings_restored":
            back_to = entry.facts.get("to_entry")
            continue
        created = entry.act == "integration_created"
        if not created and not any(name.split(".")[0] in ("mappings", "value_maps") for name in entry.facts.get("changed", [])):
            continue
        if len(made) == HISTORY_CAP:
            return made, True
        if created:
            made.append(Version(entry, [], state, back_to))
            break
        detail = AuditDetail.objects.filter(entry=entry).first()
        if detail is None:
            made.append(Version(entry, [], state, back_to))
            return made, True
        earlier = _before(state, detail.detail)
        made.append(Version(entry, changes(kind, earlier, state), state, back_to))
        state, back_to = earlier, None
    return made, False


def _before(state: State, detail: Mapping[str, Any]) -> State:
    """The version before a change, from the version after it and what its entry tells."""
    mappings, value_maps = json_copy(state.mappings), json_copy(state.value_maps)
    old, new = detail.get("before", {}), detail.get("after", {})
    for path in new:
        if path.startswith("value_maps."):
            value_maps.pop(path.partition(".")[2], None)
    for path, value in old.items():
        if path == "mappings":
            mappings = value
        elif path.startswith("value_maps."):
            value_maps[path.partition(".")[2]] = value
    return State(mappings, value_maps)


__all__ = [
    "SAMPLE",
    "Change",
    "DryRun",
    "Effects",
    "Seen",
    "State",
    "Unmapped",
    "Version",
    "cautions",
    "changes",
    "codes_for",
    "document",
    "dry_run",
    "effects",
    "flow_of",
    "history",
    "latest",
    "map_value",
    "previewer",
    "told",
    "unmapped",
]

"""What a replay would do, before it is pressed: steps left out with their evidence, calls to be made, labels to be bought."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from connector.models import EffectSend, Pause, Transfer
from connector.services import stages as known_stages
from connector.services.engine import pauses, work
from integrations.flows.table import STAGES, Stage, stages_of

REPLAYABLE = ("failed", "cancelled", "skipped")
LEFT_OUT = {
    "in_doubt": "in doubt: look at each and decide",
    "running": "running already",
    "done": "done: nothing to do",
    "needs_approval": "needs approval, not another try",
    "waiting": "runs by itself when it is due",
}


@dataclass(frozen=True, slots=True)
class Kept:
    """A stage that is not repeated, and what that rests on."""

    stage: Stage
    why: str


@dataclass(slots=True)
class Forecast:
    """One transfer: what stays as it is and what is done, in order. `left_out` says why it would not run at all.

    `perhaps`: optional stages of a document that was never read; only reading it tells.
    """

    transfer: Transfer
    kept: list[Kept] = field(default_factory=list)
    todo: list[Stage] = field(default_factory=list)
    perhaps: list[Stage] = field(default_factory=list)
    left_out: str = ""

    @property
    def buys(self) -> bool:
        """Whether a label may be bought."""
        return any(stage.effect == "label" for stage in self.todo)


@dataclass(frozen=True, slots=True)
class Calls:
    """How often a vendor is called for a stage, at least and at most, when one process does the work."""

    system: str
    stage: Stage
    documents: int
    least: int
    most: int


@dataclass(slots=True)
class Preview:
    """Several transfers of one integration together."""

    forecasts: list[Forecast]
    calls: list[Calls]
    left_out: dict[str, int]
    kept: dict[str, int]
    waits: list[str]

    @property
    def runs(self) -> list[Forecast]:
        """Those that would run."""
        return [f for f in self.forecasts if not f.left_out]

    @property
    def labels(self) -> int:
        """Labels that may be bought: one for each document that has none."""
        return sum(f.buys for f in self.runs)


def preview(transfers: Sequence[Transfer]) -> Preview:
    """What replaying these (of one integration, with their records) would do. Asks no vendor and changes nothing."""
    forecasts = _forecasts(transfers)
    todo: Counter[Stage] = Counter(stage for f in forecasts if not f.left_out for stage in f.todo)
    perhaps: Counter[Stage] = Counter(stage for f in forecasts if not f.left_out for stage in f.perhaps)
    integration = transfers[0].integration if transfers else None
    calls = []
    for stage in sorted(todo.keys() | perhaps.keys(), key=_place):
        if integration is None or not stage.end:
            continue
        system = integration.source if stage.end == "source" else integration.target
        least, most = (math.ceil(n / stage.per) for n in (todo[stage], todo[stage] + perhaps[stage]))
        calls.append(Calls(system.name, stage, todo[stage] + perhaps[stage], least * stage.calls[0], most * stage.calls[1]))
    return Preview(
        forecasts,
        calls,
        dict(Counter(f.left_out for f in forecasts if f.left_out)),
        dict(Counter(kept.stage.label for f in forecasts if not f.left_out for kept in f.kept)),
        [_waits_for(p) for p in pauses.open_pauses(integration)] if integration is not None else [],
    )


def _place(stage: Stage) -> tuple[int, int]:
    return next((i, j) for i, flow in enumerate(STAGES.values()) for j, one in enumerate(flow) if one == stage)


def _forecasts(transfers: Sequence[Transfer]) -> list[Forecast]:
    sends, writes = work.memory_of(transfers)
    ran = known_stages.ran(transfers)
    open_records = {t.record_id for t in transfers if t.state in REPLAYABLE and known_stages.optional(t.flow)}
    read = known_stages.documents(open_records)
    needs = known_stages.Needs(transfers[0].integration, read) if transfers else None
    found = []
    for transfer in transfers:
        made = Forecast(transfer)
        found.append(made)
        if transfer.state not in REPLAYABLE:
            made.left_out = LEFT_OUT.get(transfer.state, "cannot be replayed")
            continue
        if transfer.flow == "ship" and transfer.record.held:
            made.left_out = "its label was voided: press “Buy again” on the shipment"
            continue
        stages = stages_of(transfer.flow, transfer.integration.options)
        done = {send.effect.kind: send for send in sends.get(transfer.record_id, ()) if send.outcome == EffectSend.Outcome.DONE}
        bought = done.get("label")
        before_purchase = bought is not None
        written = {name for name, _ in writes.get(transfer.record_id, {})}
        for stage in stages:
            if stage.optional and before_purchase and (transfer.record_id, stage.name) not in ran:
                continue  # the label was bought without it
            if stage.optional and not before_purchase:
                needed = needs(stage, transfer.flow, transfer.record) if needs is not None else None
                (made.todo if needed else [] if needed is False else made.perhaps).append(stage)
            elif before_purchase and bought is not None:
                # A flow first asks what became of its purchase: all that led to it is not done again.
                number = (bought.result or {}).get("master_tracking_number", "")
                why = f"bought: {number}, request {bought.reference}" if stage.effect else "the label is there"
                made.kept.append(Kept(stage, why))
                before_purchase = not stage.effect
            elif stage.kind == "write" and stage.name in written:
                made.kept.append(Kept(stage, "written before; compared, and left alone if it is the same"))
            else:
                made.todo.append(stage)
    return found


def _waits_for(pause: Pause) -> str:
    return f"{pause.scope_name or pause.connection or pause.integration}: {pause.message} {pause.remedy}".strip()

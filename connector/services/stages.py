"""Which optional stages of a flow a document goes through, told from what was read of it last. Asks no vendor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from connector.models import Integration, SourceRecord, Step, Transfer
from connector.services.engine import codec
from integrations import registry
from integrations.base.preview import Previewer
from integrations.base.records import Document
from integrations.flows.table import KINDS, STAGES, Stage

READ = "read"


def optional(flow: str) -> list[Stage]:
    """The stages of a flow that not every document goes through."""
    return [stage for stage in STAGES.get(flow, ()) if stage.optional]


def ran(transfers: Sequence[Transfer]) -> set[tuple[int, str]]:
    """(record id, stage) of the optional stages that were done for these documents before."""
    names = {stage.name for flow in {t.flow for t in transfers} for stage in optional(flow)}
    if not names:
        return set()
    found = Step.objects.filter(record__in={t.record_id for t in transfers}, name__in=names, state=Step.State.DONE)
    return set(found.values_list("record_id", "name"))


def documents(records: Iterable[int]) -> dict[int, Document]:
    """What was read of these records last, by record id; without those that were never read."""
    return told_by(Step.objects.filter(record__in=list(records), name=READ, state=Step.State.DONE, result__isnull=False))


def told_by(steps: Iterable[Step]) -> dict[int, Document]:
    """The same from steps that were read already; other steps among them are left out."""
    found: dict[int, Document] = {}
    reads = [s for s in steps if s.name == READ and s.state == Step.State.DONE and s.result is not None]
    for step in sorted(reads, key=lambda s: s.pk):
        try:
            found[step.record_id] = codec.decode(step.result, Document, step.schema)
        except codec.Undecodable:
            found.pop(step.record_id, None)
    return found


class Needs:
    """Says of one integration's documents which optional stages they go through; made once for many documents."""

    def __init__(self, integration: Integration, documents: dict[int, Document]) -> None:
        self._integration = integration
        self._documents = documents
        self._previewers: dict[str, Previewer | None] = {}

    def __call__(self, stage: Stage, flow: str, record: SourceRecord) -> bool | None:
        """Whether this document goes through the stage; None where nothing was read of it yet."""
        previewer = self._previewer(flow)
        document = self._documents.get(record.pk)
        if previewer is None or document is None:
            return None
        return previewer.needs(stage.name, record, document)

    def _previewer(self, flow: str) -> Previewer | None:
        if flow not in self._previewers:
            kind = KINDS.get(self._integration.kind)
            path = next((f.preview for f in kind.flows if f.name == flow), "") if kind is not None else ""
            self._previewers[flow] = registry.load(path)(self._integration) if path else None
        return self._previewers[flow]

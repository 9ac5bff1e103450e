"""The mapping of the ship flow, shown on a document: the flow's own functions, without a run and without a call."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any

from connector.models import Integration, Site, SourceRecord, Step
from connector.services import clock, shipments
from connector.services.engine import codec
from connector.services.engine.signals import Skipped
from integrations.base.errors import ConfigurationError, Rejected
from integrations.base.preview import Preview, SlotSeen
from integrations.base.records import Address, Document, DocumentLine, Goods, HandlingUnit, ShipmentRequest, WriteBack
from integrations.flows import mapping
from integrations.flows.ship import ship_context, write_of
from integrations.flows.slots import ShipContext, Slots
from integrations.flows.table import Slot


class Ship:
    """`Previewer` of the ship flow."""

    def __init__(self, integration: Integration) -> None:
        self.integration = integration
        self._sites: dict[tuple[str, str], Site | None] = {}

    def show(self, record: SourceRecord, document: Document, goods: Goods | None = None) -> Preview:
        """Slots and request as the flow would make them now."""
        context = ship_context(self.integration, record, self._site(record))
        slots = Slots.of(context, document)
        seen = tuple(self._seen(context, slots, slot) for slot in context.kind.slots)
        if mapping.crosses_border(context, document):
            goods = goods or self._goods(record)
            if goods is None:
                return Preview(
                    seen, message="It crosses a border: its order lines are read when it ships, and none were read yet."
                )
        try:
            request = mapping.request_of(context, document, goods)
            told = tuple(replace(slot, mapped=_told(context, request, slot.name)) for slot in seen)
            return Preview(told, request, mapping.wanted_date_of(context, document))
        except (Skipped, Rejected, ConfigurationError) as end:
            return Preview(seen, code=end.code, message=end.message, remedy=end.remedy)

    def write_back(self, record: SourceRecord, preview: Preview, number: str) -> WriteBack:
        """By the flow's own rule; numbers of labels bought before may be overwritten, as when it ships."""
        ours = frozenset({number, *(shipments.numbers_of(record) if record.pk is not None else ())})
        shipped = preview.request.ship_date if preview.request is not None else None
        return write_of(self.integration, self._site(record), number, shipped, ours)

    def needs(self, stage: str, record: SourceRecord, document: Document) -> bool:
        """Goods are read where customs wants to know what is inside."""
        if stage != "read goods":
            return True
        return mapping.crosses_border(ship_context(self.integration, record, self._site(record)), document)

    @staticmethod
    def _seen(context: ShipContext, slots: Slots, slot: Slot) -> SlotSeen:
        try:
            value: Any = slots.value(slot.name)
        except Rejected as error:
            return SlotSeen(slot.name, None, problem=error.message)
        return SlotSeen(slot.name, value, mapping.mapped(context, slots, slot))

    @staticmethod
    def _goods(record: SourceRecord) -> Goods | None:
        """The goods as the flow read them last."""
        if record.pk is None:
            return None
        step = Step.objects.filter(record=record, name="read goods", state="done", result__isnull=False).order_by("-pk").first()
        try:
            return codec.decode(step.result, Goods) if step is not None else None
        except codec.Undecodable:
            return None

    def _site(self, record: SourceRecord) -> Site | None:
        key = (record.company_code, record.site)
        if key not in self._sites:
            self._sites[key] = Site.objects.filter(
                company_code__connection=self.integration.source, company_code__code=key[0], code=key[1]
            ).first()
        return self._sites[key]

    def sample(self) -> Document:
        """A shipment of two lines in one box; its ship-via is one that is mapped, where there is one."""
        maps = self.integration.value_maps
        sites = (
            Site.objects.select_related("company_code").filter(company_code__connection=self.integration.source).order_by("pk")
        )
        codes = self.integration.company_codes
        site = (sites.filter(company_code__code__in=codes) if codes else sites).first()
        today = clock.local_now().astimezone(dt.UTC).date()
        return Document(
            key="sample",
            kind=(self.integration.options.get("documents") or ["shipment"])[0],
            number="SAMPLE",
            version="",
            state="Completed",
            ready=True,
            cancelled=False,
            company_code=site.company_code.code if site is not None else "",
            site=site.code if site is not None else "",
            recipient=Address(
                "Sample Customer Ltd",
                "Sam Sample",
                "6175550142",
                "sam@example.com",
                ("410 Atlantic Ave",),
                "Boston",
                "MA",
                "02110",
                "US",
            ),  # fmt: skip
            sender=Address("Sample Sender Inc", "Shipping", "9015550100", "", ("1 Dock Rd",), "Memphis", "TN", "38116", "US"),
            ship_via=next(iter(maps.get("service", {})), "SAMPLE-VIA"),
            forwarder=next((k for k, v in maps.get("carrier", {}).items() if v == self.integration.target.vendor), "FEDEX"),
            planned_ship_date=today,
            lines=(
                DocumentLine("1", "PART-1", "Sample part", Decimal(2), "PCS", "C1001"),
                DocumentLine("2", "PART-2", "Sample part", Decimal(1), "PCS", "C1002"),
            ),
            handling_units=(HandlingUnit("1", Decimal("2.5"), "kg", Decimal(40), Decimal(30), Decimal(20), "cm"),),
            raw={"Sample": True},
        )


def _told(context: ShipContext, request: ShipmentRequest, slot: str) -> str:
    """What the carrier is told for a slot."""
    match slot:
        case "carrier":
            return context.carrier
        case "service":
            return request.service
        case "terms_of_sale":
            return request.customs.terms_of_sale if request.customs else ""
        case "order_numbers":
            return ", ".join(number for kind, number in request.references if kind == "order")
    return str(getattr(request.recipient, slot.removeprefix("recipient_"), ""))

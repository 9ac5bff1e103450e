"""Ship: a ready ERP document becomes a carrier's label, and its number stands in the ERP.

ship    read (→ read goods, abroad) → map (→ check address, see `address_check`) (→ quote → choose service, see `rates`)
        → last look → buy label → write tracking (→ link to the supplier, see `supplier`)
        (→ label in the ERP, see `attach`) (→ freight cost, see `freight`)
void    cancel at carrier → clear tracking (or buy again) (→ take back freight cost)
"""

from __future__ import annotations

import datetime as dt
import uuid
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from connector.models import Connection, EffectSend, Integration, Package, Shipment, Site, SourceRecord, Transfer
from connector.services import clock, quotes, rows, shipments, vendors
from connector.services.engine.effects import Adoption, Stored
from connector.services.engine.run import Job, Run
from connector.services.engine.signals import Cancelled, Skipped
from connector.services.rows import Moment
from integrations import registry
from integrations.base.errors import ConfigurationError, Rejected
from integrations.base.places import letters, same_postal_code
from integrations.base.records import (
    Anchor,
    BoughtPackage,
    BoughtShipment,
    Document,
    Goods,
    LookUp,
    Money,
    Pending,
    ShipmentRequest,
    WriteBack,
)
from integrations.base.roles import Carrier, Erp, LookUpQuery, SendTicket
from integrations.flows import address_check, attach, deliveries, freight, mapping, rates, supplier
from integrations.flows.slots import ShipContext
from integrations.flows.table import KINDS

BUY = "buy label"
WRITE = "write tracking"
CANCEL = "cancel at carrier"
CLEAR = "clear tracking"
FIRST_LOOK_S = 3600.0
"""A carrier knows a new label only after a while."""


def ship(run: Run, erp: Erp, carrier: Carrier) -> None:
    """Carry one document. Every line may run again: what was bought is never bought twice."""
    if run.source_record.held:
        # Before anything else: what was settled is a voided label now, and its number must not reach the ERP again.
        raise Skipped("Its label was voided.", "voided", "Press “Buy again” on the shipment to ship it.")
    buy = BuyLabel(run, carrier)
    label = run.settled(BUY, buy)
    shown: Document | None = None
    if label is None:
        document: Document = run.read("read", erp.read_documents)
        still_ready(run, document)
        goods = run.read("read goods", erp.read_goods, beside=True) if crosses_border(run, document) else None
        request = address_check.settle(run, carrier, run.map("map", request_of, document, goods))
        if rates.wanted(run):
            context = ship_context(run.job.integration, run.source_record, run.site())
            request = rates.best(run, carrier, request, document, context)
        run.guard(still_ready, document)
        label = run.once(BUY, buy, request, buys=True)
        shown = document
    address_check.tell_unchecked(run)
    anchor = write_back(run, erp, label)
    if supplier.wanted(run):
        supplier.mail_link(run, _live(run).select_related("send").first())
    if attach.wanted(run):
        attach.attach_labels(run, erp, _live(run).first(), anchor)
    if freight.wanted(run):
        freight.write_cost(run, erp, _live(run).first(), shown)
    if freight.reads_accounting(run):
        freight.keep_accounting(run, erp, _live(run).first(), shown)


def write_back(run: Run, erp: Erp, label: BoughtShipment) -> Anchor | None:
    """Write the number into the ERP, unless a person has decided otherwise; then see what needs a look.

    Where files hang on the record, as far as this attempt was told.
    """
    option = _option(run.job.integration, "adopted_label")
    if label.adopted and option != "accept" and not _live(run).filter(packages__label__isnull=False).exists():
        if option == "void_and_rebuy":
            run.skip_step(WRITE, _WRITE_KIND, "the label was lost with the answer: it is voided and bought again")
            run.finishers.append(lambda: _void_adopted(run))
            return None
        run.attention = run.attention or "label_missing"
    decision = run.transfer.decision or {}
    if decision.get("field_conflict") == "theirs":
        # Whoever decided on something else since is not the one who decided on this.
        person = decision.get("field_by", decision.get("actor", "a person"))
        run.skip_step(WRITE, _WRITE_KIND, f"{person} decided to keep what stands in the ERP")
        return None
    wanted = _write_of(run, label, overwrite=decision.get("field_conflict") == "ours")
    again = bool(decision.get("write_again"))
    result = run.write(WRITE, deliveries.Writer(run, erp), run.source_key, wanted, again=again)
    if result is not None:
        run.document_version = result.version
        if "quote_field" in result.skipped:
            run.note("quote_not_written", reason="The profile of the ERP connection names no field for it.")
    if freight.wanted(run) or freight.reads_accounting(run) or attach.wanted(run) or supplier.wanted(run):
        # Now, and not at the end: the parcel is followed also while its label or freight cost waits for a person.
        run.commit(also=[lambda: _written(run, again=False)])
    else:
        run.finishers.append(lambda: _written(run))
    return result.anchor if result is not None else None


def void(run: Run, erp: Erp, carrier: Carrier) -> None:
    """Cancel a shipment at its carrier; then clear our number in the ERP, or buy again."""
    told = run.transfer.decision or {}
    shipment = Shipment.objects.get(pk=told["shipment"], record=run.source_record)
    result = run.write(
        CANCEL, carrier.void_shipment, shipment.master_tracking_number, shipment.sender_country, key=str(shipment.pk)
    )
    shipments.voided(shipment, run.source_record, actor=told["actor"], already=bool(result and result.already))
    if told["then"] == "rebuy":
        run.skip_step(CLEAR, _WRITE_KIND, "the new number will replace it", key=str(shipment.pk))
        run.finishers.append(lambda: shipments.rebuy_after_void(run.source_record, told["actor"], told["reason"]))
    else:
        ours, shared = shipments.numbers_of(run.source_record), shipments.standing_sibling(run.source_record)
        again = bool(told.get("write_again"))
        # Most documents share nothing: named only where it is so, and what was written for them before stays the same write.
        named = (shared,) if shared else ()
        cleared = run.write(CLEAR, erp.clear_tracking, run.source_key, ours, *named, key=str(shipment.pk), again=again)
        if cleared is not None:
            run.document_version = cleared.version
    attach.tell_left(run, shipment)
    freight.take_back(run, erp, shipment)


# -- parts of `ship` ---------------------------------------------------------------------------------

_WRITE_KIND: Any = "write"


def still_ready(run: Run, document: Document) -> None:
    """Still wanted, and nobody has shipped it. Raises Cancelled; Rejected where a person has to ship the rest of it."""
    if document.cancelled:
        raise Cancelled("Cancelled in the ERP.", "cancelled_in_erp")
    deliveries.check_numbers(run, document)
    deliveries.check_orders(run, document)
    if document.part_delivered:
        mapping.check_whose(ship_context(run.job.integration, run.source_record, run.site()), document)
        # Never by us: which of its goods are gone only IFS knows, and a label for all of them would ship some twice.
        raise Rejected(
            f"Some of it has been delivered without us, the rest is still to ship (state {document.state}).",
            code="part_delivered",
            remedy="Split what is left off into a delivery of its own in the ERP: it ships by itself. Or ship it by hand. "
            "Then cancel this transfer.",
        )
    if not document.ready:
        raise Cancelled(f"No longer ready to ship (state {document.state}).", "not_ready")


def crosses_border(run: Run, document: Document) -> bool:
    """Whether it is ours and needs customs data; what is wrong with it otherwise, the mapping says next."""
    return mapping.crosses_border(ship_context(run.job.integration, run.source_record, run.site()), document)


def request_of(run: Run, document: Document, goods: Goods | None = None) -> ShipmentRequest:
    """What the carrier is asked to ship for this document."""
    context = ship_context(run.job.integration, run.source_record, run.site())
    return mapping.request_of(context, document, goods)


def look_ahead(job: Job, read: Sequence[tuple[Transfer, Document]], at: float, batch: uuid.UUID) -> None:
    """Have the addresses of a claimed group checked together, of those documents that would be bought for."""
    if not address_check.wanted(job):
        return
    found = []
    for transfer, document in read:
        record = transfer.record
        if document.cancelled or not document.ready or document.tracking_number.strip() or record.held:
            continue
        context = ship_context(job.integration, record, job.site(record.company_code, record.site))
        try:
            found.append(mapping.request_of(context, document).recipient)
        except (Rejected, Skipped, ConfigurationError):
            continue  # its own run says what is wrong
    address_check.ahead(job, job.adapter(job.target), found, batch)


def ship_context(integration: Integration, record: SourceRecord, site: Site | None) -> ShipContext:
    """The mapping's surroundings for one record."""
    zone = zoneinfo.ZoneInfo(site.timezone if site is not None else integration.tenant.timezone)
    carrier = registry.get(integration.target.vendor)
    return ShipContext(
        kind=KINDS[integration.kind],
        carrier=carrier.slug,
        options=integration.options,
        mappings=integration.mappings,
        value_maps=integration.value_maps,
        erp_settings=vendors.settings_of(integration.source),
        services=carrier.services,
        site_code=record.site,
        site_address=vendors.address_of(site.address) if site is not None else None,
        today=clock.local_now().astimezone(zone).date(),
        zone=zone,
    )


def another_carrier(integration: Integration, forwarder: str) -> bool:
    """Whether a forwarder on a document is that of another carrier; an empty one tells nothing."""
    slug = registry.get(integration.target.vendor).slug
    return bool(forwarder) and mapping.carrier_of(integration.value_maps, slug, forwarder).casefold() != slug


def changed(integration: Integration, record: SourceRecord, document: Document) -> str:
    """After the label: an attention code when what it was bought with is no longer what the document says, else ""."""
    if document.cancelled:
        return "cancelled_after_label"
    # Adopted after a restore: what it was bought with is not known, so nothing can be said to differ from it.
    if not record.bought_digest or _option(integration, "on_change") == "ignore":
        return ""
    site = Site.objects.filter(
        company_code__connection=integration.source, company_code__code=record.company_code, code=record.site
    ).first()
    try:
        request = mapping.request_of(ship_context(integration, record, site), document)
    except (Rejected, Skipped, ConfigurationError):
        return "changed_after_label"
    return "" if mapping.bought_digest(request) == record.bought_digest else "changed_after_label"


def _option(integration: Integration, name: str) -> Any:
    value = integration.options.get(name)
    return KINDS[integration.kind].defaults()[name] if value is None else value


def _live(run: Run) -> Any:
    """The shipment of this record's present generation that is not voided."""
    record = run.source_record
    return Shipment.objects.filter(record=record, generation=record.generation, state=Shipment.State.ACTIVE)


def _write_of(run: Run, label: BoughtShipment, *, overwrite: bool) -> WriteBack:
    ours = {label.master_tracking_number, *(p.tracking_number for p in label.packages)}
    if run.source_record.generation > 1 or label.adopted:
        ours |= shipments.numbers_of(run.source_record)
    found = write_of(run.job.integration, run.site(), label.master_tracking_number, label.ship_date, frozenset(ours))
    return replace(found, overwrite=overwrite, quoted=_quoted(run) if rates.wanted(run) else None)


def write_of(
    integration: Integration, site: Site | None, number: str, shipped: dt.date | None, ours: frozenset[str]
) -> WriteBack:
    """What an integration writes of a label into the ERP."""
    ship_date: dt.datetime | None = None
    if _option(integration, "write_ship_date") and shipped:
        zone = zoneinfo.ZoneInfo(site.timezone if site is not None else integration.tenant.timezone)
        ship_date = dt.datetime.combine(shipped, dt.time(), tzinfo=zone)
    return WriteBack(number, _option(integration, "forwarder_to_write"), ship_date, ours=ours)


def _quoted(run: Run) -> Money | None:
    """What was quoted for the label that is there, also where this attempt bought nothing itself."""
    shipment = _live(run).filter(quoted_cost__isnull=False).first()
    return Money(shipment.quoted_cost, shipment.quoted_currency) if shipment is not None else None


def _written(run: Run, *, again: bool = True) -> None:
    # From now on the parcel is followed, where the integration has a flow for it.
    follows = any(flow.name == "track" and flow.available for flow in KINDS[run.job.integration.kind].flows)
    record = run.source_record
    live: dict[str, Any] = {"record_id": record.pk, "generation": record.generation, "state": "active"}
    if not again:
        live["written_at"] = None
    rows.update(Shipment, live, {"written_at": Moment(), **({"next_track_at": Moment(FIRST_LOOK_S)} if follows else {})})


def _void_adopted(run: Run) -> None:
    shipments.void_request(_live(run).get(), then="rebuy", actor="system", reason="the label was lost with the answer")


# -- the purchase ------------------------------------------------------------------------------------


class BuyLabel:
    """The one thing that costs money, as the engine's `Operation`."""

    kind = "label"
    act = "bought"
    buys = True
    attention = "bought_twice"
    payload_type = ShipmentRequest
    result_type = BoughtShipment

    def __init__(self, run: Run, carrier: Carrier) -> None:
        self.run = run
        self.adapter = carrier
        self.connection: Connection = run.job.target

    def prepare(self) -> None:
        """A token, before anything is at stake."""
        self.adapter.prepare()

    def describe(self, payload: ShipmentRequest, reference: str) -> dict[str, object]:
        """The exact body; what had to be changed for the carrier goes into the timeline."""
        notes = self.adapter.request_notes(payload, reference)
        if notes:
            self.run.note("adjusted", notes=list(notes))
        return self.adapter.describe_request(payload, reference)

    def send(self, body: dict[str, object], payload: ShipmentRequest, ticket: SendTicket) -> BoughtShipment | Pending:
        """Buy."""
        return self.adapter.create_shipment(body, payload, ticket)

    def parse(self, answer: str, status: int | None, payload: ShipmentRequest) -> BoughtShipment | Pending:
        """Read a committed answer again."""
        return self.adapter.parse_created(answer, payload, status=status)

    def ask(self, ticket: str, payload: ShipmentRequest) -> BoughtShipment | Pending:
        """Ask for a pending result."""
        return self.adapter.ask_pending(ticket, payload)

    def find(self, reference: str, payload: ShipmentRequest | None, *, wide: bool = False) -> LookUp:
        """From the day before shipping to today in the site's zone; `wide`: the last 29 days."""
        site = self.run.site()
        today = self.run.today(site.timezone if site is not None else self.run.job.integration.tenant.timezone)
        begin = today - dt.timedelta(days=29) if wide or payload is None else min(payload.ship_date, today) - dt.timedelta(days=1)
        return self.adapter.find_shipment(LookUpQuery(reference, self.adapter.account, begin, today, payload))

    def adopt(
        self, found: LookUp, payload: ShipmentRequest | None, record: SourceRecord, send: EffectSend | None
    ) -> Adoption[BoughtShipment]:
        """Exactly one live match that agrees in all it says and is nobody else's."""
        if found.ambiguous:
            return Adoption(refusal="the carrier finds more than one shipment under it.")
        if not found.matches:
            return Adoption()
        live = [m for m in found.matches if not m.cancelled]
        if not live:
            if payload is None:  # after a restore: a cancelled one is history
                return Adoption()
            return Adoption(refusal="it was made, and has been cancelled at the carrier since.")
        if len(live) > 1:
            return Adoption(
                refusal=f"there are {len(live)} shipments under it: {', '.join(m.master_tracking_number for m in live)}."
            )
        match = live[0]
        numbers = match.tracking_numbers or (match.master_tracking_number,)
        if shipments.holds_number(self.connection, {match.master_tracking_number, *numbers}, but_send=send):
            return Adoption(refusal=f"{match.master_tracking_number} belongs to another shipment of ours.", known=True)
        if payload is not None:
            different = _differences(payload, match, self.adapter.account)
            if different:
                return Adoption(refusal=f"{match.master_tracking_number} is not what we sent: {', '.join(different)} differ.")
        made = tuple(BoughtPackage(number, i) for i, number in enumerate(_master_first(match.master_tracking_number, numbers), 1))
        if payload is not None and len(payload.packages) == len(made):
            made = tuple(replace(p, package_id=s.package_id) for p, s in zip(made, payload.packages, strict=True))
        return Adoption(
            BoughtShipment(
                master_tracking_number=match.master_tracking_number,
                packages=made,
                service=match.service or (payload.service if payload else ""),
                ship_date=match.ship_date or (payload.ship_date if payload else None),
                adopted=True,
            )
        )

    def digest(self, payload: ShipmentRequest) -> str:
        """Over recipient, packages, weight, service, references."""
        return mapping.bought_digest(payload)

    def by_hand(self, number: str, payload: ShipmentRequest | None) -> BoughtShipment:
        """As a person states it: the number only, no label, cost unknown."""
        return by_hand(number, payload)

    def remember(self, result: BoughtShipment) -> BoughtShipment:
        """Without label bytes."""
        return replace(result, packages=tuple(replace(p, label=None) for p in result.packages))

    def store(
        self,
        transfer: Transfer,
        record: SourceRecord,
        send: EffectSend,
        payload: ShipmentRequest | None,
        result: BoughtShipment,
        *,
        clash: bool,
    ) -> Stored:
        """Shipment, packages, labels, references."""
        return store_label(self.run.job.integration, self.run.site(), transfer, record, send, payload, result, clash=clash)

    def complete(self, send: EffectSend, result: BoughtShipment) -> None:
        """The labels that an adopted shipment lacked."""
        labels = {p.tracking_number: p for p in result.packages if p.label is not None}
        lacking = Package.objects.filter(shipment__send=send, label__isnull=True, tracking_number__in=labels)
        added = shipments.labels_store([(p, labels[p.tracking_number]) for p in lacking], clock.local_now())
        if added:
            Transfer.objects.filter(record=send.effect.record, attention="label_missing").update(attention=None)
        cost = result.cost
        if cost is not None:
            Shipment.objects.filter(send=send, cost__isnull=True).update(
                cost=cost.amount, currency=cost.currency, cost_kind="rated"
            )

    def same(self, stored: Any, result: BoughtShipment) -> bool:
        """Whether both name the same master number."""
        return isinstance(stored, Mapping) and stored.get("master_tracking_number") == result.master_tracking_number


def store_label(
    integration: Integration,
    site: Site | None,
    transfer: Transfer,
    record: SourceRecord,
    send: EffectSend,
    payload: ShipmentRequest | None,
    result: BoughtShipment,
    *,
    clash: bool,
) -> Stored:
    """The rows of a purchase, and what about them needs a look."""
    company = site.company_code if site is not None else None
    shipment, facts = shipments.shipment_store(
        transfer=transfer,
        record=record,
        send=send,
        carrier=integration.target,
        request=payload,
        bought=result,
        accounting=(company.cost_center, company.freight_account) if company is not None else ("", ""),
        clash=clash,
    )
    if shipment is not None and payload is not None and payload.quoted is not None:
        quotes.bought(shipment, payload.service)
    unreadable = any(p.label is not None and not p.label.readable for p in result.packages)
    missing = not result.adopted and any(p.label is None for p in result.packages)
    attention = "number_clash" if clash else "label_unreadable" if unreadable else "label_missing" if missing else ""
    return Stored(facts, attention)


def by_hand(number: str, payload: ShipmentRequest | None) -> BoughtShipment:
    """A shipment as a person states it; of several packages only the master number is known."""
    first = payload.packages[0].package_id if payload and payload.packages else ""
    return BoughtShipment(
        master_tracking_number=number,
        packages=(BoughtPackage(number, 1, first),),
        service=payload.service if payload else "",
        ship_date=payload.ship_date if payload else None,
        adopted=True,
    )


def _master_first(master: str, numbers: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys([master, *numbers]))


def _differences(request: ShipmentRequest, match: Any, account: str) -> list[str]:
    """Which fields the carrier names and names otherwise; what it leaves out is neutral (ENGINE 2.4)."""
    different = []
    to = request.recipient
    if match.recipient_country and match.recipient_country.upper() != to.country.upper():
        different.append("recipient country")
    if not same_postal_code(match.recipient_postal_code or "", to.postal_code, to.country):
        different.append("postal code")
    if match.ship_date and match.ship_date != request.ship_date:
        different.append("ship date")
    if match.account and letters(match.account) != letters(account):
        different.append("account")
    if (
        match.package_count
        and match.package_count != len(request.packages)
        or len(match.tracking_numbers) != len(request.packages)
    ):
        different.append("number of packages")
    return different


__all__ = ["BUY", "WRITE", "BuyLabel", "by_hand", "changed", "ship", "store_label", "void"]

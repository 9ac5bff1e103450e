"""IFS Cloud as an ERP of the flows: list ready shipments, read them in batches, write the tracking number, ping."""

from __future__ import annotations

from integrations.base.preview import PlannedWrite
from integrations.base.records import Document, StatusWrite, WriteBack, WriteResult
from integrations.ifs_cloud import mapping, writing
from integrations.ifs_cloud.attaching import Attaching
from integrations.ifs_cloud.charging import Charging
from integrations.ifs_cloud.odata import Value
from integrations.ifs_cloud.order_profile import ORDER_KINDS
from integrations.ifs_cloud.orders import delivery_of, is_one_of, kind_of
from integrations.ifs_cloud.pinging import Pinging


class IfsCloud(Attaching, Charging, Pinging):
    """The `Erp` role over one IFS tenant: shipments ("shipment:19") and deliveries of orders ("customer_order:S1/2").

    In parts by topic, each in a file of its own; what is written back of a label and its way stands here.
    """

    def prepare(self) -> None:
        """Have a token at hand."""
        self.client.tokens.token(self.client.fetch_token)

    def write_tracking(self, key: str, write: WriteBack) -> WriteResult:
        """One GET, and one PATCH of what differs; another GET where the PATCH answers 204.

        `written` are IFS field names; `skipped` names targets that are null in the profile
        ("tracking_field") and fields left alone because somebody filled them ("ForwardAgentId").
        """
        if (kind := kind_of(key)) in ORDER_KINDS:
            return self._orders[kind].write_tracking(delivery_of(key), write)
        shipment = self.profile.shipment
        decide = writing.TrackingWrite(write, shipment)
        return self._change(key, decide, "write tracking")

    def describe_tracking(self, document: Document, write: WriteBack) -> tuple[PlannedWrite, ...]:
        """The PATCH of `write_tracking` on the header as it was read, by the same decision."""
        if (kind := kind_of(document.key)) in ORDER_KINDS:
            return self._orders[kind].describe_tracking(delivery_of(document.key), document, write)
        shipment = self.profile.shipment
        decide = writing.TrackingWrite(write, shipment)
        key: dict[str, Value] = {shipment.key: mapping.shipment_of(document.key)}
        return (self.client.planned(shipment.header, key, decide(document.raw), document.version, decide.skipped),)

    def status_targets(self, kind: str) -> frozenset[str]:
        """Parts of a `StatusWrite` for which the profile names a field on documents of that kind."""
        block = self.profile.documents.get(kind, self.profile.shipment)
        return frozenset(part for part, setting in writing.STATUS_TARGETS.items() if getattr(block, setting))

    def write_status(self, key: str, write: StatusWrite) -> WriteResult:
        """One GET, and one PATCH of what differs; parts without a field are named in `skipped`."""
        if (kind := kind_of(key)) in ORDER_KINDS:
            return self._orders[kind].write_status(delivery_of(key), write)
        return self._change(key, writing.StatusDecision(write, self.profile.shipment), "write status")

    def clear_tracking(self, key: str, ours: frozenset[str], shared: str = "") -> WriteResult:
        """Empty the tracking field where it holds one of ours (an order's shows `shared` then); else leave it, in `skipped`."""
        if (kind := kind_of(key)) in ORDER_KINDS:
            return self._orders[kind].clear_tracking(delivery_of(key), ours, shared)
        clear = writing.TrackingClear(ours, self.profile.shipment, cancelled=self._is_cancelled)
        return self._change(key, clear, "clear tracking")

    def _is_cancelled(self, row: mapping.Row) -> bool:
        shipment = self.profile.shipment
        return is_one_of(mapping.text(row, shipment.state_field), shipment.cancelled_states)

    def _change(self, key: str, decide: writing.Decision, operation: str) -> WriteResult:
        shipment = self.profile.shipment
        change = self.client.change(shipment.header, {shipment.key: mapping.shipment_of(key)}, decide, operation=operation)
        return WriteResult(change.version, change.sent, decide.skipped, mapping.anchor(change.row))

"""Charges of the simulated IFS, of customer orders (sheet 9.3) and of purchase orders (sheet 9.6), with what is vouched for them.

That purchase orders have such an array, and its members, is a guess of the sheet: here it is as strict as the sheet lets it
be, and the option `purchase_charges` takes it away again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from integrations.base.simulator import SimResponse
from integrations.ifs_cloud.simulator_odata import ODataError, Row, database_error, malformed, not_implemented
from integrations.ifs_cloud.simulator_orders import SUPPLIERS
from integrations.ifs_cloud.simulator_schema import Entity
from integrations.ifs_cloud.simulator_store import DEFAULT_OPTIONS, IfsStore


@dataclass(frozen=True, slots=True)
class _Kind:
    """How charges of one kind of order are kept: where on it, by which types, in which member, and when it takes none."""

    order: str
    types: str
    cost: str
    required: tuple[str, ...]
    closed: tuple[str, ...]
    noun: str


CHARGE_ARRAYS = {
    "CustomerOrderChargeArray": _Kind(
        "CustomerOrder",
        "charge_types",
        "ChargeCost",
        ("ChargeType", "Contract", "Company", "ChargedQty", "SalesUnitMeas", "ChargeAmount", "ChargeCost"),
        ("Invoiced", "Cancelled"),
        "customer order",
    ),
    "PurchaseOrderChargeArray": _Kind(
        "PurchaseOrder",
        "purchase_charge_types",
        "ChargeAmount",
        ("ChargeType", "Contract", "Company", "ChargedQty", "ChargeAmount"),
        ("Closed", "Cancelled"),
        "purchase order",
    ),
}
_OF_ENTITY = {f"{kind.order}Charge": kind for kind in CHARGE_ARRAYS.values()}


class ChargeDesk(IfsStore):
    """The part of the simulator that takes charges. IFS has no protection against the same POST twice (sheet 5.1)."""

    _accept: Callable[..., tuple[Row, ODataError | None]]
    _get: Callable[..., Row]
    _patch: Callable[..., SimResponse]
    _single: Callable[..., SimResponse]
    _odata: Callable[..., SimResponse]

    def purchase_charges(self, tenant: str = "standard") -> list[Row]:
        """The charges of all purchase orders, as they stand, in the order in which they were made."""
        with self.lock:
            rows = self._tenant(tenant)["rows"].get("PurchaseOrderCharge", {}).values()
            return [{k: v for k, v in row.items() if not k.startswith("@")} for row in rows]

    def _route_charges(self, front: str, service: str, sets_of: Collection[str]) -> None:
        """Charges hang on their order, also where they are written (sheet 9.3)."""
        for array, kind in CHARGE_ARRAYS.items():
            if f"{kind.order}ChargeSet" not in sets_of:
                continue
            place = rf"{front}/{kind.order}Set\([^/]*\)/{array}"
            for method in ("GET", "POST"):
                self.route(method, place, self._odata, label=f"{service}.svc/{array}")
            for method in ("GET", "PATCH"):
                self.route(method, rf"{place}\([^/]*\)", self._odata, label=f"{service}.svc/{array}(key)")

    def _offered(self, call: Any, array: str) -> None:
        """A tenant may not know charges of purchase orders at all. Raises ODataError."""
        status = call.options.get("purchase_charges") if array == "PurchaseOrderChargeArray" else None
        if status == 501:
            raise not_implemented(array)
        if status is not None:
            raise ODataError(status, "ODP_RESOURCE_NOTFOUND", f"Cannot find {array} in {call.service}.")

    def _post_charge(self, call: Any, set_name: str, entity: Entity, order: Row, body: dict[str, Any]) -> SimResponse:
        kind = _OF_ENTITY[entity.name]
        given, refusal = self._accept(call, entity, body)
        if given.get("OrderNo", order["OrderNo"]) != order["OrderNo"]:
            raise malformed("The key in the body differs from the key of the parent.")
        if "SequenceNo" in given:
            raise _refused(call, "20121", f"{entity.name}.INSERT: The field SequenceNo may not be given.")
        if refusal:
            raise refusal
        for name in kind.required:
            if given.get(name) is None:
                raise _refused(call, "20124", f"{entity.name}.NULL: The field {name} must have a value.")
        if order["Objstate"] in kind.closed:
            text = f"Charges may not be added to a {kind.noun} in state {order['Objstate']}."
            raise _refused(call, "20130", f"{entity.name}.STATE: {text}")
        if given["ChargeType"] not in call.options.get(kind.types, DEFAULT_OPTIONS[kind.types]):
            what = "SalesChargeType" if kind.order == "CustomerOrder" else "PurchaseChargeType"
            text = f"The charge type {given['ChargeType']} does not exist on site {order['Contract']}."
            raise _refused(call, "20125", f"{what}.NOTEXIST: {text}")
        if (given["Contract"], given["Company"]) != (order["Contract"], order["Company"]):
            raise _refused(call, "20110", f"{entity.name}.SITE: Site and company must be those of the order.")
        if given["ChargedQty"] == 0:
            raise _refused(call, "20110", f"{entity.name}.QTY: The charged quantity may not be zero.")
        self._exists(call, given, order)
        others = call.data["rows"].get(entity.name, {}).values()
        taken = [row["SequenceNo"] for row in others if row["OrderNo"] == order["OrderNo"]]
        row = {"InvoicedQty": 0} if "InvoicedQty" in entity.columns else {}
        row |= given | {"OrderNo": order["OrderNo"], "SequenceNo": max(taken, default=0) + 1}
        keyref = self._insert(call.tenant, call.data, entity, row)
        if kind.order == "CustomerOrder":
            self._write(call.tenant, call.schema.entities[kind.order], order, {"ChargesExist": True}, call.data["client_id"])
        stored = call.data["rows"][entity.name][keyref]
        self._vouch(call, kind, order, stored, _total(stored, kind))
        return self._single(call, set_name, entity, stored, status=201)

    def _exists(self, call: Any, given: Row, order: Row) -> None:
        """What a charge is tied to has to be there. Raises ODataError."""
        number, line, vendor = given.get("ShipmentId"), given.get("LineNo"), given.get("VendorNo")
        if number is not None and f"SHIPMENT_ID={number}^" not in call.data["rows"]["Shipment"]:
            raise _refused(call, "20125", f"Shipment.NOTEXIST: The shipment {number} does not exist.")
        if line is not None:
            rest = f"LINE_NO={line}^REL_NO={given.get('RelNo')}^LINE_ITEM_NO={given.get('LineItemNo')}^"
            if f"ORDER_NO={order['OrderNo']}^{rest}" not in call.data["rows"].get("CustomerOrderLine", {}):
                raise _refused(call, "20125", f"CustomerOrderLine.NOTEXIST: The order has no line {line}.")
        carriers = call.options.get("charge_suppliers", DEFAULT_OPTIONS["charge_suppliers"])
        if vendor is not None and vendor not in {*carriers, *(supplier[0] for supplier in SUPPLIERS)}:
            raise _refused(call, "20125", f"Supplier.NOTEXIST: The supplier {vendor} does not exist.")

    def _patch_charge(self, call: Any, set_name: str, entity: Entity, key: Row, body: dict[str, Any]) -> SimResponse:
        """Sheet 9.3: a charge may be changed until it is invoiced; what was vouched for is corrected by the difference."""
        kind, row = _OF_ENTITY[entity.name], self._get(call, entity, key)
        order = call.data["rows"][kind.order][f"ORDER_NO={row['OrderNo']}^"]
        if row.get("InvoicedQty") or (kind.order == "PurchaseOrder" and order["Objstate"] in kind.closed):
            raise _refused(call, "20130", f"{entity.name}.INVOICED: An invoiced charge may not be changed.")
        before = _total(row, kind)
        answer = self._patch(call, set_name, entity, key, body)
        if answer.status < 300 and (now := _total(row, kind)) != before:
            self._vouch(call, kind, order, row, round(now - before, 2))
        return answer

    def _vouch(self, call: Any, kind: _Kind, order: Row, charge: Row, amount: float) -> None:
        """Two voucher rows: the account of the charge type, the cost centre of the order's pre-posting (sheet 13)."""
        entity = call.schema.entities["VoucherRow"]
        before = call.data["rows"].setdefault("PreAccounting", {}).get(f"PRE_ACCOUNTING_ID={order.get('PreAccountingId')}^", {})
        number = len(call.data["rows"].setdefault(entity.name, {})) // 2 + 1
        account = call.options.get(kind.types, DEFAULT_OPTIONS[kind.types])[charge["ChargeType"]]
        today = self.now().date()
        for place, (code, value) in enumerate(((account, amount), ("2440", -amount)), 1):
            row = {"Company": order["Company"], "VoucherType": "M", "AccountingYear": today.year, "AccountingPeriod": today.month}
            row |= {"VoucherNo": number, "RowNo": place, "Account": code, "Amount": value, "VoucherDate": today.isoformat()}
            row |= {"DebetAmount": max(value, 0), "CreditAmount": max(-value, 0), "ReferenceNumber": order["OrderNo"]}
            self._insert(call.tenant, call.data, entity, row | {"CodeB": before.get("CodenoB"), "Text": charge["ChargeType"]})


def _total(charge: Row, kind: _Kind) -> float:
    """What a charge costs in all; IFS shows it on those of customer orders."""
    total: float = round(charge[kind.cost] * charge["ChargedQty"], 2)
    if kind.order == "CustomerOrder":
        charge["TotalChargeCost"] = total
    return total


def _refused(call: Any, ora: str, text: str) -> ODataError:
    """A business rule is broken (sheet 6, 13)."""
    return database_error(call.options["database_error_status"], ora, text)


__all__ = ["CHARGE_ARRAYS", "ChargeDesk"]

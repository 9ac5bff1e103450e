"""The records of the simulated IFS tenants: what is in them, how it is found, who changed it, and the control calls."""

from __future__ import annotations

import base64
import copy
import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from integrations.base.simulator import SimRequest, SimResponse, Simulator
from integrations.ifs_cloud.simulator_demo import DEMO_FAULTY, RECEIVERS, Rows, customer_rows, demo_rows, shipment_rows, site_rows
from integrations.ifs_cloud.simulator_entities import schema_for
from integrations.ifs_cloud.simulator_filter import Filter
from integrations.ifs_cloud.simulator_odata import Row
from integrations.ifs_cloud.simulator_orders import FIRST_ORDER, ORDER_ENTITIES, demo_order_rows, order_rows, supplier_rows
from integrations.ifs_cloud.simulator_schema import ENUMS, Entity, stamp

# What sheet 13 lets a tenant differ in. `expires_in` in seconds, `page_size` in rows.
DEFAULT_OPTIONS: dict[str, Any] = {
    "expires_in": 180,
    "scope_required": True,  # False: a token request without scope is tolerated (sheet 1.2)
    "service_accounts": True,  # False: the IAM client may not use client credentials (sheet 3)
    "keycloak_legacy": False,  # True: wrong secret is 400 unauthorized_client (sheet 3, "older")
    "unauthorized_html": False,  # True: 401 of the API with an HTML body
    "page_size": 25,  # rows given without $top
    "page_cap": None,  # rows given at most even with $top
    "next_link": None,  # "absolute" or "relative": cut pages carry a nextLink with $skiptoken
    "count": True,  # False: $count=true is ignored, as on some sets (sheet 4.3)
    "patch_answer": 200,  # or 204
    "missing_if_match": "428",  # "412", or "upsert"
    "enum_lenient": False,  # True: Objstate eq 'Completed' is understood
    "database_error_status": 400,  # or 500
    "history_logged": [],  # logical units for which history logging is on (sheet 8, S3), such as "Shipment"
    "denied_projections": [],
    "read_only_projections": [],
    "charge_types": {"FREIGHT": "6400", "FRTOUT": "6410"},  # sales charge types, with the account that posting control gives
    "purchase_charge_types": {"FREIGHT": "6420"},  # the same of purchase orders, whose charges become landed cost
    "purchase_charges": None,  # 404 or 501: the tenant knows no charges of purchase orders
    "charge_suppliers": ["FEDEX"],  # carriers that are suppliers, for VendorNo of such a charge
    "doc_classes": {"LABEL": ["pdf"]},  # document classes, with the file types each allows (sheet 7.1)
    "media_aware": ["Shipment"],  # logical units that are open for the media library (sheet 7.2)
    "media_types": "bmp,gif,jpeg,jpg,png",
    "active_entity_services": [
        *("CustomerOrderEntity", "CustomerOrderLineEntity", "CustomerOrderAddressEntity", "ShipmentEntity"),
        *("ShipmentLineEntity", "PurchaseOrderEntity", "PurchaseOrderLineEntity"),
    ],
    "allowed_companies": ["10"],
    "allowed_sites": ["S1", "S2"],
}

_TENANTS = {
    "standard": {"kind": "standard", "realm": "standard1", "client_id": "MLC", "client_secret": "ifs-demo-secret"},
    "custom": {"kind": "custom", "realm": "custom1", "client_id": "MLCC", "client_secret": "ifs-custom-secret"},
}

_FORWARDERS = ["FEDEX", "UPS", "DHL", "OWN"]
# Columns asked for by equality often enough to deserve an index.
_INDEXED = frozenset({"ShipmentId", "OrderNo", "HandlingUnitId", "CustomerId"})
_FIRST_SHIPMENT_ID = 2001
_PHONES = {receiver.customer: receiver.phone for receiver in RECEIVERS}


def etag(row: Row) -> str:
    """Sheet 5.2: the weak tag around the base64 of another weak tag of row id and version."""
    inner = f'W/"{row["@objid"]}:{row["@version"]}"'
    return f'W/"{base64.b64encode(inner.encode()).decode()}"'


class IfsStore(Simulator):
    """State and control calls; the HTTP side is `simulator.IfsCloudSimulator`. Public methods may be called from any thread."""

    def __init__(self, *, state_file: Path | None = None) -> None:
        self._indexes: dict[tuple[str, str, str], dict[Any, list[str]]] = {}
        super().__init__(state_file=state_file)

    def seed(self) -> dict[str, Any]:
        """Two tenants with companies, sites, customers and suppliers, without shipments and orders."""
        tenants: dict[str, Any] = {}
        for name, identity in _TENANTS.items():
            data: dict[str, Any] = {
                **identity,
                "options": copy.deepcopy(DEFAULT_OPTIONS),
                "forwarders": list(_FORWARDERS),
                "next_shipment_id": _FIRST_SHIPMENT_ID,
                "next_objid": 1,
                "rows": {entity: {} for entity in schema_for(identity["kind"]).entities},
                "history": {},
            }
            schema = schema_for(identity["kind"])
            for row in site_rows():
                self._insert(name, data, schema.entities["CompanySite"], row)
            for row in customer_rows():
                self._insert(name, data, schema.entities["CustomerInfoAddressPublic"], row)
            for row in supplier_rows(custom=identity["kind"] == "custom"):
                self._insert(name, data, schema.entities["SupplierInfoAddressPublic"], row)
            for service in schema.projections:
                self._insert(name, data, schema.entities["Projection"], {"Name": service})
            tenants[name] = data
        # A token life other than the usual one, so that nobody gets used to a constant (sheet 13).
        tenants["custom"]["options"]["expires_in"] = 3600
        return {"tenants": tenants, "tokens": {}}

    def reset(self) -> None:
        """Back to the seed."""
        with self.lock:
            super().reset()
            # Only now: making the seed must not leave an index over the records that have just gone.
            self._indexes.clear()

    # -- for tests and control -------------------------------------------------------------------------

    @classmethod
    def demo_rows(cls, date: dt.date) -> Rows:
        """The 25 demo shipments and what belongs to them, by entity; see `simulator_demo.demo_rows`."""
        return demo_rows(date)

    def load_demo(self, tenant: str = "standard", date: dt.date | None = None) -> list[int]:
        """Put the demo's shipments and orders in; those already there stay as they are. Returns the ids of all its shipments."""
        rows = self.demo_rows(date or self.now().date())
        with self.lock:
            self._load_rows(tenant, rows, keep_existing=True)
            self._load_rows(tenant, demo_order_rows(date or self.now().date()), keep_existing=True)
        return [row["ShipmentId"] for row in rows["Shipment"]]

    def make_shipments(
        self,
        tenant: str = "standard",
        count: int = 1,
        *,
        start_id: int | None = None,
        site: str = "S1",
        state: str = "Completed",
        lines: int = 1,
        handling_units: int = 1,
        own_address: bool = True,
        weights: bool = True,
        **values: Any,
    ) -> list[int]:
        """Make shipments that are ready for a carrier, with order, lines and handling units; returns their ids.

        `values` are columns of the shipment; without `weights` nothing was weighed. Raises ValueError for unknown
        columns, bad values or ids in use, KeyError for an unknown tenant or site.
        """
        with self.lock:
            first = start_id or self._tenant(tenant)["next_shipment_id"]
            taken = self._tenant(tenant)["rows"]["Shipment"]
            if any(f"SHIPMENT_ID={number}^" in taken for number in range(first, first + count)):
                raise ValueError(f"some of the shipments {first} to {first + count - 1} exist already")
            for shipment_id in range(first, first + count):
                rows = shipment_rows(
                    shipment_id,
                    site=site,
                    state=state,
                    planned=self.now(),
                    lines=lines,
                    handling_units=handling_units,
                    own_address=own_address,
                    weights=weights,
                    values=values,
                )
                self._load_rows(tenant, rows)
        return list(range(first, first + count))

    def make_orders(
        self,
        tenant: str = "standard",
        count: int = 1,
        *,
        kind: str = "customer_order",
        first: int | None = None,
        site: str = "S1",
        state: str | None = None,
        lines: int = 1,
        releases: int = 1,
        weights: bool = True,
        **values: Any,
    ) -> list[str]:
        """Make customer or purchase orders that are ready for a carrier; returns their numbers.

        Each line has `releases` deliveries. `values` are columns of the header; without `weights` the lines have none.
        Raises ValueError for unknown columns, bad values or numbers in use, KeyError for an unknown kind, tenant or site.
        """
        entity = ORDER_ENTITIES[kind]
        with self.lock:
            data = self._tenant(tenant)
            taken = [
                int(row["OrderNo"][1:]) for row in data["rows"].setdefault(entity, {}).values() if row["OrderNo"][1:].isdigit()
            ]
            start = first or max([FIRST_ORDER - 1, *(n for n in taken if n >= FIRST_ORDER)]) + 1
            made = []
            for number in range(start, start + count):
                rows = order_rows(
                    kind, number, site=site, state=state, day=self.now(), lines=lines, releases=releases, values=values,
                    weights=weights, custom=data["kind"] == "custom",
                )  # fmt: skip
                self._load_rows(tenant, rows)
                made.append(rows[entity][0]["OrderNo"])
        return made

    def row(self, tenant: str, set_name: str, key: Row) -> Row:
        """A copy of any record, nulls included. Raises KeyError if there is none."""
        with self.lock:
            entity = self._entity(tenant, set_name)
            found = self._tenant(tenant)["rows"].get(entity.name, {})[entity.keyref(key)]
            return {name: found.get(name) for name in entity.columns}

    def add_rows(self, tenant: str, set_name: str, rows: Iterable[Row]) -> list[str]:
        """Add records to a set (or entity) with defaults for what is not given; returns their keyrefs.

        Raises ValueError for an unknown set or column, a value that does not fit, or a key in use.
        """
        with self.lock:
            entity = self._entity(tenant, set_name)
            made = []
            for given in rows:
                number = given.get("ShipmentId") or self._tenant(tenant)["next_shipment_id"]
                usual = shipment_rows(number, site=given.get("Contract") or "S1", state="Completed", planned=self.now())
                row = {**usual.get(entity.name, [{}])[0], **given}
                made.append(self._insert(tenant, self._tenant(tenant), entity, row))
            return made

    def edit(self, tenant: str, set_name: str, key: Row, values: Row, user: str = "ALICE") -> None:
        """Another user changes a record behind our back, whatever its state. Raises ValueError if there is none,
        and for a column that is unknown or part of the key."""
        with self.lock:
            entity = self._entity(tenant, set_name)
            if keys := set(values) & set(entity.keys):
                raise ValueError(f"{', '.join(sorted(keys))} cannot be changed")
            row = self._tenant(tenant)["rows"][entity.name].get(entity.keyref(key))
            if row is None:
                raise ValueError(f"{tenant} has no {entity.name} {entity.keyref(key)}")
            self._write(tenant, entity, row, {n: self._column_value(entity, n, v) for n, v in values.items()}, user)

    def set_options(self, tenant: str, **options: Any) -> None:
        """Change how a tenant behaves. Raises ValueError for a name not in `DEFAULT_OPTIONS`."""
        unknown = set(options) - set(DEFAULT_OPTIONS)
        if unknown:
            raise ValueError(f"unknown options: {', '.join(sorted(unknown))}")
        with self.lock:
            self._tenant(tenant)["options"].update(options)

    def shipment(self, tenant: str, shipment_id: int) -> Row:
        """A copy of a shipment with its ETag. Raises KeyError if there is none."""
        with self.lock:
            row = self._tenant(tenant)["rows"]["Shipment"][f"SHIPMENT_ID={shipment_id}^"]
            columns = schema_for(self._tenant(tenant)["kind"]).entities["Shipment"].columns
            return {"@odata.etag": etag(row), **{name: row.get(name) for name in columns}}

    def tracking_numbers(self, tenant: str, field: str = "AirwayBillNo") -> dict[int, str]:
        """The numbers that stand in the ERP, by shipment; shipments without one are left out."""
        with self.lock:
            rows = self._tenant(tenant)["rows"]["Shipment"].values()
            return {row["ShipmentId"]: row[field] for row in rows if row.get(field)}

    def charges(self, tenant: str = "standard") -> list[Row]:
        """The charges of all customer orders, as they stand, in the order in which they were made."""
        with self.lock:
            rows = self._tenant(tenant)["rows"].get("CustomerOrderCharge", {}).values()
            return [{k: v for k, v in row.items() if not k.startswith("@")} for row in rows]

    def history(self, tenant: str, set_name: str, key: Row) -> list[Row]:
        """Who wrote what to a record since it was made: [{"at", "user", "field", "old", "new"}], oldest first."""
        with self.lock:
            entity = self._entity(tenant, set_name)
            return copy.deepcopy(self._tenant(tenant)["history"].get(entity.name, {}).get(entity.keyref(key), []))

    def control(self, request: SimRequest, name: str) -> SimResponse:
        """The control calls of the module's text; 400 with the reason where one does not make sense."""
        if (request.method, name) == ("GET", "tracking"):
            return SimResponse(200, {t: {str(k): v for k, v in self.tracking_numbers(t).items()} for t in self.state["tenants"]})
        try:
            told = request.json() if request.body else {}
            tenant = told.pop("tenant", "standard")
            match (request.method, name):
                case ("POST", "seed"):
                    return SimResponse(200, {"ok": True, "keys": self.add_rows(tenant, told["set"], told["rows"])})
                case ("POST", "shipments"):
                    return SimResponse(200, {"ok": True, "ids": self.make_shipments(tenant, told.pop("count", 1), **told)})
                case ("POST", "orders"):
                    return SimResponse(200, {"ok": True, "ids": self.make_orders(tenant, told.pop("count", 1), **told)})
                case ("POST", "edit"):
                    self.edit(tenant, told["set"], told["key"], told["values"], told.get("user", "ALICE"))
                    return SimResponse(200, {"ok": True})
                case ("POST", "options"):
                    self.set_options(tenant, **told)
                    return SimResponse(200, {"ok": True, "options": self._tenant(tenant)["options"]})
                case ("POST", "demo"):
                    date = dt.date.fromisoformat(told["date"]) if "date" in told else None
                    faulty = {str(k): v for k, v in DEMO_FAULTY.items()}
                    return SimResponse(200, {"ok": True, "ids": self.load_demo(tenant, date), "faulty": faulty})
        except (KeyError, TypeError, ValueError) as error:
            return SimResponse(400, {"error": f"{type(error).__name__}: {error}"})
        return super().control(request, name)

    # -- records -------------------------------------------------------------------------------------------

    def _tenant(self, name: str) -> dict[str, Any]:
        """A tenant's part of the state. Raises KeyError for an unknown tenant."""
        data: dict[str, Any] = self.state["tenants"][name]
        return data

    def _entity(self, tenant: str, set_name: str) -> Entity:
        entity = schema_for(self._tenant(tenant)["kind"]).entity_of(set_name)
        if entity is None:
            raise ValueError(f"{tenant} has no set {set_name}")
        return entity

    def _column_value(self, entity: Entity, name: str, value: Any) -> Any:
        if name not in entity.columns:
            raise ValueError(f"{entity.name} has no column {name}")
        return entity.columns[name].accept(value)

    def _load_rows(self, tenant: str, rows: Rows, *, keep_existing: bool = False) -> None:
        """Insert rows by entity. Raises ValueError for a key in use unless existing records are to be kept."""
        data = self._tenant(tenant)
        for name, some in rows.items():
            entity = schema_for(data["kind"]).entities[name]
            for row in some:
                # A state file of an earlier release has no place for new entities.
                if not (keep_existing and entity.keyref(row) in data["rows"].setdefault(name, {})):
                    self._insert(tenant, data, entity, row)

    def _insert(self, tenant: str, data: dict[str, Any], entity: Entity, given: Row) -> str:
        """Make a record; returns its keyref. Raises ValueError for an unknown column, a bad value or a key in use."""
        values = {name: self._column_value(entity, name, value) for name, value in given.items()}
        if missing := [k for k in entity.keys if values.get(k) is None]:
            raise ValueError(f"{entity.name} needs {', '.join(missing)}")
        if "Objstate" in entity.columns:
            values.setdefault("Objstate", ENUMS[entity.columns["Objstate"].type][0])
        if "Cf_Receiver_Phone" in entity.columns:
            values.setdefault("Cf_Ready_To_Ship", values["Objstate"] == "Completed")
            values.setdefault("Cf_Receiver_Phone", _PHONES.get(values.get("ReceiverId", "")))
        # Nulls are not kept: a column that is absent reads as null.
        row: Row = {name: value for name, value in values.items() if value is not None}
        keyref = entity.keyref(row)
        rows = data["rows"].setdefault(entity.name, {})  # a state file of an earlier release has no place for new entities
        if keyref in rows:
            raise ValueError(f"{entity.name} {keyref} exists already")
        row |= {"luname": entity.name, "keyref": keyref, "@objid": f"AAAS3kAAE{data['next_objid']:05X}AAAA"}
        data["next_objid"] += 1
        self._bump(entity, row)
        rows[keyref] = row
        for (owner, name, column), index in self._indexes.items():
            if (owner, name) == (tenant, entity.name):
                index.setdefault(row.get(column), []).append(keyref)
        self._log(tenant, data, entity, row, "Insert", "IFSAPP")
        if entity.name == "Shipment":
            data["next_shipment_id"] = max(data["next_shipment_id"], row["ShipmentId"] + 1)
        return keyref

    def _write(self, tenant: str, entity: Entity, row: Row, changes: Row, user: str) -> None:
        """Change a record, note who did it, and give it a new version."""
        history = self._tenant(tenant)["history"].setdefault(entity.name, {}).setdefault(row["keyref"], [])
        at = self.now().isoformat()
        for name, value in changes.items():
            history.append({"at": at, "user": user, "field": name, "old": row.get(name), "new": value})
            if value is None:
                row.pop(name, None)
            else:
                row[name] = value
            self._indexes.pop((tenant, entity.name, name), None)
        self._bump(entity, row)
        self._log(tenant, self._tenant(tenant), entity, row, "Modify", user)

    def _log(self, tenant: str, data: dict[str, Any], entity: Entity, row: Row, kind: str, user: str) -> None:
        """A row of the history log, where logging is on for the logical unit."""
        if entity.name not in data["options"].get("history_logged", ()):
            return
        log = schema_for(data["kind"]).entities["HistoryLog"]
        # A state file of an earlier release has no place for it.
        told = {"LogId": len(data["rows"].setdefault(log.name, {})) + 1, "LuName": entity.name, "Keys": row["keyref"]}
        told |= {"Username": user, "HistoryType": kind, "TimeStamp": stamp(self.now())}
        self._insert(tenant, data, log, told)

    def _bump(self, entity: Entity, row: Row) -> None:
        """A new objversion: the time in whole seconds, at least one more than before (sheet 13)."""
        moment = self.now().replace(microsecond=0)
        if "@version" in row:
            before = dt.datetime.strptime(row["@version"], "%Y%m%d%H%M%S").replace(tzinfo=dt.UTC)
            moment = max(moment, before + dt.timedelta(seconds=1))
        row["@version"] = moment.strftime("%Y%m%d%H%M%S")
        if "LastModifiedDate" in entity.columns:
            row["LastModifiedDate"] = stamp(moment)

    def _find(
        self,
        tenant: str,
        entity: Entity,
        wanted: Filter | None,
        pins: dict[str, frozenset[Any]],
        order: list[tuple[str, bool]],
    ) -> list[Row]:
        """All visible rows that match, in the order asked for, else by key. Nulls sort last, as in Oracle."""
        data = self._tenant(tenant)
        rows: dict[str, Row] = data["rows"].setdefault(entity.name, {})
        narrowing = [*pins.items(), *(wanted.pins.items() if wanted else ())]
        indexed = next(((c, v) for c, v in narrowing if c in _INDEXED), None)
        if indexed:
            index = self._index(tenant, data, entity, indexed[0])
            candidates: Iterable[Row] = [rows[k] for value in indexed[1] for k in index.get(value, ())]
        else:
            candidates = rows.values()
        found = [
            row
            for row in candidates
            if (wanted is None or wanted.matches(row))
            and all(row.get(c) in values for c, values in pins.items())
            and self._visible(data, entity, row)
        ]
        found.sort(key=lambda row: tuple(row[k] for k in entity.keys))
        for column, descending in reversed(order):
            found.sort(key=lambda row, c=column: (row.get(c) is None, row.get(c, 0)), reverse=descending)  # type: ignore[misc]
        return found

    def _index(self, tenant: str, data: dict[str, Any], entity: Entity, column: str) -> dict[Any, list[str]]:
        """Keyrefs by value of a column, built when first asked for."""
        place = (tenant, entity.name, column)
        if place not in self._indexes:
            index: dict[Any, list[str]] = {}
            for keyref, row in data["rows"][entity.name].items():
                index.setdefault(row.get(column), []).append(keyref)
            self._indexes[place] = index
        return self._indexes[place]

    def _visible(self, data: dict[str, Any], entity: Entity, row: Row) -> bool:
        """Rows of companies and sites that the service user is not allowed do not exist for it (sheet 1.10)."""
        if entity.name == "ShipmentLine":
            row = data["rows"]["Shipment"].get(f"SHIPMENT_ID={row['ShipmentId']}^", {})
        elif "Contract" not in entity.columns:
            return True
        contract = row.get("Contract")
        site = data["rows"]["CompanySite"].get(f"CONTRACT={contract}^", {})
        options = data["options"]
        return contract in options["allowed_sites"] and site.get("Company") in options["allowed_companies"]

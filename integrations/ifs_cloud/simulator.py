"""A stateful IFS Cloud over HTTP: token endpoint, projections, OData reads, guarded writes, faults (sheet 13).

Two tenants share the host and are told apart by the token's client: "standard" (realm standard1, client MLC) and
"custom" (realm custom1, client MLCC), the customised one of sheet 13. What they know is in `simulator_entities`, what
they understand of OData in `simulator_odata` and `simulator_filter`, invented records in `simulator_demo`; the token
endpoint is `simulator_tokens`.

Faults (besides the server's own, see `integrations.base.simulator.Fault`), by `/_sim/faults` or by the request header
`X-Sandbox-Fault`; an argument follows a colon:

    401_once              the token is forgotten and the call refused
    412_once              another user changes another column between read and write
    412_ours[:number]     another user fills the tracking column; `412_ours:same` with the number now being sent
    ora_20114             as 412_once, but noticed by the database and reported as ORA-20114
    500_mi_modified_once  nothing done, the same request is wanted again
    423_media             a virus scan holds the file that is being uploaded
    429[:s], 503[:s]      refused, with Retry-After of s seconds where given
    html_error[:status]   a gateway's HTML page (502)

The first six wait for the first call they can apply to (the 412s and ORA-20114: a PATCH; 423: an upload). Asked for
by header they happen once per distinct header value; add `;anything` to make a value distinct. `slow:ms` and `lost_response` are
understood by header too.

Control calls under `/_sim`, all with "tenant": POST `seed` {set, rows}, `shipments` {count, start_id, site, state, lines,
handling_units, own_address, weights, any column}, `orders` {kind: customer_order or purchase_order, count, first, site, state,
lines, releases, weights, any column of the header}, `edit` {set, key, values, user}, `options` {any of `DEFAULT_OPTIONS`},
`demo` {date}; GET `tracking` for all numbers written on shipments. `/_sim/state` holds under
tenants.<t>.history.<entity>.<keyref> who wrote what.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integrations.base.simulator import Fault, SimRequest, SimResponse
from integrations.ifs_cloud import simulator_odata as odata
from integrations.ifs_cloud.simulator_charges import CHARGE_ARRAYS, ChargeDesk
from integrations.ifs_cloud.simulator_console import CONSOLE
from integrations.ifs_cloud.simulator_demo import DEMO_FAULTY
from integrations.ifs_cloud.simulator_entities import READ_ONLY_PROJECTIONS, schema_for
from integrations.ifs_cloud.simulator_files import FILE_ROUTES, FileDesk
from integrations.ifs_cloud.simulator_filter import parse_filter
from integrations.ifs_cloud.simulator_metadata import metadata
from integrations.ifs_cloud.simulator_odata import ODataError, Row, malformed
from integrations.ifs_cloud.simulator_schema import DECIMAL, BadValue, Entity, Schema
from integrations.ifs_cloud.simulator_store import DEFAULT_OPTIONS, IfsStore, etag
from integrations.ifs_cloud.simulator_tokens import TokenDesk

__all__ = ["DEFAULT_OPTIONS", "DEMO_FAULTY", "IfsCloudSimulator"]

_TRACKING_COLUMNS = ("Cf_Tracking_No", "AirwayBillNo", "ProNo")
_ONCE = frozenset({"401_once", "412_once", "412_ours", "ora_20114", "500_mi_modified_once", "423_media"})
_FAULTS = _ONCE | {"429", "503", "html_error"}
_JSON = "application/json;odata.metadata=minimal"
_API = ("/main/", "/int/", "/b2b/")
_PATH = re.compile(
    r"/(?:(?:main|int)/ifsapplications/projection|(?P<entity>int/ifsapplications/entity))/v1/(?P<svc>\w+)\.svc/?(?P<rest>.*)"
)


@dataclass(frozen=True, slots=True)
class _Call:
    """One request to one service of one tenant. `root` is the service's URL without a slash at the end."""

    request: SimRequest
    tenant: str
    data: dict[str, Any]
    schema: Schema
    service: str
    sets: dict[str, str]
    root: str
    query: dict[str, str]

    @property
    def namespace(self) -> str:
        return f"IfsApp.{self.service}"

    @property
    def options(self) -> dict[str, Any]:
        options: dict[str, Any] = self.data["options"]
        return options

    @property
    def numbers_as_text(self) -> bool:
        """Sheet 4.2: the string form of numbers only on request."""
        wanted = self.request.headers.get("accept", "") + self.request.headers.get("content-type", "")
        return "ieee754compatible=true" in wanted.lower()


class IfsCloudSimulator(ChargeDesk, TokenDesk, FileDesk, IfsStore):
    """See the module's text. All public methods may be called from any thread."""

    slug = "ifs_cloud"
    console = CONSOLE

    def __init__(self, *, state_file: Path | None = None) -> None:
        self._waiting: list[tuple[str, str]] = []
        self._here: list[tuple[str, str]] = []
        self._spent: set[str] = set()
        super().__init__(state_file=state_file)

    def no_faults(self, only: str = "") -> None:
        """Behave from now on; also forgets faults that were armed and wait for their moment."""
        with self.lock:
            self._waiting.clear()
            super().no_faults(only)

    def reset(self) -> None:
        """Back to the seed; also forgets waiting faults."""
        with self.lock:
            self._waiting.clear()
            self._spent.clear()
            super().reset()

    def routes(self) -> None:
        self.route("POST", r"/auth/realms/([^/]+)/protocol/openid-connect/token", self._token, label="token")
        self.route(
            "GET", r"/auth/realms/([^/]+)/\.well-known/openid-configuration", self._discovery, label="openid-configuration"
        )
        names: dict[str, set[str]] = {}
        for kind in ("standard", "custom"):
            schema = schema_for(kind)
            for service, sets in (schema.projections | schema.entity_services).items():
                names.setdefault(service, set()).update(sets)
        # One route per set, so that counted calls can be read set by set.
        for service, sets_of in names.items():
            front = rf"/(?:main|int)/ifsapplications/(?:projection|entity)/v1/{service}\.svc"
            self.route("GET", rf"{front}/\$metadata", self._odata, label=f"{service}.svc/$metadata")
            for name in sorted(sets_of):
                self.route("GET", rf"{front}/{name}", self._odata, label=f"{service}.svc/{name}")
                for method in ("GET", "PATCH"):
                    self.route(method, rf"{front}/{name}\([^/]*\)", self._odata, label=f"{service}.svc/{name}(key)")
            self._route_charges(front, service, sets_of)
        for method, pattern, label in FILE_ROUTES:
            self.route(method, rf"/(?:main|int)/ifsapplications/projection/v1/{pattern}", self._odata, label=label)
        for method in ("GET", "POST", "PATCH", "PUT", "DELETE"):
            self.route(method, r"/(?:main|int)/ifsapplications/(?:projection|entity)/.*", self._odata, label="other")

    def not_found(self, request: SimRequest) -> SimResponse:
        return _problem(ODataError(404, "ODP_RESOURCE_NOTFOUND", "Resource not found."))

    def wrong_method(self, request: SimRequest, allowed: list[str]) -> SimResponse:
        return _problem(ODataError(405, "ODP_METHOD_NOT_ALLOWED", "Method not allowed.", headers={"Allow": ", ".join(allowed)}))

    # -- faults and authentication -----------------------------------------------------------------------

    def handle(self, request: SimRequest) -> tuple[SimResponse, list[Fault]]:
        answer, faults = super().handle(request)
        name, arg = _fault(request.headers.get("x-sandbox-fault", ""))
        if name == "slow":
            faults = [*faults, Fault("delay", args={"seconds": float(arg or 1000) / 1000})]
        elif name == "lost_response":
            faults = [*faults, Fault("lost_answer")]
        return answer, faults

    def before(self, request: SimRequest) -> SimResponse | None:
        """Faults that need no record, then the bearer token."""
        self._here = []
        if told := request.headers.get("x-sim-fault"):
            fault = _fault(told)
            if fault[0] not in _FAULTS:
                raise ValueError(f"no such fault: {told}")
            self._waiting.append(fault)
        if told := request.headers.get("x-sandbox-fault"):
            fault = _fault(told)
            if fault[0] not in _FAULTS | {"slow", "lost_response"}:
                return SimResponse(400, {"error": f"the simulator has no fault {told}"})
            if fault[0] not in _ONCE:
                self._here.append(fault)
            elif told not in self._spent:
                self._spent.add(told)
                self._waiting.append(fault)
        if hit := self._take("429", "503"):
            headers = {"Retry-After": hit[1]} if hit[1] else {}
            return _problem(
                ODataError(int(hit[0]), "TOO_MANY_REQUESTS" if hit[0] == "429" else "UNAVAILABLE", "Try later.", headers=headers)
            )
        if hit := self._take("html_error"):
            page = "<html><head><title>Error</title></head><body><h1>The gateway could not serve this request</h1></body></html>"
            return SimResponse(int(hit[1] or 502), page, {"Content-Type": "text/html"})
        if not request.path.startswith(_API):
            return None
        tenant = self._caller(request)
        if tenant and self._take("401_once"):
            del self.state["tokens"][request.headers["authorization"].partition(" ")[2]]
            tenant = None
        if tenant is None:
            return self._unauthorized()
        if self._take("500_mi_modified_once"):
            return _problem(
                ODataError(500, "MI_MODIFIED_ERROR", "The model information has been modified. Send the request again.")
            )
        return None

    def _take(self, *names: str) -> tuple[str, str] | None:
        """The first due fault of these names, taken off its list."""
        for due in (self._here, self._waiting):
            for fault in due:
                if fault[0] in names:
                    due.remove(fault)
                    return fault
        return None

    def _unauthorized(self) -> SimResponse:
        """401 of sheet 13; HTML if any tenant is set so, since nobody knows whose request it is."""
        if any(t["options"]["unauthorized_html"] for t in self.state["tenants"].values()):
            return SimResponse(401, "<html><body>401</body></html>", {"WWW-Authenticate": "Bearer", "Content-Type": "text/html"})
        return _problem(ODataError(401, "UNAUTHORIZED", "Unauthorized.", headers={"WWW-Authenticate": "Bearer"}))

    # -- services ------------------------------------------------------------------------------------------

    def _odata(self, request: SimRequest) -> SimResponse:
        try:
            return self._serve(request)
        except ODataError as error:
            return _problem(error)

    def _serve(self, request: SimRequest) -> SimResponse:
        """Find service and set (sheet 2), then read or write. Raises ODataError."""
        tenant = self._caller(request)
        match = _PATH.fullmatch(request.path)
        if tenant is None or match is None:
            raise ODataError(404, "ODP_RESOURCE_NOTFOUND", "Resource not found.")
        data = self._tenant(tenant)
        schema = schema_for(data["kind"])
        service = match["svc"]
        if match["entity"]:
            active = service in data["options"]["active_entity_services"]
            sets = schema.entity_services.get(service) if active else None
        else:
            sets = schema.projections.get(service)
        if sets is None:
            raise ODataError(404, "ODP_METADATA_NOTFOUND", "Metadata not found.")
        if service in data["options"]["denied_projections"]:
            raise ODataError(403, "ODP_ACCESS_DENIED", f"The user has no access to {service}.")
        root = request.base + request.path[: match.start("rest")].rstrip("/")
        call = _Call(request, tenant, data, schema, service, sets, root, odata.raw_query(request.raw_path))
        if match["rest"] in ("", "$metadata", "$openapi"):
            return self._describe(call, match["rest"])
        segments = list(odata.split_path(match["rest"]))
        (set_name, key_text), deeper = segments[0], segments[1:]
        if (filed := self._file_call(call, segments)) is not None:
            return filed
        if set_name not in sets:
            raise ODataError(404, "ODP_RESOURCE_NOTFOUND", f"Cannot find {set_name} in {service}.")
        entity = schema.shown(service, sets[set_name])
        key = None if key_text is None else odata.parse_key(entity, key_text, call.namespace)
        if request.method == "GET":
            if key is None and not deeper:
                return self._list(call, set_name, entity, {})
            if key is not None and not deeper:
                return self._read(call, set_name, entity, key)
            if key is not None and len(deeper) == 1 and deeper[0][0] in entity.arrays:
                self._offered(call, deeper[0][0])
                parent = self._get(call, entity, key)
                child_set, child, pins = _child(call, entity, deeper[0][0], parent)
                if deeper[0][1] is None:
                    return self._list(call, child_set, child, pins)
                return self._read(call, child_set, child, _child_key(call, child, deeper[0][1], pins))
            raise ODataError(404, "ODP_RESOURCE_NOTFOUND", "Resource not found.")
        if not entity.writable or service in READ_ONLY_PROJECTIONS or (request.method == "PATCH" and key is None):
            raise ODataError(405, "ODP_METHOD_NOT_ALLOWED", "Method not allowed.", headers={"Allow": "GET"})
        if service in call.options["read_only_projections"]:
            raise ODataError(403, "ODP_ACCESS_DENIED", f"The user may not change anything in {service}.")
        body = odata.json_object(request) if request.method in ("POST", "PATCH") else {}
        if key is not None and len(deeper) == 1 and deeper[0][0] in CHARGE_ARRAYS:
            self._offered(call, deeper[0][0])
            order = self._get(call, entity, key)
            child_set, child, pins = _child(call, entity, deeper[0][0], order)
            if request.method == "POST" and deeper[0][1] is None:
                return self._post_charge(call, child_set, child, order, body)
            if request.method == "PATCH" and deeper[0][1] is not None:
                return self._patch_charge(call, child_set, child, _child_key(call, child, deeper[0][1], pins), body)
        if request.method != "PATCH" or key is None or deeper:
            raise odata.not_implemented(f"{request.method} {match['rest']} in this simulator")
        return self._patch(call, set_name, entity, key, body)

    def _describe(self, call: _Call, what: str) -> SimResponse:
        """Service document, `$metadata`, and an `$openapi` stub (sheet 2)."""
        if call.request.method != "GET":
            raise ODataError(405, "ODP_METHOD_NOT_ALLOWED", "Method not allowed.", headers={"Allow": "GET"})
        if what == "$metadata":
            return SimResponse(200, metadata(call.data["kind"], call.service), {"Content-Type": "application/xml"})
        if what == "$openapi":
            paths = {f"/{name}": {"get": {"responses": {"200": {"description": "rows"}}}} for name in call.sets}
            return SimResponse(200, {"openapi": "3.0.0", "info": {"title": call.service, "version": "1"}, "paths": paths})
        sets = [{"name": name, "kind": "EntitySet", "url": name} for name in call.sets]
        return SimResponse(200, {"@odata.context": f"{call.root}/$metadata", "value": sets}, {"Content-Type": _JSON})

    # -- reading -------------------------------------------------------------------------------------------

    def _list(self, call: _Call, set_name: str, entity: Entity, pins: dict[str, frozenset[Any]]) -> SimResponse:
        """Sheet 4.3 and 13: a collection, cut to a page."""
        query = call.query
        if "$skiptoken" in query:
            query = _resume(query)
        _allow(query, "$select $filter $orderby $expand $top $skip $count $format")
        names = odata.parse_select(entity, call.namespace, query["$select"]) if "$select" in query else None
        expand = odata.parse_expand(entity, call.namespace, query["$expand"]) if "$expand" in query else []
        order = odata.parse_order(entity, call.namespace, query["$orderby"]) if "$orderby" in query else []
        skip = odata.whole_number("$skip", query.get("$skip", "0"))
        top = odata.whole_number("$top", query["$top"]) if "$top" in query else None
        wanted = None
        if "$filter" in query:
            lenient = call.options["enum_lenient"]
            wanted = parse_filter(entity, call.namespace, query["$filter"], self.now(), lenient_enums=lenient)
        found = self._find(call.tenant, entity, wanted, pins, order)
        window = found[skip:] if top is None else found[skip : skip + top]
        cap = call.options["page_cap"]
        limit = call.options["page_size"] if top is None else top
        page = window[: limit if cap is None else min(cap, limit)]
        chosen = f"({query['$select']})" if names else ""
        body: dict[str, Any] = {"@odata.context": f"{call.root}/$metadata#{set_name}{chosen}"}
        if query.get("$count") == "true" and call.options["count"]:
            body["@odata.count"] = len(found)
        body["value"] = [self._render(call, entity, row, names, expand) for row in page]
        if len(page) < len(window) and call.options["next_link"]:
            rest = query | {"$skip": str(skip + len(page))} | ({} if top is None else {"$top": str(top - len(page))})
            token = base64.urlsafe_b64encode(json.dumps(rest).encode()).decode().rstrip("=")
            path = call.request.path.rpartition("/v1/")[2]
            start = f"{call.root.rpartition('/')[0]}/" if call.options["next_link"] == "absolute" else ""
            body["@odata.nextLink"] = f"{start}{path}?$skiptoken={token}"
        return SimResponse(200, body, {"Content-Type": _JSON})

    def _read(self, call: _Call, set_name: str, entity: Entity, key: Row) -> SimResponse:
        _allow(call.query, "$select $expand $format")
        row = self._get(call, entity, key)
        names = odata.parse_select(entity, call.namespace, call.query["$select"]) if "$select" in call.query else None
        expand = odata.parse_expand(entity, call.namespace, call.query["$expand"]) if "$expand" in call.query else []
        return self._single(call, set_name, entity, row, names, expand)

    def _single(
        self,
        call: _Call,
        set_name: str,
        entity: Entity,
        row: Row,
        names: list[str] | None = None,
        expand: Iterable[tuple[str, str | None]] = (),
        status: int = 200,
    ) -> SimResponse:
        context = {"@odata.context": f"{call.root}/$metadata#{set_name}/$entity"}
        headers = {"Content-Type": _JSON, "ETag": etag(row)}
        return SimResponse(status, context | self._render(call, entity, row, names, expand), headers)

    def _render(
        self, call: _Call, entity: Entity, row: Row, names: list[str] | None, expand: Iterable[tuple[str, str | None]]
    ) -> dict[str, Any]:
        """A row as JSON, nulls included; every row carries its ETag, also under $select (sheet 4.4)."""
        out: dict[str, Any] = {"@odata.etag": etag(row)}
        for name in names if names is not None else entity.columns:
            out[name] = row.get(name)
        if call.numbers_as_text:
            for name in out:
                if name in entity.columns and entity.columns[name].type == DECIMAL and out[name] is not None:
                    out[name] = str(out[name])
        for name, select in expand:
            navigation = entity.references[name]
            target = call.schema.entities[navigation.target]
            sub = odata.parse_select(target, call.namespace, select) if select else None
            wanted = {theirs: row.get(own) for own, theirs in navigation.on}
            other = call.data["rows"][target.name].get(target.keyref(wanted))
            visible = other is not None and self._visible(call.data, target, other)
            out[name] = self._render(call, target, other, sub, ()) if visible else None
        return out

    def _get(self, call: _Call, entity: Entity, key: Row) -> Row:
        """The record, 404 if there is none or it is hidden from the user (sheet 6)."""
        row: Row | None = call.data["rows"].get(entity.name, {}).get(entity.keyref(key))
        if row is None or not self._visible(call.data, entity, row):
            raise ODataError(404, "ITEM_NOT_EXIST", f"The {entity.name} object does not exist.")
        return row

    # -- writing -------------------------------------------------------------------------------------------

    def _patch(self, call: _Call, set_name: str, entity: Entity, key: Row, body: dict[str, Any]) -> SimResponse:
        """Sheet 5.1, 5.2 and 13. Whatever is refused leaves the record as it was."""
        changes, database_refusal = self._accept(call, entity, body)
        given = call.request.headers.get("if-match")
        row = call.data["rows"][entity.name].get(entity.keyref(key))
        how = call.options["missing_if_match"]
        if row is None:
            if given is None and how == "upsert":
                return self._upsert(call, set_name, entity, key, changes, database_refusal)
            raise ODataError(404, "ITEM_NOT_EXIST", f"The {entity.name} object does not exist.")
        if not self._visible(call.data, entity, row):
            raise ODataError(403, "ODP_ACCESS_DENIED", "The user is not allowed to change records of this site.")
        if given is None and how != "upsert":
            raise ODataError(int(how), "ODP_MISSING_PRECONDITION", "The If-Match header is missing.")
        if fault := self._take("412_once", "412_ours"):
            self._interfere(call, entity, row, fault, changes)
        if given is not None and given.strip() != "*" and etag(row) not in [tag.strip() for tag in given.split(",")]:
            # The sheet has no name for this code either; the status is what clients must go by (5.2).
            raise ODataError(412, "ODP_PRECONDITION_FAILED", "The record has been changed since it was read.")
        if fault := self._take("ora_20114"):
            self._interfere(call, entity, row, fault, changes)
            text = f"The {entity.name} object has been modified by another user. Refresh the data and try again."
            raise _database_error(call, "20114", f"{entity.name}.MODIFIED: {text}")
        if row.get("Objstate") in entity.final:
            text = f"The update is not allowed for a {entity.name} in state {row['Objstate']}."
            raise _database_error(call, "20130", f"{entity.name}.STATE: {text}")
        for name in list(changes):
            if not entity.columns[name].writable:
                if changes[name] != row.get(name):
                    raise _database_error(call, "20121", f"{entity.name}.UPDATE: The field {name} may not be updated.")
                del changes[name]
        if database_refusal:
            raise database_refusal
        self._write(call.tenant, entity, row, changes, call.data["client_id"])
        if call.options["patch_answer"] == 204:
            return SimResponse(204)
        return self._single(call, set_name, entity, row)

    def _upsert(
        self, call: _Call, set_name: str, entity: Entity, key: Row, changes: Row, refusal: ODataError | None
    ) -> SimResponse:
        """PATCH without If-Match on a key that is absent makes the record on such entities (sheet 1.6)."""
        if refusal:
            raise refusal
        row = {**changes, **key}
        if "Contract" in entity.columns and not self._visible(call.data, entity, row):
            raise ODataError(403, "ODP_ACCESS_DENIED", "The user is not allowed to make records of this site.")
        keyref = self._insert(call.tenant, call.data, entity, row)
        return self._single(call, set_name, entity, call.data["rows"][entity.name][keyref], status=201)

    def _accept(self, call: _Call, entity: Entity, body: dict[str, Any]) -> tuple[Row, ODataError | None]:
        """The body's columns as stored, and what the database will say to them. Raises ODataError for a bad body."""
        changes: Row = {}
        refusal: ODataError | None = None
        for name, value in body.items():
            if name.startswith("@") or "@odata." in name:
                continue
            column = entity.columns.get(name)
            if column is None:
                raise malformed(f"The property '{name}' is not defined in type '{call.namespace}.{entity.name}'.")
            try:
                changes[name] = column.accept(value, numbers_as_text=call.numbers_as_text)
            except BadValue as error:
                if error.ora is None:
                    raise malformed(str(error)) from error
                refusal = _database_error(call, error.ora, str(error))
        forwarder = changes.get("ForwardAgentId")
        if forwarder is not None and forwarder not in call.data["forwarders"]:
            refusal = _database_error(call, "20125", f"ForwarderInfo.NOTEXIST: The forwarder {forwarder} does not exist.")
        return changes, refusal

    def _interfere(self, call: _Call, entity: Entity, row: Row, fault: tuple[str, str], changes: Row) -> None:
        """Another user is quicker: a column of no interest to us, or the very one we are writing."""
        name, arg = fault
        if name != "412_ours":
            self._write(call.tenant, entity, row, {entity.touch: f"touched {self.now():%H:%M:%S.%f}"[:18]}, "ALICE")
            return
        known = [c for c in _TRACKING_COLUMNS if c in entity.columns]
        field = next((c for c in known if c in changes), "AirwayBillNo" if "AirwayBillNo" in known else entity.touch)
        value = changes.get(field) if arg == "same" else arg or "TYPED-BY-ALICE"
        self._write(call.tenant, entity, row, {field: value}, "ALICE")


def _child(call: _Call, entity: Entity, array: str, parent: Row) -> tuple[str, Entity, dict[str, frozenset[Any]]]:
    """Set, entity and pinned columns of a navigation array of one record."""
    navigation = entity.arrays[array]
    pins = {theirs: frozenset({parent.get(own)}) for own, theirs in navigation.on}
    child_set = next(name for name, target in call.sets.items() if target == navigation.target)
    return child_set, call.schema.entities[navigation.target], pins


def _child_key(call: _Call, child: Entity, text: str, pins: dict[str, frozenset[Any]]) -> Row:
    """The key of one row of an array. Raises ODataError for a row that hangs on another record."""
    key: Row = odata.parse_key(child, text, call.namespace)
    if any(key.get(name) not in values for name, values in pins.items()):
        raise ODataError(404, "ITEM_NOT_EXIST", f"The {child.name} object does not exist.")
    return key


def _problem(error: ODataError) -> SimResponse:
    return SimResponse(error.status, error.body(), {"Content-Type": "application/json", **error.headers})


def _fault(told: str) -> tuple[str, str]:
    """`429:5;nonce` as ("429", "5")."""
    name, _, arg = told.partition(";")[0].strip().partition(":")
    return name, arg


def _database_error(call: _Call, ora: str, text: str) -> ODataError:
    """Sheet 6: the human text is in the details, prefixed by its ORA code."""
    return odata.database_error(call.options["database_error_status"], ora, text)


def _resume(query: dict[str, str]) -> dict[str, str]:
    """The query a `$skiptoken` stands for. Raises ODataError for a token that is not ours."""
    token = query["$skiptoken"]
    try:
        resumed = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except ValueError as error:
        raise malformed("The value of the query option '$skiptoken' is invalid.") from error
    return {str(k): str(v) for k, v in resumed.items()}


def _allow(query: dict[str, str], names: str) -> None:
    """Refuse system query options that do not belong here; other names are the caller's own business in OData."""
    for name in query:
        if name in ("$search", "$apply", "$compute"):
            raise odata.not_implemented(name)
        if name.startswith("$") and name not in names.split():
            raise malformed(f"The query option '{name}' is not allowed here.")
    if query.get("$count", "false") not in ("true", "false"):
        raise malformed("The value of the query option '$count' is invalid.")

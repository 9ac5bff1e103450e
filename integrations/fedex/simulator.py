"""The simulated FedEx: OAuth, Ship, Rate, Track and Address Validation as sheet 18 wants them: strict, and able to misbehave.

Written from the vendor's facts (`apis/fedex.md`, official OpenAPI files), not from our client's habits. It bills every
create it accepts and never de-duplicates, so that a double purchase shows. Labels are not stored: their bytes
are made again from the facts.

Logins after a reset (client id / secret: account):

    demo-key / demo-secret: 123456789     demo-key-2 / demo-secret-2: 987654321
    track-key / track-secret: Track only, for 123456789

Control plane of its own, next to that of `integrations.base.simulator`:

    POST /_sim/options        any of `OPTIONS`, e.g. {"expires_in": 60, "references_visible_after_s": 30}
    POST /_sim/scan           {"tracking_number", "event", "all_pieces"?, "received_by"?, "exception_code"?,
                              "exception_description"?, "at_shipper"?}; events: `simulator_tracking.EVENTS`
    POST /_sim/expire_tokens  every token is expired from now on

Faults of its own (set like the server's): 401_once (argument `shape` 1, 2 or 3), 429_window, 429_daily, error_in_200:
nothing is done. On creates, the work is done and billed: rating_missing, label_garbage, label_missing, warning_alert,
no_tracking_number.
"""

from __future__ import annotations

import base64
import datetime as dt
import re
import secrets
import uuid
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from integrations.base.simulator import SimRequest, SimResponse
from integrations.fedex import simulator_addresses as addresses
from integrations.fedex import simulator_checks as checks
from integrations.fedex import simulator_rating as rating
from integrations.fedex import simulator_tracking as tracking
from integrations.fedex.simulator_answers import alert, label, link_key, row_of, shipment_json
from integrations.fedex.simulator_checks import as_dict, as_list, as_text, error, malformed
from integrations.fedex.simulator_console import CONSOLE
from integrations.fedex.simulator_door import OPTIONS, PROJECTS, Door

_FIRST_SERIAL = 79_460_000_001
_LINK_LIFE = dt.timedelta(hours=24)
_DOCUMENT_TYPES = {"PDF": "application/pdf", "PNG": "image/png", "ZPLII": "text/plain", "EPL2": "text/plain"}


@dataclass(frozen=True, slots=True)
class MadeShipment:
    """One shipment that was bought here, cancelled or not. `references` as (Ship's type, value), once each."""

    master: str
    tracking_numbers: tuple[str, ...]
    references: tuple[tuple[str, str], ...]
    account: str
    recipient: dict[str, Any]
    service: str
    created_at: dt.datetime
    voided: bool


def twelve_digits(serial: int) -> str:
    """An Express number: 11 digits and their check digit (weights 3, 1, 7 from the left, mod 11, mod 10; sheet 18)."""
    digits = f"{serial:011d}"
    total = sum(int(digit) * (3, 1, 7)[place % 3] for place, digit in enumerate(digits))
    return f"{digits}{total % 11 % 10}"


def fifteen_digits(serial: int) -> str:
    """A Ground number: 14 digits and the GS1 check digit (weight 3 on the rightmost; sheet 18)."""
    digits = f"449{serial:011d}"
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits)))
    return f"{digits}{-total % 10}"


class FedexSimulator(Door):
    """See the module. Everything it knows is in `state`, which is JSON-able and may be kept in a file."""

    slug = "fedex"
    console = CONSOLE

    # -- seed, routes, control ---------------------------------------------------------------------------

    def seed(self) -> dict[str, Any]:
        return {
            "options": dict(OPTIONS),
            "projects": PROJECTS,
            "serial": _FIRST_SERIAL,
            "tokens": {},
            "auth": {},
            "windows": {},
            "days": {},
            "shipments": {},
            "packages": {},
            "references": {},
            "jobs": {},
            "remarks": [],
            "counts": {"made": 0, "refused": 0, "voided": 0, "token_requests": 0},
        }

    def routes(self) -> None:
        self.route("POST", "/oauth/token", self._token)
        self.route("POST", "/ship/v1/shipments", self._create)
        self.route("PUT", "/ship/v1/shipments/cancel", self._cancel)
        self.route("POST", "/ship/v1/shipments/results", self._results)
        self.route("POST", "/ship/v1/shipments/packages/validate", self._validate)
        self.route("POST", "/rate/v1/rates/quotes", self._quote)
        self.route("POST", "/address/v1/addresses/resolve", self._resolve_addresses)
        self.route("POST", "/track/v1/trackingnumbers", self._track_numbers)
        self.route("POST", "/track/v1/trackingdocuments", self._track_documents)
        self.route("POST", "/track/v1/referencenumbers", self._track_reference)
        self.route("GET", "/document/v1/cache/retrieve/([^/]+)", self._document)

    def reset(self) -> None:
        """Back to the seed, except that numbers once given out never come again."""
        with self.lock:
            serial = self.state["serial"]
            super().reset()
            self.state["serial"] = serial
            self.save(force=True)

    def control(self, request: SimRequest, name: str) -> SimResponse:
        told = as_dict(request.json()) if request.body else {}
        if request.method != "POST":
            return super().control(request, name)
        match name:
            case "options":
                return self._set_options(told)
            case "scan":
                return self._scan(told)
            case "expire_tokens":
                for token in self.state["tokens"].values():
                    token["expires_at"] = self.now().timestamp()
                return SimResponse(200, {"ok": True})
        return super().control(request, name)

    def _set_options(self, told: dict[str, Any]) -> SimResponse:
        wrong = sorted(set(told) - set(OPTIONS))
        if wrong:
            return SimResponse(400, {"error": f"unknown options {wrong}", "known": sorted(OPTIONS)})
        try:
            ZoneInfo(told.get("timezone", "UTC"))
        except (ZoneInfoNotFoundError, ValueError, TypeError):
            return SimResponse(400, {"error": "unknown timezone"})
        self.state["options"].update(told)
        return SimResponse(200, self.state["options"])

    def _scan(self, told: dict[str, Any]) -> SimResponse:
        number, event = as_text(told.get("tracking_number")), as_text(told.get("event"))
        package = self.state["packages"].get(number)
        if package is None or event not in tracking.EVENTS:
            return SimResponse(400, {"error": "unknown tracking_number or event", "events": sorted(tracking.EVENTS)})
        facts = self.state["shipments"][package["master"]]
        details = ("received_by", "exception_code", "exception_description", "at_shipper")
        scan = {"event": event, "at": self._stamp()} | {key: told[key] for key in details if key in told}
        for one in facts["numbers"] if told.get("all_pieces") else [number]:
            self.state["packages"][one]["scans"].append(scan)
        return SimResponse(200, {"ok": True})

    # -- for tests and drills ------------------------------------------------------------------------------

    def options(self, **values: Any) -> None:
        """Set options of `OPTIONS`. KeyError for one that does not exist, ValueError for a value that cannot be."""
        wrong = set(values) - set(OPTIONS)
        if wrong:
            raise KeyError(sorted(wrong))
        with self.lock:
            if self._set_options(values).status != 200:
                raise ValueError(values)

    def scan(self, tracking_number: str, event: str, **details: Any) -> None:
        """Add a scan as `POST /_sim/scan` does. ValueError for an unknown number or event."""
        with self.lock:
            if self._scan({"tracking_number": tracking_number, "event": event, **details}).status != 200:
                raise ValueError((tracking_number, event))
            self.save()

    def shipments(self) -> list[MadeShipment]:
        """Everything ever bought, oldest first, cancelled ones included."""
        with self.lock:
            return [
                MadeShipment(
                    master=facts["master"],
                    tracking_numbers=tuple(facts["numbers"]),
                    references=tuple(dict.fromkeys(_references(facts))),
                    account=facts["account"],
                    recipient=dict(facts["recipient"]),
                    service=facts["service"],
                    created_at=dt.datetime.fromisoformat(facts["created_at"]),
                    voided=facts["voided_at"] is not None,
                )
                for facts in self.state["shipments"].values()
            ]

    def made_by_reference(self) -> dict[str, list[str]]:
        """Reference value -> master numbers of all shipments (cancelled too) that bear it, oldest first."""
        found: dict[str, list[str]] = {}
        for made in self.shipments():
            for value in dict.fromkeys(value for _, value in made.references):
                found.setdefault(value, []).append(made.master)
        return found

    def live_labels(self) -> int:
        """Labels (one per package) of shipments that are not cancelled."""
        return sum(len(made.tracking_numbers) for made in self.shipments() if not made.voided)

    @property
    def creates(self) -> int:
        """Shipments bought since the last reset: accepted creates, cancelled ones included."""
        return int(self.state["counts"]["made"])

    @property
    def token_requests(self) -> int:
        """Calls of the token endpoint since the last reset, refused ones included."""
        return int(self.state["counts"]["token_requests"])

    @property
    def remarks(self) -> list[str]:
        """Breaches of the vendor's written advice that it lets pass: "path: what" (sheet 1)."""
        return list(self.state["remarks"])

    # -- Ship ----------------------------------------------------------------------------------------------------

    def _create(self, request: SimRequest) -> SimResponse:
        """Sheet 5 to 7: check, number, bill. The same request again makes and bills another shipment."""
        body = self._body(request)
        if body is None:
            self.state["counts"]["refused"] += 1
            return self._not_json(request)
        errors = checks.ship_errors(
            body, self._account_check(request), self._today(), long_references=self._option("long_references")
        )
        if errors:
            self.state["counts"]["refused"] += 1
            return self._refuse(request, 400, *errors)
        facts = self._book(body)
        if len(facts["numbers"]) > self._option("async_above"):
            job = str(uuid.uuid4())
            self.state["jobs"][job] = facts["master"]
            return self._ok(request, {"jobId": job, "alerts": []})
        fault, _ = self._fault(request)
        shipment = shipment_json(facts, request.base, fault, recorded=self._option("names") != "schema")
        return self._ok(request, {"transactionShipments": [shipment], "alerts": list(shipment["alerts"])})

    def _book(self, body: dict[str, Any]) -> dict[str, Any]:
        """Give out numbers and keep the facts; from here on the shipment exists and costs money."""
        shipment = body["requestedShipment"]
        service = rating.SERVICES[shipment["serviceType"]]
        today = self._today()
        asked = checks.as_date(shipment.get("shipDatestamp"))
        alerts: list[dict[str, Any]] = []
        if asked and asked < today - dt.timedelta(days=1):
            alerts.append(alert("WARNING", "SHIPMENT.SHIPDATESTAMP.INVALID", "The ship date is past and was replaced by today."))
            asked = None
        rows = [
            {
                "weight": row["weight"],
                "dimensions": row.get("dimensions"),
                "groupPackageCount": row.get("groupPackageCount", 1),
                "grouped": "groupPackageCount" in row,
                "references": checks.cut_references(row),
                "signature": as_dict(row.get("packageSpecialServices")).get("signatureOptionType") or "SERVICE_DEFAULT",
            }
            for row in checks.rows_of(shipment)
        ]
        row_of_piece = [index for index, row in enumerate(rows) for _ in range(row["groupPackageCount"])]
        numbers = [self._next_number(service) for _ in row_of_piece]
        documents = as_dict(shipment.get("shippingDocumentSpecification"))
        asked_rates = as_list(shipment.get("rateRequestType")) or ["ACCOUNT"]
        facts: dict[str, Any] = {
            "master": numbers[0],
            "numbers": numbers,
            "account": body["accountNumber"]["value"],
            "service": service.key,
            "carrier": service.carrier,
            "packaging": shipment["packagingType"],
            "ship_date": (asked or today).isoformat(),
            "created_at": self.now().isoformat(),
            "voided_at": None,
            "shipper": {"contact": shipment["shipper"]["contact"], "address": shipment["shipper"]["address"]},
            "recipient": {"contact": shipment["recipients"][0]["contact"], "address": shipment["recipients"][0]["address"]},
            "image_type": shipment["labelSpecification"]["imageType"],
            "links": body["labelResponseOptions"] == "URL_ONLY",
            # Who does not pay is not told the price (sheet 6: common for bill-to RECIPIENT and THIRD_PARTY).
            "rated": shipment["shippingChargesPayment"]["paymentType"] == "SENDER" and asked_rates != ["NONE"],
            "list_rates": "LIST" in asked_rates,
            "customs": shipment.get("customsClearanceDetail"),
            "invoice": "COMMERCIAL_INVOICE" in as_list(documents.get("shippingDocumentTypes")),
            "rows": rows,
            "row_of": row_of_piece,
            "alerts": alerts,
        }
        self.state["shipments"][facts["master"]] = facts
        for piece, (number, row) in enumerate(zip(numbers, row_of_piece, strict=True), 1):
            scans = [{"event": "OC", "at": self._stamp()}]
            self.state["packages"][number] = {"master": facts["master"], "piece": piece, "scans": scans}
            for value in {reference["value"] for reference in rows[row]["references"]}:
                self.state["references"].setdefault(value, []).append(number)
        self.state["counts"]["made"] += 1
        return facts

    def _next_number(self, service: rating.Service) -> str:
        serial = self.state["serial"]
        self.state["serial"] = serial + 1
        ground = service.carrier == "FDXG" and self._option("ground_digits") == 15
        return fifteen_digits(serial) if ground else twelve_digits(serial)

    def _document(self, request: SimRequest, key: str) -> SimResponse:
        """A label by its link: no token, alive for 24 hours (sheet 5.1)."""
        number = key.partition("-")[0]
        package = self.state["packages"].get(number)
        facts = self.state["shipments"][package["master"]] if package else None
        if facts is None or not secrets.compare_digest(link_key(facts, number).encode(), key.encode()):
            return self.not_found(request)
        if self.now() - dt.datetime.fromisoformat(facts["created_at"]) > _LINK_LIFE:
            return self.not_found(request)
        content = label(facts, package["piece"])
        return SimResponse(200, content, {"Content-Type": _DOCUMENT_TYPES[facts["image_type"]]})

    def _results(self, request: SimRequest) -> SimResponse:
        """Sheet 7. Too early: an answer without shipments and with a NOTE; the vendor does not publish its form."""
        body = self._body(request)
        if body is None:
            return self._not_json(request)
        errors = checks.account_errors(body.get("accountNumber"), self._account_check(request))
        if errors:
            return self._refuse(request, 400, *errors)
        facts = self.state["shipments"].get(self.state["jobs"].get(as_text(body.get("jobId")), ""))
        if facts is None or facts["account"] != body["accountNumber"]["value"]:
            return self._refuse(request, 400, error("SHIPMENT.JOBID.INVALID", "This job is not known."))
        if self._age_s(facts) < self._option("async_ready_after_s"):
            note = alert("NOTE", "SHIPMENT.JOB.PENDING", "The job is not finished yet.")
            return self._ok(request, {"transactionShipments": [], "alerts": [note]})
        fault, _ = self._fault(request)
        shipment = shipment_json(facts, request.base, fault, recorded=self._option("names") != "schema")
        return self._ok(request, {"transactionShipments": [shipment], "alerts": list(shipment["alerts"])})

    def _cancel(self, request: SimRequest) -> SimResponse:
        """Sheet 8: the whole shipment by its master number, until the first scan of the carrier."""
        body = self._body(request)
        if body is None:
            return self._not_json(request)
        errors = checks.account_errors(body.get("accountNumber"), self._account_check(request))
        if errors:
            return self._refuse(request, 400, *errors)
        facts = self.state["shipments"].get(as_text(body.get("trackingNumber")))
        if facts is None or body.get("deletionControl", "DELETE_ALL_PACKAGES") != "DELETE_ALL_PACKAGES":
            return self._refuse(
                request, 400, error("TRACKINGNUMBER.ENTERED.INVALID", "This tracking number cannot be cancelled.")
            )
        if facts["account"] != body["accountNumber"]["value"]:
            return self._refuse(request, 400, error("SHIPMENT.USER.UNAUTHORIZED", "This shipment is not yours."))
        if facts["voided_at"]:
            return self._refuse(
                request, 400, error("CANCELSHIPMENT.TRACKINGNUMBER.DELETED", "The shipment is cancelled already.")
            )
        packages = [self.state["packages"][number] for number in facts["numbers"]]
        if any(scan["event"] not in ("OC", "CA") for package in packages for scan in package["scans"]):
            return self._refuse(request, 400, error("TRACKINGIDS.TRACKINGNUMBER.CLOSED", "The shipment is with FedEx already."))
        facts["voided_at"] = self.now().isoformat()
        self.state["counts"]["voided"] += 1
        for package in packages:
            package["scans"].append({"event": "CA", "at": self._stamp()})
        text = "message" if self._option("names") == "schema" else "successMessage"
        return self._ok(
            request,
            {"cancelledShipment": True, "cancelledHistory": True, text: "The shipment has been cancelled.", "alerts": []},
        )

    def _validate(self, request: SimRequest) -> SimResponse:
        """Sheet 9: checks only, no number, no bill. The account may be left out."""
        body = self._body(request)
        if body is None:
            return self._not_json(request)
        errors = checks.ship_errors(
            body,
            self._account_check(request),
            self._today(),
            only_validate=True,
            long_references=self._option("long_references"),
        )
        if errors:
            return self._refuse(request, 400, *errors)
        return self._ok(request, {"alerts": [alert("NOTE", "SHIPMENT.VALIDATION.SUCCESS", "The shipment is valid.")]})

    # -- Rate ----------------------------------------------------------------------------------------------------

    def _quote(self, request: SimRequest) -> SimResponse:
        """Sheet 10."""
        body = self._body(request)
        if body is None:
            return self._not_json(request)
        errors = checks.rate_errors(body, self._account_check(request), self._today())
        if errors:
            return self._refuse(request, 400, *errors)
        shipment = body["requestedShipment"]
        if "rateRequestControlParameters" in shipment:
            self._remark("requestedShipment.rateRequestControlParameters: ignored, belongs beside requestedShipment")
        origin, destination = (shipment[who]["address"]["countryCode"] for who in ("shipper", "recipient"))
        wanted = as_text(shipment.get("serviceType"))
        carriers = as_list(body.get("carrierCodes"))
        services = [rating.SERVICES[wanted]] if wanted else rating.offered(origin, destination)
        services = [service for service in services if not carriers or service.carrier in carriers]
        fault, _ = self._fault(request)
        if not services or fault == "rating_missing":
            return self._refuse(request, 400, error("RATING.QUOTE.NOTAVAILABLE", "There are no rates for this request."))
        times = as_dict(body.get("rateRequestControlParameters")).get("returnTransitTimes") is True
        day = checks.as_date(shipment.get("shipDateStamp")) or self._today()
        names = self._option("names")
        alerts = (
            [alert("WARNING", "ORIGIN.STATEORPROVINCECODE.CHANGED", "The state was changed.")] if fault == "warning_alert" else []
        )
        return self._ok(
            request,
            {
                "rateReplyDetails": [rating.quote(s, shipment, day, transit_times=times, names=names) for s in services],
                "quoteDate": day.isoformat(),
                ("isEncoded" if names == "schema" else "encoded"): False,
                "alerts": alerts,
            },
        )

    # -- Address Validation --------------------------------------------------------------------------------------

    def _resolve_addresses(self, request: SimRequest) -> SimResponse:
        """Sheet 15; what decides stands in `simulator_addresses`."""
        body = self._body(request)
        if body is None:
            return self._not_json(request)
        errors = addresses.request_errors(body)
        if errors:
            return self._refuse(request, 400, *errors)
        names = self._option("names")
        found = [addresses.resolve(as_dict(row), names=names) for row in body["addressesToValidate"]]
        canned = [alert("NOTE", "VIRTUAL.RESPONSE", "This is a Virtual Response.")] if self._option("virtual_addresses") else []
        return self._ok(request, {"resolvedAddresses": found, "alerts": canned})

    # -- Track ---------------------------------------------------------------------------------------------------

    def _age_s(self, facts: dict[str, Any]) -> float:
        return (self.now() - dt.datetime.fromisoformat(facts["created_at"])).total_seconds()

    def _track_numbers(self, request: SimRequest) -> SimResponse:
        """Sheet 11. A bad form of the request is refused as a whole; an unknown number only for itself."""
        body = self._body(request)
        if body is None:
            return self._not_json(request)
        asked = [as_dict(info) for info in as_list(body.get("trackingInfo"))]
        numbers = [as_text(as_dict(info.get("trackingNumberInfo")).get("trackingNumber")) for info in asked]
        if not numbers or not all(numbers):
            return self._refuse(request, 400, error("TRACKING.TRACKINGNUMBER.EMPTY", "Say which number to track."))
        if not isinstance(body.get("includeDetailedScans"), bool):
            return self._refuse(request, 400, malformed())
        if len(numbers) > 30:
            return self._refuse(request, 400, error("TRACKING.TRACKINGNUMBERS.LIMITEXCEEDED", "At most 30 numbers at a time."))
        if not all(re.fullmatch(r"[A-Za-z0-9]{8,40}", number) for number in numbers):
            return self._refuse(request, 400, error("TRACKING.TRACKINGNUMBER.INVALID", "A tracking number has a wrong form."))
        wrong = [problem for info in asked for problem in tracking.range_errors(info, self._today())]
        if wrong:
            return self._refuse(request, 400, wrong[0])
        detailed = body.get("includeDetailedScans") is True
        found = [self._track_one(number, info, detailed=detailed) for number, info in zip(numbers, asked, strict=True)]
        return self._ok(request, {"completeTrackResults": found, "alerts": []})

    def _track_one(self, number: str, info: dict[str, Any], *, detailed: bool) -> dict[str, Any]:
        package = self.state["packages"].get(number)
        facts = self.state["shipments"][package["master"]] if package else None
        hidden = facts is None or self._age_s(facts) < self._option("track_visible_after_s")
        if facts is not None and not hidden:
            day = dt.date.fromisoformat(facts["ship_date"])
            begin, end = checks.as_date(info.get("shipDateBegin")), checks.as_date(info.get("shipDateEnd"))
            unique = as_text(as_dict(info.get("trackingNumberInfo")).get("trackingNumberUniqueId"))
            hidden = bool(
                (begin and day < begin) or (end and day > end) or (unique and unique != tracking.unique_id(number, facts))
            )
        if facts is None or hidden:
            return tracking.not_found(number, "TRACKING.TRACKINGNUMBER.NOTFOUND", "This tracking number cannot be found.")
        result = tracking.track_result(number, facts, package, detailed=detailed, names=self._option("names"))
        return {"trackingNumber": number, "trackResults": [result]}

    def _track_documents(self, request: SimRequest) -> SimResponse:
        """Sheet 13: the signature proof of delivery of one delivered parcel of the caller's account, as PDF."""
        body = self._body(request)
        if body is None:
            return self._not_json(request)
        detail = as_dict(body.get("trackDocumentDetail"))
        asked = [as_dict(row) for row in as_list(body.get("trackDocumentSpecification"))]
        if not 0 < len(asked) <= 30 or detail.get("documentType") != "SIGNATURE_PROOF_OF_DELIVERY":
            return self._refuse(request, 400, error("TRACKINGDOCUMENT.DOCUMENTTYPE.INVALID", "Say which document."))
        made = []
        for row in asked:
            number = as_text(as_dict(row.get("trackingNumberInfo")).get("trackingNumber"))
            package = self.state["packages"].get(number)
            if package is None or self._account_check(request)(as_text(row.get("accountNumber"))):
                return self._refuse(
                    request, 400, error("TRACKING.TRACKINGNUMBER.NOTFOUND", "This tracking number cannot be found.")
                )
            if not any(scan["event"] == "DL" for scan in package["scans"]):
                return self._refuse(
                    request, 400, error("TRACKINGDOCUMENT.DOCUMENT.UNAVAILABLE", "This document is not available.")
                )
            made.append(base64.b64encode(tracking.proof_pdf(number, package)).decode())
        told = {"documentType": "SIGNATURE_PROOF_OF_DELIVERY", "documentFormat": "PDF", "alerts": []}
        names = "document" if self._option("names") == "schema" else "documents"
        return self._ok(request, told | {"localization": {"languageCode": "en", "localeCode": "US"}, names: made})

    def _track_reference(self, request: SimRequest) -> SimResponse:
        """Sheet 12. Absence is an answer 200 that echoes the reference; young shipments are absent too."""
        body = self._body(request)
        if body is None:
            return self._not_json(request)
        asked = as_dict(body.get("referencesInformation"))
        today = self._today()
        errors = tracking.reference_errors(asked, today)
        if errors:
            return self._refuse(request, 400, *errors)
        value = as_text(asked["value"])
        numbers = [number for number in self.state["references"].get(value, []) if self._matches(number, asked, today)]
        accounts = {self.state["shipments"][self.state["packages"][number]["master"]]["account"] for number in numbers}
        if len(accounts) > 1:
            found = [tracking.not_found(value, "TRACKING.DATA.NOTUNIQUE", "More than one shipper matches; say which account.")]
        elif numbers:
            detailed = body.get("includeDetailedScans") is True
            found = [self._track_one_found(number, detailed=detailed) for number in numbers]
        else:
            found = [tracking.not_found(value, "TRACKING.REFERENCENUMBER.NOTFOUND", "The reference number cannot be found.")]
        return self._ok(request, {"completeTrackResults": found, "alerts": []})

    def _track_one_found(self, number: str, *, detailed: bool) -> dict[str, Any]:
        package = self.state["packages"][number]
        facts = self.state["shipments"][package["master"]]
        result = tracking.track_result(number, facts, package, detailed=detailed, names=self._option("names"))
        return {"trackingNumber": number, "trackResults": [result]}

    def _matches(self, number: str, asked: dict[str, Any], today: dt.date) -> bool:
        """Whether this package is what a reference search asks for."""
        package = self.state["packages"][number]
        facts = self.state["shipments"][package["master"]]
        begin, end = tracking.date_range(asked, today)
        if self._age_s(facts) < self._option("references_visible_after_s"):
            return False
        if not begin <= dt.date.fromisoformat(facts["ship_date"]) <= end:
            return False
        address = facts["recipient"]["address"]
        postal = as_text(asked.get("destinationPostalCode")).replace(" ", "")
        pairs = (
            (as_text(asked.get("accountNumber")), facts["account"]),
            (as_text(asked.get("carrierCode")), facts["carrier"]),
            (as_text(asked.get("destinationCountryCode")), address["countryCode"]),
            (postal, as_text(address.get("postalCode")).replace(" ", "")),
        )
        if any(wanted and wanted != actual for wanted, actual in pairs):
            return False
        kind = as_text(asked.get("type"))
        if not kind:
            return True
        if kind == "SHIPPER_REFERENCE" and facts["carrier"] == "FDXE":
            kind = "CUSTOMER_REFERENCE"  # Express shows it under either name (sheet 5.7)
        wanted = as_text(asked["value"])
        return any(
            r["value"] == wanted and tracking.TRACK_TYPE.get(r["customerReferenceType"]) == kind
            for r in row_of(facts, package["piece"])["references"]
        )


def _references(facts: dict[str, Any]) -> list[tuple[str, str]]:
    return [(r["customerReferenceType"], r["value"]) for row in facts["rows"] for r in row["references"]]

"""The front door of the simulated FedEx: envelope, tokens, permissions, limits (sheet 1 to 4)."""

from __future__ import annotations

import datetime as dt
import re
import secrets
import uuid
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from integrations.base.simulator import SimRequest, SimResponse, Simulator
from integrations.fedex import simulator_checks as checks
from integrations.fedex.simulator_checks import error

OPTIONS: dict[str, Any] = {
    "expires_in": 3600,  # seconds a token lives
    "auth_penalty": True,  # punish token bursts per IP (sheet 3)
    "auth_penalty_s": 600,
    "auth_penalty_html": True,  # body of the 403: HTML or JSON; the vendor does not say
    "window_limit": 1400,  # calls per project in a fixed window
    "window_s": 10,
    "daily_limit": 500_000,  # calls per project and UTC day, all APIs
    "track_daily_limit": 100_000,  # Track calls per project and UTC day
    "track_visible_after_s": 0,  # age below which a number is NOTFOUND
    "references_visible_after_s": 0,  # age below which a reference is NOTFOUND
    "async_above": 40,  # packages in one shipment above which the answer is a job (sheet 5.8)
    "async_ready_after_s": 2,  # age at which the results of a job can be had
    "names": "recorded",  # member names of real replies, or "schema"
    "timezone": "UTC",  # the shippers' calendar: what "today" and "future" mean
    "unauthorized_shape": None,  # 1, 2, 3: one shape for every refused token; None: by its reason
    "long_references": "refuse",  # or "cut": unpublished, see sheet 5.7
    "ground_digits": 12,  # or 15
    "address_allowed": True,  # False: the Ship projects lack Address Validation
    "virtual_addresses": False,  # the sandbox's canned answers to address checks (sheet 18)
    "split_projects": False,  # True: Ship projects may not use Track (sheet 2)
}

PROJECTS: dict[str, dict[str, Any]] = {
    "demo-key": {"secret": "demo-secret", "accounts": ["123456789"], "apis": ["ship", "rate", "track"]},
    "demo-key-2": {"secret": "demo-secret-2", "accounts": ["987654321"], "apis": ["ship", "rate", "track"]},
    "track-key": {"secret": "track-secret", "accounts": ["123456789"], "apis": ["track"]},
}
_PROJECT_HEADER = "x-sim-project"
_WINDOW_TEXT = "We have received too many requests in a short duration. Rate limit threshold exceeded, wait 10 seconds."
_DAILY_TEXT = "Daily transaction quota exceeded. The counter restarts at 12:00AM GMT."
_TRACK_TEXT = "Per project daily quota exceeded. The counter restarts at 12:00 AM GMT."


class Door(Simulator):
    """What stands between the wire and the services; `simulator.FedexSimulator` adds those."""

    # -- answers ----------------------------------------------------------------------------------------------

    def _option(self, name: str) -> Any:
        return self.state["options"].get(name, OPTIONS[name])  # a kept state may be older than the option

    def _today(self) -> dt.date:
        """Today in the shippers' calendar."""
        return self.now().astimezone(ZoneInfo(self._option("timezone"))).date()

    def _stamp(self) -> str:
        return self.now().astimezone(ZoneInfo(self._option("timezone"))).isoformat(timespec="seconds")

    def _envelope(self, request: SimRequest, **rest: Any) -> dict[str, Any]:
        """Sheet 4. `customerTransactionId` is there only when the caller sent one."""
        prefix = "APIF_SV_TRKC_TxID" if request.path.startswith("/track/") else ""
        body: dict[str, Any] = {"transactionId": f"{prefix}{uuid.uuid4()}"}
        ours = request.headers.get("x-customer-transaction-id")
        if ours:
            body["customerTransactionId"] = ours
        return body | rest

    def _ok(self, request: SimRequest, output: dict[str, Any]) -> SimResponse:
        return SimResponse(200, self._envelope(request, output=output))

    def _refuse(self, request: SimRequest, status: int, *errors: dict[str, Any]) -> SimResponse:
        return SimResponse(status, self._envelope(request, errors=list(errors)))

    def not_found(self, request: SimRequest) -> SimResponse:
        return self._refuse(request, 404, error("NOT.FOUND.ERROR", "There is no such resource."))

    def wrong_method(self, request: SimRequest, allowed: list[str]) -> SimResponse:
        answer = self._refuse(request, 405, error("METHOD.NOT.ALLOWED.ERROR", "This method is not allowed here."))
        answer.headers["Allow"] = ", ".join(allowed)
        return answer

    def _fault(self, request: SimRequest) -> tuple[str, dict[str, Any]]:
        """The vendor's fault for this request and its arguments. The header carries the name only."""
        name = request.headers.get("x-sim-fault", "")
        line = f"{request.method} {request.path}"
        used = (f for f in reversed(self.faults) if f.fault == name and f.used and re.search(f.match, line))
        return name, next((f.args for f in used), {})

    # -- the door: token, permission, limits, content type ------------------------------------------------

    def before(self, request: SimRequest) -> SimResponse | None:
        request.headers.pop(_PROJECT_HEADER, None)
        methods = [method for method, pattern, _, _ in self._routes if pattern.match(request.path)]
        if request.method not in methods or request.path.startswith("/document/"):
            return None
        fault, args = self._fault(request)
        if request.path == "/oauth/token":
            refused = error("NOT.AUTHORIZED.ERROR", "The given client credentials were not valid.")
            return self._refuse(request, 401, refused) if fault == "401_once" else None
        if fault == "401_once":
            return self._unauthorized(request, int(args.get("shape", 1)))
        project, reason = self._project_of(request)
        if project is None:
            return self._unauthorized(request, self._option("unauthorized_shape") or reason)
        api = request.path.split("/")[1]
        allowed = self.state["projects"][project]["apis"]
        if api == "address":
            allowed = ["address"] if self._option("address_allowed") and "ship" in allowed else []
        if api not in allowed or (api == "track" and self._option("split_projects") and "ship" in allowed):
            return self._refuse(request, 403, error("FORBIDDEN.ERROR", "This project may not use this API."))
        too_many = self._limit(project, api) or {"429_window": _WINDOW_TEXT, "429_daily": _DAILY_TEXT}.get(fault)
        if too_many:
            return self._refuse(request, 429, error("TOO.MANY.REQUESTS", too_many))
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            return self._refuse(request, 415, error("UNSUPPORTED.MEDIA.TYPE.ERROR", "Send application/json."))
        if fault == "error_in_200":
            return self._refuse(request, 200, error("SYSTEM.UNEXPECTED.ERROR", "The message for this error cannot be retrieved."))
        request.headers[_PROJECT_HEADER] = project
        return None

    def _unauthorized(self, request: SimRequest, shape: int) -> SimResponse:
        """The three shapes of sheet 2. Only the first is in the normal envelope."""
        if shape == 2:
            return SimResponse(401, {"error": "invalid_request", "error_description": "CXS JWT is expired"})
        if shape == 3:
            return SimResponse(401, {"error_description": "Invalid CXS JWT"})
        return self._refuse(request, 401, error("NOT.AUTHORIZED.ERROR", "The access token is missing or not valid."))

    def _project_of(self, request: SimRequest) -> tuple[str | None, int]:
        """The project a token belongs to, or None and the 401 shape: 1 none sent, 2 expired, 3 not one of ours."""
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not value:
            return None, 1
        token = self.state["tokens"].get(value)
        if token is None:
            return None, 3
        if token["expires_at"] <= self.now().timestamp():
            return None, 2
        return token["project"], 0

    def _limit(self, project: str, api: str) -> str | None:
        """Count this call; the text of the 429 when it is one too many (sheet 3)."""
        seconds = self.now().timestamp()
        window = self.state["windows"].setdefault(project, [0, 0])
        number = int(seconds // self._option("window_s"))
        if window[0] != number:
            window[:] = [number, 0]
        window[1] += 1
        day = self.state["days"].setdefault(project, {"day": "", "all": 0, "track": 0})
        today = self.now().date().isoformat()
        if day["day"] != today:
            day.update({"day": today, "all": 0, "track": 0})
        day["all"] += 1
        day["track"] += api == "track"
        if window[1] > self._option("window_limit"):
            return _WINDOW_TEXT
        if day["all"] > self._option("daily_limit"):
            return _DAILY_TEXT
        return _TRACK_TEXT if api == "track" and day["track"] > self._option("track_daily_limit") else None

    # -- POST /oauth/token -------------------------------------------------------------------------------------

    def _token(self, request: SimRequest) -> SimResponse:
        """Sheet 2 and 3."""
        self.state["counts"]["token_requests"] += 1
        if self._option("auth_penalty") and self._penalised(request.remote):
            if self._option("auth_penalty_html"):
                page = "<html><head><title>Access Denied</title></head><body>Access Denied</body></html>"
                return SimResponse(403, page, {"Content-Type": "text/html"})
            return self._refuse(request, 403, error("FORBIDDEN.ERROR", "Too many logins from this address."))
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/x-www-form-urlencoded":
            return self._bad_form(request)
        try:
            pairs = request.form()
        except UnicodeDecodeError:
            return self._bad_form(request)
        form = dict(pairs)
        if len(form) != len(pairs) or not all(form.get(key) for key in ("grant_type", "client_id", "client_secret")):
            return self._bad_form(request)
        grant = form["grant_type"]
        with_child = grant in ("csp_credentials", "client_pc_credentials")
        if not with_child and grant != "client_credentials":
            return self._bad_form(request)
        if with_child and not (form.get("child_Key") and form.get("child_secret")):
            return self._bad_form(request)
        project = self.state["projects"].get(form["client_id"])
        if project is None or not secrets.compare_digest(project["secret"].encode(), form["client_secret"].encode()):
            return self._refuse(request, 401, error("NOT.AUTHORIZED.ERROR", "The given client credentials were not valid."))
        value, life = f"sim.{secrets.token_hex(24)}", int(self._option("expires_in"))
        tokens = self.state["tokens"]
        tokens[value] = {"project": form["client_id"], "expires_at": self.now().timestamp() + life}
        while len(tokens) > 500:  # long enough to tell an expired token from an invented one
            del tokens[next(iter(tokens))]
        scope = "CXS-TP" if with_child else "CXS"
        return SimResponse(200, {"access_token": value, "token_type": "bearer", "expires_in": life, "scope": scope})

    def _bad_form(self, request: SimRequest) -> SimResponse:
        return self._refuse(request, 400, error("BAD.REQUEST.ERROR", "Missing or duplicate parameters in the form."))

    def _penalised(self, address: str) -> bool:
        """Count this login per IP: 3 a second over 5 s, or 1 a second over 2 min, earn the penalty; again prolongs it."""
        now = self.now().timestamp()
        record = self.state["auth"].setdefault(address, {"times": [], "until": 0.0})
        record["times"] = [at for at in record["times"] if now - 120 < at <= now] + [now]
        recent = sum(at > now - 5 for at in record["times"])
        if recent >= 15 or len(record["times"]) >= 120:
            record["until"] = now + self._option("auth_penalty_s")
            record["times"] = []
        return bool(now < record["until"])

    def _body(self, request: SimRequest) -> dict[str, Any] | None:
        """The body as a JSON object, its breaches of advice remembered; None when it is none."""
        try:
            body = request.json()
        except ValueError:
            return None
        if not isinstance(body, dict):
            return None
        if request.path.startswith("/ship/"):
            self._remark(*checks.remarks(body))
        if len(request.headers.get("x-customer-transaction-id", "")) > 40:
            self._remark("x-customer-transaction-id: longer than 40")
        return body

    def _remark(self, *texts: str) -> None:
        self.state["remarks"] += texts
        del self.state["remarks"][:-200]

    def _not_json(self, request: SimRequest) -> SimResponse:
        return self._refuse(request, 400, error("INVALID.INPUT.EXCEPTION", "The body is no JSON object."))

    def _account_check(self, request: SimRequest) -> Callable[[str], str | None]:
        projects, project = self.state["projects"], request.headers[_PROJECT_HEADER]

        def check(account: str) -> str | None:
            if account in projects[project]["accounts"]:
                return None
            known = any(account in other["accounts"] for other in projects.values())
            return "ACCOUNT.NUMBERORKEY.INVALID" if known else "ACCOUNT.NUMBER.INVALID"

        return check

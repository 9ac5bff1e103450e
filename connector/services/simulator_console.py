"""What staff do with simulators in the browser: acts, faults, and the calls that came in.

Only connections of the environment `simulator` have a console, and only a simulator answers under `/_sim`: a real
system would answer 404, and no credentials are sent. Every act is in the tenant's history. Simulators are shared
toys: whoever has a connection to the same one sees its calls and meets its faults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet

from connector.models import Connection, Package, Transfer
from connector.services import audit, vendors
from connector.services.shipments import NotPossible
from integrations import registry
from integrations.base.console import ActField, SimulatorConsole
from integrations.base.errors import IntegrationError, NotSent, Unavailable
from integrations.base.http import Answer, Http
from integrations.base.redact import Redactor
from integrations.base.vendor import Timeouts

ENVIRONMENT = "simulator"
CALLS_SHOWN = 40
SUGGESTIONS = 25
TIMES = {"1": "Once", "3": "3 times", "10": "10 times", "": "Until switched off"}
"""How often a fault happens: value of the form, words."""

_TIMEOUTS = Timeouts(connect_s=1.0, read_s=3.0, total_s=4.0)
_CUT_PATHS = ("/document/",)
"""Below these a path is a key to a document; it is not shown."""


class _NoLimits:
    """Simulators' control calls count against no limit."""

    def take(self, names: tuple[str, ...]) -> None:
        pass

    def rest(self, name: str, seconds: float) -> None:
        pass


@dataclass(frozen=True, slots=True)
class SimulatedCall:
    """One call as the simulator saw it. `status` 0: cut off before any work."""

    time: str
    method: str
    path: str
    status: int
    fault: str

    @property
    def verdict(self) -> str:
        """State word for its colour."""
        if self.fault in ("lost_answer", "reset") or self.status == 0:
            return "failed"
        return "ok" if self.status < 400 else "warning"

    @property
    def short(self) -> str:
        """The end of a long path, which tells the calls apart."""
        parts = self.path.split("/")
        return self.path if len(parts) < 6 else "…/" + "/".join(parts[-2:])


@dataclass(frozen=True, slots=True)
class ActiveFault:
    """A fault that is on. `left` None: until it is switched off."""

    id: str
    label: str
    left: int | None


@dataclass(slots=True)
class Look:
    """What a simulator tells now; `problem` when it does not answer."""

    problem: str = ""
    calls: list[SimulatedCall] = field(default_factory=list)
    faults: list[ActiveFault] = field(default_factory=list)


def connections(scoped: QuerySet[Connection]) -> QuerySet[Connection]:
    """Those of the given connections that have a console."""
    return scoped.filter(environment=ENVIRONMENT, vendor__in=registry.slugs())


def console_of(connection: Connection) -> SimulatorConsole:
    """What can be done at this connection's simulator. Raises NotPossible where it is no simulator."""
    if connection.environment != ENVIRONMENT or connection.vendor not in registry.VENDORS:
        raise NotPossible("This connection does not lead to a simulator. Simulators are for the environment “simulator” only.")
    return registry.simulator_class(connection.vendor).console


def look(connection: Connection) -> Look:
    """The last calls, newest first, and the faults that are on. Changes nothing."""
    console_of(connection)
    try:
        calls = _get(connection, f"_sim/calls?limit={CALLS_SHOWN}")["calls"]
        faults = _get(connection, "_sim/faults")
        return Look(
            calls=[_shown(call) for call in reversed(calls)],
            faults=[found for fault in faults if (found := _fault(fault)).left != 0],
        )
    except IntegrationError as error:
        return Look(problem=f"No simulator answers here. {error.message}")
    except (ValueError, KeyError, TypeError):
        return Look(problem="What answers here is no simulator.")


def _fault(told: Mapping[str, Any]) -> ActiveFault:
    left = None if told["times"] is None else told["times"] - told["used"]
    return ActiveFault(str(told["id"]), told.get("label") or told["fault"], left)


def _shown(call: Mapping[str, Any]) -> SimulatedCall:
    path = str(call["path"]).partition("?")[0]
    if path.startswith(_CUT_PATHS):
        path = path.rpartition("/")[0] + "/…"
    fault = next(iter(call.get("faults", [])), "")
    return SimulatedCall(str(call["at"])[11:19], call["method"], path, int(call["status"]), fault)


def suggestions(connection: Connection) -> dict[str, list[str]]:
    """By kind of field: documents that wait for a person, and parcels that were bought here, newest first."""
    stuck = Transfer.objects.filter(tenant=connection.tenant, integration__source=connection, state=Transfer.State.FAILED)
    keys = stuck.order_by("-pk").values_list("source_key", flat=True)[:SUGGESTIONS]
    parcels = _parcels(connection).order_by("-pk").values_list("tracking_number", flat=True)[:SUGGESTIONS]
    return {"document": [key.rpartition(":")[2] for key in keys], "parcel": list(parcels)}


def _parcels(connection: Connection) -> QuerySet[Package]:
    return Package.objects.filter(tenant=connection.tenant, carrier=connection, voided=False)


def act(connection: Connection, name: str, entered: Mapping[str, str], *, actor: str) -> str:
    """Do one of the vendor's acts with what was entered; returns what to say. Raises NotPossible."""
    chosen = console_of(connection).act(name)
    if chosen is None:
        raise NotPossible("This simulator has no such act.")
    values = {f.name: _value(connection, f, entered.get(f.name, "")) for f in chosen.fields}
    try:
        calls = chosen.calls(values, connection.settings)
    except ValueError as error:
        raise NotPossible(f"{chosen.label}: a number was expected ({error}).") from error
    answers = [_change(connection, chosen.name, "POST", f"_sim/{call}", body, actor) for call, body in calls]
    return chosen.says(answers[0])


def _value(connection: Connection, asked: ActField, raw: str) -> Any:
    """One entered value, checked. Raises NotPossible with the field's name."""
    text = raw.strip()
    if asked.kind == "check":
        return bool(text)
    if not text and not asked.required:
        return ""
    if not text:
        raise NotPossible(f"{asked.label}: this is needed.")
    if asked.kind == "number":
        if not (text.isdecimal() and len(text) < 10 and asked.minimum <= int(text) <= asked.maximum):
            raise NotPossible(f"{asked.label}: enter a whole number from {asked.minimum} to {asked.maximum}.")
        return int(text)
    if asked.kind == "choice":
        if text not in dict(asked.choices):
            raise NotPossible(f"{asked.label}: choose one of those offered.")
    elif len(text) > asked.maximum:
        raise NotPossible(f"{asked.label}: at most {asked.maximum} characters.")
    elif asked.kind == "document" and not text.isdecimal():
        raise NotPossible(f"{asked.label}: enter its number alone, as 1014.")
    elif asked.kind == "parcel" and not _parcels(connection).filter(tracking_number=text).exists():
        # Others may use the same simulator: their parcels are theirs to move.
        raise NotPossible(f"{asked.label}: no parcel {text} was bought through this connection.")
    return text


def fault_on(connection: Connection, key: str, place: str, times: str, *, actor: str) -> str:
    """Have the simulator misbehave. Raises NotPossible."""
    console = console_of(connection)
    fault = next((f for f in console.all_faults if f.key == key), None)
    where = next((p for p in console.places if p.key == place), None)
    if fault is None or where is None or times not in TIMES:
        raise NotPossible("Choose what goes wrong, where, and how often.")
    label = f"{fault.label} · {where.label} · {TIMES[times].lower()}"
    body = {**fault.body, "match": where.match, "times": int(times) if times else None, "label": label}
    _change(connection, "fault", "POST", "_sim/faults", body, actor)
    return f"Switched on: {label}."


def faults_off(connection: Connection, fault: str = "", *, actor: str) -> str:
    """Have the simulator behave again, or end one fault of it. Raises NotPossible."""
    console_of(connection)
    if not fault:
        _change(connection, "no_faults", "DELETE", "_sim/faults", None, actor)
        return "Every fault of this simulator is switched off."
    if not fault.isalnum():
        raise NotPossible("Choose one of the faults that are on.")
    _change(connection, "fault_off", "DELETE", f"_sim/faults?id={fault}", None, actor)
    return "This fault is switched off."


def _http(connection: Connection) -> Http:
    vendor = registry.get(connection.vendor)
    base = next(iter(connection.urls.values()), "")
    made = Http(vendor, base, (), None, _TIMEOUTS, _NoLimits(), Redactor(), vendors.policy())
    made.connection = connection.slug
    return made


def _get(connection: Connection, path: str) -> Any:
    answer = _http(connection).request("GET", path, operation="look at the simulator", repeat_safe=False, limits=())
    return _understood(answer)


def _understood(answer: Answer) -> Any:
    """Raises ValueError for what no simulator would say."""
    if answer.status != 200:
        raise ValueError(answer.status)
    return answer.json()


def _change(connection: Connection, name: str, method: str, path: str, body: Any, actor: str) -> Mapping[str, Any]:
    """One control call that changes something, and its entry in the history. Raises NotPossible when it was not done."""
    try:
        answer = _http(connection).request(method, path, operation="simulator", json=body, repeat_safe=False, limits=())
    except NotSent as error:
        raise NotPossible(f"No simulator answers here: nothing was done. {error.message}") from error
    except Unavailable as error:
        _tell(connection, name, body, "unknown", actor)
        raise NotPossible(f"The simulator's answer was lost; whether it was done is not known. {error.message}") from error
    except IntegrationError as error:
        raise NotPossible(f"Nothing was done. {error.message} {error.remedy}".strip()) from error
    try:
        told = _understood(answer)
    except ValueError as error:
        raise NotPossible(_refusal(answer)) from error
    _tell(connection, name, body, "done", actor)
    return told if isinstance(told, dict) else {}


def _refusal(answer: Answer) -> str:
    """What a refused control call says, in words."""
    try:
        told = answer.json()
    except ValueError:
        told = None
    reason = str(told.get("error", "")) if isinstance(told, dict) else ""
    if answer.status == 400 and reason:
        return f"The simulator refused: {reason.partition(': ')[2] or reason}"[:300]
    return "What answers here is no simulator: nothing was done."


def _tell(connection: Connection, name: str, body: Any, result: str, actor: str) -> None:
    facts = {"what": name, "result": result}
    audit.append(connection.tenant, audit.Draft("simulator", facts, connection, {"sent": body} if body else None, actor))

"""What a person may do with a simulator in the browser, as data: the console's page grows from it.

A vendor's simulator declares a `SimulatorConsole`. Each act is one or more control calls (`POST /_sim/<name>`) built
from the values that the person entered; faults and the calls they meet are choices in words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

FieldKind = Literal["text", "number", "choice", "check", "document", "parcel"]
"""`document` and `parcel` are text with suggestions: the number of a document at the ERP, a tracking number of ours."""

Values = Mapping[str, Any]
"""What was entered, by field name: text, except an int for `number` and a bool for `check`."""

ControlCall = tuple[str, dict[str, Any]]
"""Name of a control call, and its JSON body."""


@dataclass(frozen=True, slots=True)
class ActField:
    """One thing to enter. `choices` are (value, words); `minimum` and `maximum` bound a number, `maximum` a text's length."""

    name: str
    label: str
    kind: FieldKind = "text"
    default: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    required: bool = True
    minimum: int = 1
    maximum: int = 100
    help: str = ""


@dataclass(frozen=True, slots=True)
class Act:
    """One act. `calls(values, settings)` gives the control calls; `settings` are the connection's, its credentials never.

    `says(answer)` tells in words what was done, from the answer to the first call.
    """

    name: str
    label: str
    fields: tuple[ActField, ...]
    calls: Callable[[Values, Mapping[str, Any]], list[ControlCall]]
    says: Callable[[Mapping[str, Any]], str]
    help: str = ""


@dataclass(frozen=True, slots=True)
class FaultChoice:
    """A way to misbehave; `body` is what `POST /_sim/faults` gets besides `match`, `times` and `label`."""

    key: str
    label: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Which calls a fault meets: a regular expression on "METHOD /path", in words."""

    key: str
    label: str
    match: str


STANDARD_FAULTS = (
    FaultChoice("lost_answer", "The work is done, but its answer is lost", {"fault": "lost_answer"}),
    FaultChoice(
        "too_many",
        "Too many requests (429), asks for 5 seconds",
        {"fault": "status", "status": 429, "headers": {"Retry-After": "5"}},
    ),
    FaultChoice("unavailable", "Not available (503)", {"fault": "status", "status": 503}),
    FaultChoice("slow", "Slow: the answer takes 8 seconds", {"fault": "delay", "seconds": 8}),
    FaultChoice("html", "A web page instead of data", {"fault": "html"}),
)
"""What every simulator can do."""

EVERY_CALL = Place("all", "Every call", ".*")


@dataclass(frozen=True, slots=True)
class SimulatorConsole:
    """All of a vendor's console. `faults` are its own, beside `STANDARD_FAULTS`; the first of `places` is the usual one."""

    acts: tuple[Act, ...] = ()
    faults: tuple[FaultChoice, ...] = ()
    places: tuple[Place, ...] = (EVERY_CALL,)

    @property
    def all_faults(self) -> tuple[FaultChoice, ...]:
        """The standard ones and the vendor's own."""
        return STANDARD_FAULTS + self.faults

    def act(self, name: str) -> Act | None:
        """The act of that name."""
        return next((a for a in self.acts if a.name == name), None)

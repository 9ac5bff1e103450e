"""What a vendor's manifest (`<vendor>/vendor.py`) may contain. Declarations only; forms, masks, checks derive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal


class Role(StrEnum):
    ERP = "erp"
    CARRIER = "carrier"
    FULFILMENT = "fulfilment"


@dataclass(frozen=True, slots=True)
class Credential:
    """One credential field. `secret` ones are encrypted and never shown; `masked` plain ones show 4 characters."""

    key: str
    label: str
    secret: bool = False
    required: bool = True
    masked: bool = False
    help: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `calls` per `per_s` seconds in any window, counted over the scope by all processes together."""

    name: str
    scope: Literal["host", "credential", "connection"]
    calls: int
    per_s: float


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `total_s` bounds a whole exchange from its start to the last byte of the answer."""

    connect_s: float = 10.0
    read_s: float = 60.0
    total_s: float = 60.0


@dataclass(frozen=True, slots=True)
class InDoubt:
    """How a lost answer is settled. Waits between looks in seconds, the first from the moment of doubt.

    `resend_after_s` None: not finding proves nothing, only a person may say "send again".
    """

    look_up_after_s: tuple[int, ...] = (5, 30, 120, 600, 3600)
    resend_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """One place where the vendor runs, with its base URLs by URL key."""

    key: str
    label: str
    urls: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SettingField:
    """A setting that nearly everybody meets: it has a field of its own in the form, under `topic`.

    `key` is its dotted path in `settings`. `unset` says what null means where the default is something else
    ("not written"); it is entered as a dash.
    """

    key: str
    label: str
    kind: Literal["text", "choice", "integer", "list"] = "text"
    help: str = ""
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    topic: str = ""
    unset: str = ""


@dataclass(frozen=True, slots=True)
class SettingError:
    """One wrong setting: dotted path below `settings`, and what is wrong."""

    path: str
    message: str


@dataclass(frozen=True, slots=True)
class Vendor:
    """The label on the box. `adapter` and `simulator` are dotted paths, imported on first use.

    `settings_defaults` is the vendor's own part of `settings`, merged under what the operator entered, key
    by key; `check_settings` gets the merged whole and returns what is wrong with it.
    `bulky_keys` are JSON members that hold label bytes: cut out of stored exchanges.
    `redact_keys` are JSON or form members that are secret wherever they appear.
    `rests_on` names, by country, the holidays on which a carrier does not work where those are not all public ones.
    `invoice_columns` are the headings a carrier's invoice files use as a rule, by what they hold; the user may choose others.
    `account_credential` names the credential field that holds the account which an invoice is made out to.
    `services` are a carrier's own service codes, for value maps and "the ship-via itself if it is one".
    """

    slug: str
    label: str
    roles: frozenset[Role]
    adapter: str
    simulator: str
    credentials: tuple[Credential, ...]
    url_keys: tuple[str, ...]
    environments: tuple[Environment, ...]
    limits: tuple[Limit, ...]
    timeouts: Timeouts = Timeouts()
    in_doubt: InDoubt = InDoubt()
    max_parallel: int = 4
    settings_defaults: Mapping[str, Any] = field(default_factory=dict)
    setting_fields: tuple[SettingField, ...] = ()
    check_settings: Callable[[Mapping[str, Any]], list[SettingError]] | None = None
    normalise_url: Callable[[str, str], str] | None = None
    bulky_keys: tuple[str, ...] = ()
    redact_keys: tuple[str, ...] = ()
    credential_identity: tuple[str, ...] = ("client_id",)
    services: frozenset[str] = frozenset()
    rests_on: Mapping[str, frozenset[str]] = field(default_factory=dict)
    invoice_columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    account_credential: str = ""
    docs: str = ""
    setup_help: str = ""

    @property
    def secret_keys(self) -> frozenset[str]:
        """Names of the credential fields that are secret."""
        return frozenset(c.key for c in self.credentials if c.secret)


COMMON_SETTINGS = frozenset({"max_parallel", "timeouts", "limits", "in_doubt", "extra_headers"})
"""Keys of `settings` that every vendor understands and the services check."""

"""What all runs of one `process` call share, and what was read ahead for them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from connector.models import Connection, Exchange, Installation, Integration, Site
from connector.services import audit, vendors
from integrations.base.context import Company


@dataclass(slots=True)
class Prefetched:
    """A value read ahead for a claimed group: when (boot time), and in which batch its exchanges are stored."""

    value: Any
    at: float
    batch: uuid.UUID | None


@dataclass(slots=True)
class Job:
    """What all runs of one `process` call share: the integration, its ends, adapters per thread, who we are."""

    integration: Integration
    installation: Installation
    owner: uuid.UUID
    buying: bool = True
    companies: tuple[Company, ...] = ()
    configured: frozenset[tuple[str, int]] = frozenset()
    """How far the history of the configuration had come when this began (`audit.heads`)."""
    options: dict[str, Any] = field(default_factory=dict)
    flaky: set[int] = field(default_factory=set)
    answered: set[int] = field(default_factory=set)
    """Connections that gave a good answer, for their "last good answer"."""
    ahead: dict[tuple[str, int], Prefetched] = field(default_factory=dict)
    """What flows asked for several documents at once and a transfer's run has not taken yet, by step and transfer."""
    halted: threading.Event = field(default_factory=threading.Event)
    """A whole connection or the integration has just been paused: what is claimed but not begun goes back."""
    _local: threading.local = field(default_factory=threading.local)
    _sites: dict[tuple[str, str], Site | None] = field(default_factory=dict)

    def answered_by(self, exchanges: Iterable[Exchange]) -> None:
        """Note whose good answers these are."""
        self.answered.update(e.connection_id for e in exchanges if e.status is not None and 200 <= e.status < 300)

    def is_current(self) -> bool:
        """Whether nothing was configured, here or for the whole installation, since this began: every change is in the audit."""
        return audit.heads(self.integration.tenant_id) == self.configured

    @property
    def source(self) -> Connection:
        return self.integration.source

    @property
    def target(self) -> Connection:
        return self.integration.target

    @property
    def connections(self) -> dict[str, Connection]:
        """Both ends by slug."""
        return {self.source.slug: self.source, self.target.slug: self.target}

    def adapter(self, connection: Connection) -> Any:
        """This thread's adapter for a connection. Raises ConfigurationError."""
        made: dict[int, Any] = self._local.__dict__.setdefault("adapters", {})
        if connection.pk not in made:
            made[connection.pk] = vendors.open_adapter(connection)
        return made[connection.pk]

    def site(self, company_code: str, code: str) -> Site | None:
        """The operator's row of a site of the source, with its company code."""
        key = (company_code, code)
        if key not in self._sites:
            found = Site.objects.filter(company_code__connection=self.source, company_code__code=company_code, code=code)
            self._sites[key] = found.select_related("company_code").first()
        return self._sites[key]

    def merged_settings(self, connection: Connection) -> dict[str, Any]:
        """The connection's settings over its vendor's defaults."""
        return vendors.settings_of(connection)


__all__ = ["Job", "Prefetched"]

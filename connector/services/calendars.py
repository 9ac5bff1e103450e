"""On which days a carrier works at a site, and how time that counts only such days passes."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import holidays

LONGEST_REST_DAYS = 30
DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Calendar:
    """Working days at one place. `rests_on` None: every public holiday is one; else only those of these names."""

    zone: dt.tzinfo
    country: str = ""
    part: str = ""
    rests_on: Collection[str] | None = field(default=None, hash=False)

    def works(self, day: dt.date) -> bool:
        """Whether the carrier works that day. Where the country is not known: Monday to Friday."""
        known = _holidays_of(self.country, self.part if self.rests_on is None else "")
        if known is None:
            return day.weekday() < 5
        if self.rests_on is None:
            return bool(known.is_working_day(day))
        names = known.get_list(day)
        return day.weekday() not in known.weekend and not any(name in self.rests_on for name in names)

    def last_working_day(self, day: dt.date) -> dt.date:
        """That day, or the nearest working day before it."""
        for _ in range(LONGEST_REST_DAYS):
            if self.works(day):
                return day
            day -= DAY
        return day

    def after(self, start: dt.datetime, hours: float) -> dt.datetime:
        """When so many hours will have passed, counting working days (midnight to midnight) only."""
        left, at = dt.timedelta(hours=hours), start.astimezone(dt.UTC)
        while True:
            day = at.astimezone(self.zone).date()
            midnight = dt.datetime.combine(day + DAY, dt.time(), tzinfo=self.zone).astimezone(dt.UTC)
            if self.works(day):
                if left <= midnight - at:
                    return at + left
                left -= midnight - at
            at = midnight


@lru_cache(maxsize=256)
def _holidays_of(country: str, part: str) -> Any:
    """Public holidays of a country, or of its part where that has some of its own; None for an unknown country."""
    if not country:
        return None
    for subdivision in (part, None) if part else (None,):
        try:
            return holidays.country_holidays(country, subdiv=subdivision)
        except NotImplementedError:
            continue
    return None


def of_place(zone: str, address: Mapping[str, Any] | None, rests_on: Mapping[str, Collection[str]]) -> Calendar:
    """The calendar of a site: its zone, the country of its address, what the carrier says of that country."""
    country = str((address or {}).get("country") or "").upper()
    part = str((address or {}).get("state") or "").upper().removeprefix(f"{country}-")
    return Calendar(zoneinfo.ZoneInfo(zone), country, part, rests_on.get(country))


__all__ = ["Calendar", "of_place"]

"""Working days of carriers: weekends, holidays, parts of countries, and hours that pass on working days only."""

from __future__ import annotations

import datetime as dt
import zoneinfo

from connector.services import calendars
from connector.services.deadlines import had_to_come_before
from integrations import registry

FEDEX = registry.get("fedex").rests_on
MEMPHIS = calendars.of_place("America/Chicago", {"country": "US", "state": "TN"}, FEDEX)
CHICAGO = zoneinfo.ZoneInfo("America/Chicago")


def at(day: str, time: str = "12:00") -> dt.datetime:
    return dt.datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=CHICAGO)


def works(calendar: calendars.Calendar, day: str) -> bool:
    return calendar.works(dt.date.fromisoformat(day))


def test_a_carrier_says_on_which_holidays_it_rests() -> None:
    assert not works(MEMPHIS, "2026-11-26"), "Thanksgiving"
    assert works(MEMPHIS, "2026-10-12"), "Columbus Day: FedEx drives"
    assert works(MEMPHIS, "2026-04-03"), "Good Friday, a holiday of Tennessee alone"
    assert not works(MEMPHIS, "2026-11-21"), "a Saturday"


def test_elsewhere_public_holidays_count_also_those_of_a_part() -> None:
    munich = calendars.of_place("Europe/Berlin", {"country": "DE", "state": "BY"}, FEDEX)
    berlin = calendars.of_place("Europe/Berlin", {"country": "DE", "state": "BE"}, FEDEX)
    assert not works(munich, "2026-06-04") and works(berlin, "2026-06-04"), "Corpus Christi"
    assert not works(berlin, "2026-10-03")
    strange = calendars.of_place("Europe/Berlin", {"country": "DE", "state": "nowhere"}, FEDEX)
    assert not works(strange, "2026-12-25"), "an unknown part is the whole country"
    nowhere = calendars.of_place("UTC", None, FEDEX)
    assert works(nowhere, "2026-12-25") and not works(nowhere, "2026-12-26"), "no address: only weekends are known"


def test_hours_pass_on_working_days_only() -> None:
    assert MEMPHIS.after(at("2026-11-20", "15:00"), 24) == at("2026-11-23", "15:00"), "over a weekend"
    assert MEMPHIS.after(at("2026-11-25", "15:00"), 24) == at("2026-11-27", "15:00"), "over Thanksgiving"
    assert MEMPHIS.after(at("2026-11-21", "15:00"), 1) == at("2026-11-23", "01:00"), "begun on a Saturday"
    assert MEMPHIS.after(at("2026-03-06", "12:00"), 24) == at("2026-03-09", "12:00"), (
        "the clocks change on a day that is not counted"
    )


def test_the_cut_off_counts_from_two_hours_ahead_and_skips_days_of_rest() -> None:
    cut_off = dt.time(16)
    assert had_to_come_before(MEMPHIS, cut_off, at("2026-11-24", "13:59")) == at("2026-11-23", "16:00"), "yesterday's"
    assert had_to_come_before(MEMPHIS, cut_off, at("2026-11-24", "14:01")) == at("2026-11-24", "14:01"), "all that is here now"
    assert had_to_come_before(MEMPHIS, cut_off, at("2026-11-24", "18:00")) == at("2026-11-24", "16:00")
    assert had_to_come_before(MEMPHIS, cut_off, at("2026-11-26", "18:00")) == at("2026-11-25", "16:00"), "Thanksgiving"
    assert had_to_come_before(MEMPHIS, cut_off, at("2026-11-30", "08:00")) == at("2026-11-27", "16:00"), "Monday morning"

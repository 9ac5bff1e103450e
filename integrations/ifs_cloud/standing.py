"""Headers of IFS shipments as far as their shipping goes: what a comparison needs, in as few calls as possible."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from integrations.base.records import Standing
from integrations.ifs_cloud.mapping import Row, moment, same_state, shipment_number, source_key, text
from integrations.ifs_cloud.odata import all_of, any_of, compare
from integrations.ifs_cloud.profile import ShipmentProfile


def fields(shipment: ShipmentProfile) -> tuple[str, ...]:
    """What is selected, in a fixed order, each once; fields that the tenant does not have are left out."""
    names = (shipment.key, shipment.state_field, shipment.site_field, shipment.poll.date_field)
    given = (*names, shipment.tracking_field, shipment.forwarder_field)
    return tuple(dict.fromkeys(name for name in given if name))


def numbered_clause(shipment: ShipmentProfile, sites: Sequence[str], since: dt.date | None, after: int | None) -> str:
    """The filter for shipments of these sites that hold a tracking number, in any state (sheet 4.3)."""
    assert shipment.tracking_field is not None
    where = [any_of(compare(shipment.site_field, "eq", site) for site in sites), compare(shipment.tracking_field, "ne", None)]
    if since is not None:
        # The date column, also where polls go by a stamp: a stamp moves with every note that somebody adds.
        day = since if shipment.poll.date_type == "date" else dt.datetime(since.year, since.month, since.day, tzinfo=dt.UTC)
        where.append(compare(shipment.poll.date_field, "ge", day))
    if after is not None:
        where.append(compare(shipment.key, "gt", after))
    return all_of(where)


def standing(row: Row, shipment: ShipmentProfile) -> Standing:
    """One header. Raises Rejected for a row without a readable number or date."""
    number = shipment_number(row, shipment.key)
    state = text(row, shipment.state_field)
    return Standing(
        key=source_key(number),
        number=str(number),
        state=state,
        cancelled=any(same_state(state, cancelled) for cancelled in shipment.cancelled_states),
        site=text(row, shipment.site_field),
        tracking_number=text(row, shipment.tracking_field) if shipment.tracking_field else None,
        forwarder=text(row, shipment.forwarder_field),
        date=moment(row, shipment.poll.date_field),
    )


__all__ = ["fields", "numbered_clause", "standing"]

"""The flows as the engine runs and polls them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connector.services import cursors
from connector.services.engine.polling import PollSpec
from connector.services.engine.work import FlowSpec
from integrations.flows import attach, costs, freight, ship, track

FLOWS: dict[str, FlowSpec] = {
    "ship": FlowSpec(
        "ship",
        ship.ship,
        prefetch=lambda erp: erp.read_documents,
        look_ahead=(ship.look_ahead, freight.look_ahead),
        operations={
            ship.BuyLabel.kind: ship.BuyLabel,
            attach.AttachFile.kind: attach.AttachFile.outside,
            freight.PostCharge.kind: freight.PostCharge.outside,
        },
        another_carrier=ship.another_carrier,
    ),
    "void": FlowSpec("void", ship.void),
    "attach": FlowSpec("attach", attach.attach_now, operations={attach.AttachFile.kind: attach.AttachFile.outside}),
    "track": FlowSpec("track", track.track),
    "cost": FlowSpec("cost", costs.correct),
}


def _kinds(options: Mapping[str, Any]) -> Sequence[str]:
    found: Sequence[str] = options.get("documents") or ["shipment"]
    return found


POLLS: dict[str, PollSpec] = {"ship": PollSpec("ship", _kinds, cursors.window_days, ship.changed)}

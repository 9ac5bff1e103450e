"""The label on its way to the supplier: for inbound documents a link to it is mailed to whoever ships.

ship    … write tracking → mail link

Off unless the option `supplier_mail` is on. The mail is noted before it leaves and goes once; whatever becomes of it, the
transfer goes on, and the history says what did.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from connector.models import LabelLink, Shipment
from connector.services import label_links
from connector.services.engine.run import Run
from connector.services.shipments import NotPossible
from integrations.base.records import WriteResult

MAIL = "mail link"
INBOUND = frozenset({"purchase_order"})
"""Kinds of documents that others ship to us."""
_WRITE: Any = "write"


def wanted(run: Run) -> bool:
    """Whether the integration mails links to suppliers."""
    return bool(run.options.get("supplier_mail"))


def mail_link(run: Run, shipment: Shipment | None) -> None:
    """Mail the link, once. Never raises for what becomes of the mail."""
    reason, address = _why_not(run, shipment), ""
    if not reason and shipment is not None:
        address = address_of(shipment)
        reason = "" if address else "the document names no e-mail address of the supplier"
    if reason or shipment is None:
        run.skip_step(MAIL, _WRITE, reason)
        return
    run.write(MAIL, partial(_mail, run), shipment.pk, address)


def address_of(shipment: Shipment) -> str:
    """The sender's e-mail address in what the carrier was asked, "" where there is none."""
    asked = (shipment.send.context if shipment.send is not None else None) or {}
    sender = asked.get("sender")
    return str(sender.get("email") or "").strip() if isinstance(sender, Mapping) else ""


def _why_not(run: Run, shipment: Shipment | None) -> str:
    if shipment is None:
        return "the label is not stored as a shipment of ours"
    if run.source_key.partition(":")[0] not in INBOUND:
        return "not an inbound document"
    return ""


def _mail(run: Run, shipment_id: int, address: str) -> WriteResult:
    try:
        link = label_links.mail_once(shipment_id, address)
    except NotPossible as error:
        run.note("link_mail_failed", reason=str(error).replace(address, "the address"))
        return WriteResult("", (), ("mail",))
    if link.mail_state == LabelLink.Mail.SENDING:
        run.note("link_mail_failed", link=link.pk, reason="A process died on the way: nobody knows whether the mail left.")
    return WriteResult("", ("mail",) if link.mail_state == LabelLink.Mail.SENT else (), ())

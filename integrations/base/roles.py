"""What a flow may ask of a vendor: small protocols in the flows' words. Reads are plural.

An adapter is built per (connection, worker thread or batch) by the services; it keeps no state that
another process would need. Every method may raise the classes of `errors`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from integrations.base.address_checks import AddressCheck
from integrations.base.preview import PlannedWrite
from integrations.base.rates import Quote
from integrations.base.records import (
    Address,
    Anchor,
    AttachedFile,
    BoughtShipment,
    Document,
    DocumentHead,
    FilePart,
    FreightBasis,
    FreightPart,
    Goods,
    LabelFile,
    LookUp,
    Pending,
    PingLayer,
    PostedCharge,
    Price,
    Problem,
    ShipmentRequest,
    Standing,
    StatusWrite,
    VoidResult,
    WriteBack,
    WriteResult,
)
from integrations.base.tracking import ParcelNews, TrackQuery


@dataclass(frozen=True, slots=True)
class Site:
    """A site of a company code as the operator entered it."""

    company_code: str
    code: str


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Which documents a poll wants: ready ones of these sites.

    `since` limits by the profile's date column (a null date counts as inside); None lists by state
    alone (baseline and daily sweep).
    """

    kind: str
    sites: tuple[Site, ...]
    since: dt.date | None = None


@dataclass(frozen=True, slots=True)
class SendTicket:
    """One permission to send one request that must not be repeated.

    `reference` goes into the vendor's reference field. The HTTP layer enforces the deadline; the adapter
    passes the ticket to `Http.request(..., once=ticket)` for exactly the request that must not be repeated.
    """

    reference: str
    number: int
    total_s: float


@dataclass(frozen=True, slots=True)
class LookUpQuery:
    """What to look for after a lost answer. Dates are the sender's local dates; `request` is what was sent, if known."""

    reference: str
    account: str
    begin: dt.date
    end: dt.date
    request: ShipmentRequest | None = None


class Pingable(Protocol):
    def ping(self) -> Iterator[PingLayer]:
        """Check layer by layer against the real system, changing nothing there; stop after a fatal layer."""


class Erp(Pingable, Protocol):
    def list_documents(self, query: ListQuery) -> Iterator[list[DocumentHead]]:
        """Yield pages of ready documents. A row that cannot be read is left out and counted in `unreadable`."""

    def ready_rule(self, kind: str) -> str:
        """The ready rule as canonical text: what it lets in is baselined when the text changes."""

    def read_documents(self, keys: Sequence[str]) -> dict[str, Document | Problem]:
        """Read documents with lines, handling units and receiver address, batched. One key, one answer."""

    def read_standings(self, keys: Sequence[str]) -> dict[str, Standing | Problem]:
        """Read the headers of documents and nothing else, batched; what is not there is a Problem `document_gone`."""

    def list_numbered(self, query: ListQuery, after: str = "") -> Iterator[list[Standing]]:
        """Yield pages of documents of at most 20 sites, in any state, that hold a tracking number, in order of their keys.

        `since` limits by the date column, in which here a null date is outside; `after` is the key to go on behind.
        """

    def read_goods(self, keys: Sequence[str]) -> dict[str, Goods | Problem]:
        """Read what customs wants to know of documents' lines: price, weight, origin. Asked only for parcels that need it."""

    def write_tracking(self, key: str, write: WriteBack) -> WriteResult:
        """Compare, then write what differs under the record's version; re-read and retry on a moved version.

        Raises FieldConflict when the tracking field holds a value that is neither `base` nor ours,
        Conflict when the version moved three times running, Rejected when the ERP refuses.
        """

    def describe_tracking(self, document: Document, write: WriteBack) -> tuple[PlannedWrite, ...]:
        """What `write_tracking` would send, were the record as this document was read; calls nobody. Raises as it does."""

    def status_targets(self, kind: str) -> frozenset[str]:
        """Which parts of a `StatusWrite` this ERP has fields for on documents of a kind; empty: there is nothing to write."""

    def write_status(self, key: str, write: StatusWrite) -> WriteResult:
        """Compare, then write what differs. These fields are the carrier's news: what stands there is replaced."""

    def clear_tracking(self, key: str, ours: frozenset[str], shared: str = "") -> WriteResult:
        """Empty the tracking field if it holds one of ours; otherwise leave it and say so in `skipped`.

        `shared`: the number of another delivery of the same order that still stands. A field that deliveries share shows it
        from then on; "" where there is none.
        """

    def takes_freight(self, kind: str) -> bool:
        """Whether this connection lets freight cost of documents of that kind be written to orders."""

    def freight_markup(self, kind: str) -> Decimal | None:
        """Per cent that the customer pays above the freight cost of such documents; None: the customer pays nothing for it."""

    def read_freight_basis(
        self, keys: Sequence[str], known: Mapping[str, Document], *, by_line: bool = False
    ) -> dict[str, FreightBasis | Problem]:
        """Read the orders that documents deliver for, batched; weights and values only where there is more than one to share.

        `known`: documents that were read a moment ago; what they tell is not read again. `by_line`: with the lines that
        ship of each order, where the ERP lets a charge be tied to one.
        """

    def prepare(self) -> None:
        """Do what can fail before anything is sent (get a token)."""

    def describe_freight(self, part: FreightPart, reference: str) -> dict[str, object]:
        """The exact body of the charge, for the frozen intent. Raises Rejected for what cannot be posted."""

    def post_freight(self, body: dict[str, object], part: FreightPart, ticket: SendTicket) -> PostedCharge:
        """Post the charge once. A proven refusal is Rejected, ConfigurationError or RateLimited; doubt OutcomeUnknown."""

    def parse_freight(self, answer: str, part: FreightPart, *, status: int | None) -> PostedCharge:
        """Read a stored raw answer again. Raises as `post_freight`."""

    def find_freight(self, part: FreightPart, references: Sequence[str]) -> LookUp:
        """Charges of the order that may be this one; their numbers stand as tracking numbers."""

    def correct_freight(
        self, key: str, order: str, number: str, cost: Decimal, ours: Sequence[Decimal], price: Price | None = None
    ) -> WriteResult:
        """Set the cost of a charge posted for a document, if it is still one of `ours`, and its `price` along with it.

        What stands in the way is told in `skipped`: "gone" (no such charge), "invoiced" (it may not be changed any more),
        "changed" (somebody else set the cost), "repriced" (or what the customer pays).
        """

    @property
    def takes_labels(self) -> bool:
        """Whether this connection lets labels be attached."""

    def document_anchors(self, keys: Sequence[str], known: Mapping[str, Anchor]) -> dict[str, Anchor | Problem]:
        """Where documents' files hang, for its document management. One key, one answer.

        `known`: where they hang by what a write has told a moment ago; those records are not read for it again.
        """

    def media_anchors(self, keys: Sequence[str], known: Mapping[str, Anchor]) -> dict[str, Anchor | Problem]:
        """Where documents' files hang, for its media library."""

    def describe_file(self, part: FilePart, reference: str) -> dict[str, object]:
        """The exact body that makes the file's place, with our reference in its title."""

    def create_file(self, body: dict[str, object], part: FilePart, ticket: SendTicket) -> AttachedFile:
        """Make the file's place once. A proven refusal is Rejected or RateLimited; doubt OutcomeUnknown."""

    def parse_file(self, answer: str, part: FilePart, *, status: int | None) -> AttachedFile:
        """Read a stored raw answer again. Raises as `create_file`."""

    def find_file(self, part: FilePart, reference: str) -> LookUp:
        """Places under whose title our reference stands; their keys stand as tracking numbers."""

    def file_of(self, key: str, part: FilePart) -> AttachedFile:
        """The place of that key, as the ERP writes it or as a person types it."""

    def upload_file(self, made: AttachedFile, name: str, data: bytes) -> WriteResult:
        """Put the file into its place; doing it again replaces it by itself."""

    def connect_file(self, made: AttachedFile) -> WriteResult:
        """Hang the place on its record, unless it hangs there already."""


class Carrier(Pingable, Protocol):
    @property
    def account(self) -> str:
        """The account number that pays, for look-ups."""

    def prepare(self) -> None:
        """Do what can fail before money is at stake (get a token)."""

    def describe_quote(self, request: ShipmentRequest) -> dict[str, object]:
        """The exact body with which `quote` asks for one document's prices, for dry runs. Raises Rejected."""

    @property
    def quote_call(self) -> str:
        """Method and URL of `quote`, for dry runs."""

    def quote(self, requests: Sequence[ShipmentRequest]) -> dict[str, Quote | Problem]:
        """What each would cost with every service, by document key. Costs nothing and may be repeated at any time."""

    @property
    def address_call(self) -> str:
        """Method and URL of `validate_addresses`, for dry runs."""

    def describe_address_check(self, address: Address) -> dict[str, object]:
        """The body that would check one address. Raises Rejected for what cannot stand on a label."""

    def validate_addresses(self, asked: Sequence[Address]) -> list[AddressCheck | Problem]:
        """The carrier's opinion of addresses, one each in this order, batched as it allows. Nothing is changed or bought."""

    def reaches_po_box(self, service: str) -> bool:
        """Whether a service delivers to post office boxes."""

    def describe_request(self, request: ShipmentRequest, reference: str) -> dict[str, object]:
        """The exact body that `create_shipment` would send, for the frozen intent and for dry runs.

        Raises Rejected for what can be seen to be impossible without asking the carrier.
        """

    @property
    def create_call(self) -> str:
        """Method and URL of `create_shipment`, for dry runs."""

    def request_notes(self, request: ShipmentRequest, reference: str) -> tuple[str, ...]:
        """What `describe_request` had to change or leave out, one sentence each. Raises as it does."""

    def create_shipment(self, body: dict[str, object], request: ShipmentRequest, ticket: SendTicket) -> BoughtShipment | Pending:
        """Send `body` once. Refusals raise Rejected, ConfigurationError or RateLimited; doubt raises OutcomeUnknown."""

    def parse_created(self, answer: str, request: ShipmentRequest, *, status: int | None = None) -> BoughtShipment | Pending:
        """Read a stored raw answer again (after a crash between answer and outcome). Raises as `create_shipment`."""

    def ask_pending(self, ticket: str, request: ShipmentRequest) -> BoughtShipment | Pending:
        """Ask for the result of an accepted, unfinished create."""

    def find_shipment(self, query: LookUpQuery) -> LookUp:
        """Look a shipment up under our reference."""

    def track(self, queries: Sequence[TrackQuery]) -> dict[str, ParcelNews | Problem]:
        """News of parcels, batched as the carrier allows. A number that is not answered is left out."""

    def is_number(self, text: str) -> bool:
        """Whether a text has the form of this carrier's tracking numbers."""

    def proof_of_delivery(self, query: TrackQuery) -> LabelFile | None:
        """The carrier's document that a parcel was delivered; None where it has none (yet)."""

    @staticmethod
    def is_signed_push(credentials: Mapping[str, str], raw: bytes, headers: Mapping[str, str]) -> bool:
        """Whether a webhook body comes from the carrier; over the raw bytes, in constant time.

        From the credentials alone: a storm of posts does not wait until an adapter is ready to call the vendor.
        """

    def read_push(self, raw: bytes) -> tuple[ParcelNews, ...]:
        """News in a verified webhook body. Raises UnreadablePush (`base/tracking.py`)."""

    def void_shipment(self, master_tracking_number: str, sender_country: str) -> VoidResult:
        """Cancel a whole shipment; repeating it is harmless."""

"""Three years of history by bulk SQL, for asking pages and nightly jobs of an installation that has grown old.

Two tenants, nine of ten shipments at the first. Every table that grows with history has its share: what is kept for
ever for every shipment, what a rule erases for the newest tenth.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from integrations.base.rates import Offer
from integrations.base.records import Money

YEARS = 3
CODES = ("address_invalid", "service_unmapped", "rejected", "not_found")
ATTENTION = ("label_missing", "label_unreadable", "changed_after_label", "cancelled_after_label", "number_clash", "bought_twice")
REFERENCES = {
    "tracking": "'7946' || {eight}",
    "document": "'D' || {text}",
    "order": "'C' || {text}",
    "our_reference": "'ML' || {eight}",
    "transaction": "'624deea6-b709-470c-' || {eight}",
}
"""Kinds that every shipment has -> the value."""
SOME = {
    "tracking": "'7949' || {eight}",
    "purchase_order": "'PO' || {text}",
    "delivery_note": "'DN' || {text}",
    "invoice": "'INV' || {text}",
}
"""Kinds that one of ten has; the first is the number of a second package."""


def spread(of: int) -> str:
    """0 to `of` - 1, spread over the rows without a pattern that an index could profit from; the same in every run."""
    return f"((n %% {of} * 7919 + n / 13) %% {of})"


def one_of(values: dict[str, str], otherwise: str) -> str:
    """CASE of conditions over n."""
    return "CASE " + " ".join(f"WHEN {when} THEN {then}" for when, then in values.items()) + f" ELSE {otherwise} END"


@dataclass(frozen=True)
class Words:
    """What differs between the engines: expressions over n, the number of a shipment (1 the oldest)."""

    postgres: bool
    rows: int
    end: dt.datetime

    @property
    def begin(self) -> dt.datetime:
        """When the first one was made."""
        return self.end - dt.timedelta(days=YEARS * 365)

    def at(self, hours: float = 0) -> str:
        """When it was made, so many hours later."""
        seconds = (self.end - self.begin).total_seconds()
        first = self.begin + dt.timedelta(hours=hours)
        if self.postgres:
            return f"(timestamptz '{first:%Y-%m-%d %H:%M:%S}+00' + n * interval '1 second' * ({seconds} / {self.rows}))"
        later = f"CAST(n * {seconds} / {self.rows} AS INTEGER) || ' seconds'"
        return f"strftime('%%Y-%%m-%%d %%H:%%M:%%S', '{first:%Y-%m-%d %H:%M:%S}', '+' || {later})"

    @property
    def day(self) -> str:
        return f"({self.at()} AT TIME ZONE 'UTC')::date" if self.postgres else f"date({self.at()})"

    @property
    def eight(self) -> str:
        return "lpad(n::text, 8, '0')" if self.postgres else "printf('%%08d', n)"

    @property
    def text(self) -> str:
        return "n::text" if self.postgres else "CAST(n AS TEXT)"

    def value(self, pattern: str) -> str:
        """An expression with the number in it."""
        return pattern.format(eight=self.eight, text=self.text)


def insert(model: Any, columns: dict[str, str], first: int, last: int, step: int = 1) -> None:
    """A row for each n from `first` to `last`: a column is an SQL expression over n, or else the model's own default.

    Without an `id` the database counts.
    """
    from django.db import connection

    expressions, values, names = [], [], []
    for field in model._meta.concrete_fields:
        if field.primary_key and field.column not in columns:
            continue
        names.append(connection.ops.quote_name(field.column))
        if field.column in columns:
            expressions.append(columns[field.column])
        else:
            expressions.append("%s")
            values.append(field.get_db_prep_save(field.get_default(), connection))
    postgres = connection.vendor == "postgresql"
    if first > last:
        return
    series = f"SELECT generate_series({first}, {last}, {step}) AS n"
    if not postgres:
        following = f"SELECT n + {step} FROM s WHERE n + {step} <= {last}"
        series = f"WITH RECURSIVE s(n) AS (SELECT {first} UNION ALL {following}) SELECT n FROM s"
    table = model._meta.db_table
    with connection.cursor() as cursor:
        picked = ", ".join(expressions)
        cursor.execute(f"INSERT INTO {table} ({', '.join(names)}) SELECT {picked} FROM ({series}) AS numbers", values)
        if postgres and "id" in columns:
            cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))")


def fill(rows: int, end: dt.datetime) -> None:
    """Everything that stands of shipments 1 to `rows`, the oldest first, the last one made at `end` (aware, UTC)."""
    from django.db import connection

    from connector.models import Connection, Integration, Tenant

    mine = Integration.objects.get()
    other = Tenant.objects.create(slug="other", name="Other")
    ends = [Connection.objects.create(tenant=other, slug=f"other-{v}", name=v, vendor=v) for v in ("ifs_cloud", "fedex")]
    theirs = Integration.objects.create(
        tenant=other, slug="other", name="Other", kind="ifs_fedex", source=ends[0], target=ends[1]
    )
    words = Words(connection.vendor == "postgresql", rows, end)

    def whose(name: str) -> str:
        return one_of({"n %% 10 = 3": str(getattr(theirs, name))}, str(getattr(mine, name)))

    owned = {"tenant_id": whose("tenant_id")}
    with_integration = owned | {"integration_id": whose("pk")}
    carrier = {"carrier_id": whose("target_id")}
    _work(words, with_integration, whose("target_id"), whose("source_id"))
    _shipments(words, with_integration | carrier)
    _money(words, owned, with_integration, carrier)
    _findings(words, mine)
    _evidence(words, owned)
    _days(words, mine)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if words.postgres else "ANALYZE")


def _work(words: Words, owned: dict[str, str], target: str, source: str) -> None:
    """Records, their transfers with what needs a person, and what was sent for the newest tenth."""
    from connector.models import Effect, EffectSend, Handling, SourceRecord, Step, Transfer, User

    rows, at = words.rows, words.at()
    key = f"'shipment:' || {words.text}"
    place = {"company_code": one_of({"n %% 2 = 0": "'20'"}, "'10'"), "site": "'S' || (1 + n %% 3)"}
    insert(
        SourceRecord,
        {**owned, **place, "id": "n", "flow": "'ship'", "source_key": key, "document_kind": "'shipment'"}
        | {"first_seen_at": at, "last_seen_at": at, "revision": "1", "audit_sequence": "1"}
        | {"document_date": at, "before_start": one_of({f"n > {rows} * 0.001": "false"}, "true")},
        1,
        rows,
    )
    stopped = {
        f"{spread(2000)} = 5": "'failed'",
        f"{spread(20000)} = 6": "'in_doubt'",
        f"{spread(20000)} = 7": "'needs_approval'",
    }
    looks = {f"{spread(len(ATTENTION) * 5000)} = {n * 11 + 8}": f"'{name}'" for n, name in enumerate(ATTENTION)}
    codes = one_of({f"n %% {len(CODES)} = {n}": f"'{code}'" for n, code in enumerate(CODES)}, "''")
    insert(
        Transfer,
        {**owned, **place, "id": "n", "record_id": "n", "flow": "'ship'", "source_key": key, "due_at": at}
        | {"state": one_of(stopped | {f"n > {rows} * 0.9995": "'waiting'"}, "'done'"), "created_at": at, "updated_at": at}
        | {"attention": one_of(looks, "NULL"), "code": one_of(dict.fromkeys(stopped, codes), "''")}
        | {"message": one_of(dict.fromkeys(stopped, "'It was refused.'"), "''")},
        1,
        rows,
    )
    somebody = User.objects.create_user("somebody", is_staff=True)
    insert(Handling, owned_only(owned) | {"transfer_id": "n", "assignee_id": str(somebody.pk), "changed_at": at}, 1, rows, 977)
    recent = max(1, rows * 9 // 10)
    insert(
        Effect,
        owned_only(owned)
        | {"id": "n", "record_id": "n", "transfer_id": "n", "kind": "'label'", "buys": "true", "source_connection_id": source}
        | {"document_key": key, "created_at": at},
        recent,
        rows,
    )
    insert(
        EffectSend,
        owned_only(owned)
        | {"id": "n", "effect_id": "n", "transfer_id": "n", "connection_id": target, "reference": f"'ML' || {words.eight}"}
        | {"sent_at": at, "deadline_at": at, "outcome": "'done'", "outcome_at": at},
        recent,
        rows,
    )
    for position, name in enumerate(("read", "buy_label", "write_tracking")):
        insert(
            Step,
            owned_only(owned)
            | {"transfer_id": "n", "record_id": "n", "name": f"'{name}'", "kind": "'read'", "state": "'done'"}
            | {"position": str(position), "started_at": at, "ended_at": at},
            recent,
            rows,
        )


def owned_only(owned: dict[str, str]) -> dict[str, str]:
    """The tenant alone."""
    return {"tenant_id": owned["tenant_id"]}


def _shipments(words: Words, owned: dict[str, str]) -> None:
    """Shipments, packages, every number they are found by, links, scans of the newest."""
    from connector.models import LabelLink, Package, Reference, Shipment, TrackingEvent

    rows, at, day = words.rows, words.at(), words.day
    service = {
        f"{spread(5000)} = 1": "'SAME_DAY'",
        f"n < {rows // 3} AND n %% 4 = 1": "'SMART_POST'",
        "n %% 7 < 2": "'FEDEX_2_DAY'",
    }
    moving, unscanned = f"n > {rows} * 0.99", f"n > {rows} * 0.999 AND n %% 5 = 1"
    status = {f"{spread(1000)} = 3": "'exception'", unscanned: "'label_created'", moving: "'in_transit'"}
    cost = {f"{spread(1000)} = 11": f"500 + {spread(997)}", f"{spread(50)} = 13": "NULL"}
    insert(
        Shipment,
        owned
        | {"id": "n", "record_id": "n", "transfer_id": "n", "source_key": f"'shipment:' || {words.text}"}
        | {"master_tracking_number": words.value("'7946' || {eight}"), "document_number": words.value("'D' || {text}")}
        | {"state": one_of({f"{spread(10000)} = 7": "'voiding'", f"{spread(50)} = 9": "'voided'"}, "'active'")}
        | {"status": one_of(status, "'delivered'"), "service": one_of(service, "'FEDEX_GROUND'")}
        | {"company_code": one_of({"n %% 2 = 0": "'20'"}, "'10'"), "freight_account": "'6' || (n %% 5)"}
        | {"site": f"'S' || ({spread(6)} * 2 + n %% 2)", "cost_center": f"'CC-' || {spread(200)}"}
        | {"cost": one_of(cost, f"5 + {spread(5501)} * 0.01"), "cost_kind": "'rated'", "currency": "'USD'"}
        | {"quoted_cost": f"5 + {spread(5501)} * 0.01", "quoted_currency": "'USD'"}
        | {"recipient_name": "'Recipient ' || n", "ship_date": day, "created_at": at}
        | {"written_at": one_of({f"{spread(5000)} = 17": "NULL"}, at), "last_asked_at": one_of({moving: at}, "NULL")}
        | {"delivered_at": one_of({moving: "NULL"}, words.at(72)), "last_news_at": one_of({moving: "NULL"}, words.at(72))}
        | {"next_track_at": one_of({moving: words.at(6)}, "NULL")},
        1,
        rows,
    )
    package = owned_only(owned) | {"shipment_id": "n", "carrier_id": owned["carrier_id"], "ship_date": day}
    insert(Package, package | {"id": "n", "sequence": "1", "tracking_number": words.value("'7946' || {eight}")}, 1, rows)
    insert(Package, package | {"sequence": "2", "tracking_number": words.value(SOME["tracking"])}, 10, rows, 10)
    for kinds, first, step in ((REFERENCES, 1, 1), (SOME, 10, 10)):
        for kind, pattern in kinds.items():
            value = words.value(pattern)
            told = {"shipment_id": "n", "kind": f"'{kind}'", "value": value, "normalised": f"replace(upper({value}), '-', '')"}
            insert(Reference, owned_only(owned) | told, first, rows, step)
    link = {"shipment_id": "n", "digest": f"'l' || {words.eight}", "made_by": "'user:somebody'", "created_at": at}
    insert(LabelLink, owned_only(owned) | link | {"expires_at": words.at(240)}, 25, rows, 25)
    event = {"package_id": "n", "event_key": "'e'", "occurred_at": at, "status": "'in_transit'"}
    insert(TrackingEvent, owned_only(owned) | event, max(1, rows * 9 // 10), rows)


def _money(words: Words, owned: dict[str, str], with_integration: dict[str, str], carrier: dict[str, str]) -> None:
    """Shares of orders, corrections, prices, one large and many small invoice files."""
    from connector.models import CostChange, FreightCharge, InvoiceFile, InvoiceLine, RateQuote
    from connector.services.engine import codec

    rows, at = words.rows, words.at()
    amount = f"5 + {spread(5501)} * 0.01"
    charge = owned | {"shipment_id": "n", "order": f"'C' || {words.text}", "currency": "'USD'", "created_at": at}
    charge |= {"company_code": one_of({"n %% 2 = 0": "'20'"}, "'10'"), "account": "'6' || (n %% 5)"}
    charge |= {"cost_center": f"'CC-' || {spread(200)}", "amount": amount, "rated": amount, "quoted": amount}
    charge |= {"state": one_of({f"{spread(900)} = 4": "'left'", f"n > {rows} * 0.9998": "'planned'"}, "'posted'")}
    charge |= {"charged": one_of({f"{spread(300)} = 8": "1.23"}, "NULL"), "posted_at": at}
    insert(FreightCharge, charge, 2, rows, 2)
    insert(FreightCharge, charge | {"order": f"'C2' || {words.text}"}, 20, rows, 20)
    change = {"shipment_id": "n", "kind": "'invoice'", "before": amount, "after": "9.99", "currency": "'USD'"}
    change |= {"reason": "'Invoice 1'", "actor": "'system'", "created_at": at}
    change |= {"state": one_of({"n %% 2000 = 0": "'left'"}, "'done'")}
    insert(CostChange, owned | change, 40, rows, 40)
    offers = json.dumps(codec.encode([Offer("FEDEX_GROUND", name="Ground", cost=Money(Decimal("9.99"), "USD"))]))
    quote = {"record_id": "n", "transfer_id": "n", "shipment_id": "n", "to_buy": "true", "state": "'answered'"}
    quote |= {"offers": f"'{offers}'", "chosen": "'FEDEX_GROUND'", "amount": "9.99", "currency": "'USD'", "rule": "'cheapest'"}
    insert(RateQuote, with_integration | carrier | quote | {"created_at": at, "answered_at": at}, 10, rows, 10)
    file = carrier | owned | {"id": "n", "name": f"'invoice-' || {words.text} || '.csv'", "sha256": f"'x' || {words.eight}"}
    file |= {"state": one_of({"n = 1": "'ready'"}, "'done'"), "rows": one_of({"n = 1": str(rows // 50)}, "50")}
    file |= {"encoding": "'utf-8'", "delimiter": "','", "created_by": "'user:somebody'", "created_at": at}
    insert(InvoiceFile, file, 1, max(2, rows // 1000))
    line = carrier | owned | {"row": "n", "invoice_number": f"'I' || {words.text}", "shipment_id": "n"}
    line |= {"tracking_number": words.value("'7946' || {eight}"), "charge": "'Freight'", "amount": amount, "currency": "'USD'"}
    state = {"n %% 10 < 5": "'ready'", "n %% 10 = 7": "'held'"}
    insert(InvoiceLine, line | {"file_id": "1", "state": one_of(state, "'unknown'")}, 1, max(2, rows // 50))
    insert(InvoiceLine, line | {"file_id": "2", "state": "'applied'"}, max(3, rows // 50 + 1), max(4, rows // 5))


def _findings(words: Words, mine: Any) -> None:
    """A comparison a day, ten thousand findings that stand, ten times as many that are over."""
    from connector.models import ReconciliationFinding, ReconciliationRun
    from connector.services.reconcile.kinds import ALL

    rows, at = words.rows, words.at()
    run = {"tenant_id": str(mine.tenant_id), "integration_id": str(mine.pk)}
    days = YEARS * 365
    insert(
        ReconciliationRun,
        run
        | {"state": "'done'", "asked_by": "'clock'", "since": words.day, "call_limit": "1000", "due_at": at}
        | {"started_at": at, "ended_at": at, "scheduled": "true"},
        1,
        rows,
        max(1, rows // days),
    )
    kind = one_of({f"n %% {len(ALL)} = {n}": f"'{one.name}'" for n, one in enumerate(ALL)}, f"'{ALL[0].name}'")
    remedy = one_of({f"n %% {len(ALL)} = {n}": f"'{one.remedy}'" for n, one in enumerate(ALL)}, f"'{ALL[0].remedy}'")
    finding = run | {"kind": kind, "remedy": remedy, "subject": words.text, "shipment_id": "n", "transfer_id": "n"}
    finding |= {"number": words.value("'7946' || {eight}"), "source_key": f"'shipment:' || {words.text}", "record_id": "n"}
    finding |= {"ours": "'9.99 USD'", "erp": "'8.99 USD'", "carrier": "'9.99 USD'", "first_seen_at": at, "last_seen_at": at}
    insert(ReconciliationFinding, finding | {"state": "'closed'", "closed_at": at}, 10, rows, 10)
    open_or_known = one_of({"n %% 7 = 0": "'known'"}, "'open'")
    insert(ReconciliationFinding, finding | {"state": open_or_known}, 100, rows, 100)


def _evidence(words: Words, owned: dict[str, str]) -> None:
    """An audit entry each; calls and details that a rule has not erased yet."""
    from connector.models import AuditDetail, AuditEntry, Connection, CountMark, Exchange

    rows, at = words.rows, words.at()
    first = AuditEntry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    insert(
        AuditEntry,
        owned
        | {"id": f"n + {first}", "chain": f"'record:' || {words.text}", "sequence": "1", "at": at}
        | {"actor": "'system'", "act": "'step_done'", "facts": "'{}'", "hash": "'x'", "previous": "''"},
        1,
        rows,
    )
    CountMark.objects.update_or_create(name="audit", defaults={"value": first + rows})
    recent = max(1, rows * 9 // 10)
    insert(AuditDetail, owned | {"entry_id": f"n + {first}", "detail": "'{}'"}, recent, rows)
    call = {"connection_id": str(Connection.objects.order_by("pk").first().pk), "transfer_id": "n", "method": "'GET'"}  # type: ignore[union-attr]
    call |= {"url": "'https://erp.example/ShipmentSet'", "status": "200", "started_at": at, "digest": "'x'"}
    for operation in ("read_shipments", "create", "write_tracking"):
        insert(Exchange, owned | call | {"operation": f"'{operation}'"}, recent, rows)


def _days(words: Words, mine: Any) -> None:
    """Numbers per day, with two hundred cost centres."""
    from connector.models import DayCount

    day = "date '{0:%Y-%m-%d}' + (n / 200)" if words.postgres else "date('{0:%Y-%m-%d}', '+' || (n / 200) || ' days')"
    count = {"tenant_id": str(mine.tenant_id), "integration_id": str(mine.pk), "day": day.format(words.begin), "count": "5"}
    days = min(YEARS * 365, words.rows // 10)
    spent = {"what": "'spend'", "key": "'CC-' || (n %% 200)", "currency": "'USD'", "amount": "50"}
    insert(DayCount, count | spent, 0, days * 200 + 199)
    for what in ("done", "failed", "bought"):
        insert(DayCount, count | {"what": f"'{what}'"}, 0, days * 200 + 199, 200)

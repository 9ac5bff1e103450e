"""`python -m tests.bench.pages`: the console's pages over a million shipments, in milliseconds and queries.

Fills a scratch installation by bulk SQL (1,000,000 shipments on PostgreSQL, 100,000 on SQLite, nine of ten at one tenant,
spread over three years) and asks for each page as a viewer of that tenant and as the installation owner. Nothing here is
a test with a time limit.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

from tests.bench.machine import peak_mb
from tests.bench.site import Plan, scratch

ROWS = {"postgres": 1_000_000, "sqlite": 100_000}
BUDGET_MS, BUDGET_QUERIES = 200, 15
LIST = "/admin/connector/shipment/"
TRANSFERS = "/admin/connector/transfer/"


def addresses(last: int, shipment: int, transfer: int) -> dict[str, str]:
    """What is asked for: name -> address. `last` is the newest row's number; the oldest is 1."""
    return {
        "history": LIST,
        "history, in the middle": f"{LIST}?after={last // 2}",
        "history, near the end": f"{LIST}?after={last // 50}",
        "state: label bought": f"{LIST}?state=active",
        "state: voided (2 %)": f"{LIST}?state=voided",
        "state: being voided (0.01 %)": f"{LIST}?state=voiding",
        "carrier's status: exception (0.1 %)": f"{LIST}?status=exception",
        "service, common": f"{LIST}?service=FEDEX_GROUND",
        "service, rare (0.02 %)": f"{LIST}?service=SAME_DAY",
        "service, only in the first year": f"{LIST}?service=SMART_POST",
        "service, unknown": f"{LIST}?service=NO_SUCH",
        "company code": f"{LIST}?company_code=20",
        "site": f"{LIST}?site=S7",
        "cost centre": f"{LIST}?cost_center=CC-77",
        "shipped in one week, three years ago": f"{LIST}?ship_date_from=2024-01-08&ship_date_to=2024-01-14",
        "shipped in one year": f"{LIST}?ship_date_from=2025-01-01&ship_date_to=2025-12-31",
        "shipped in one old week, cost centre": f"{LIST}?ship_date_from=2024-01-08&ship_date_to=2024-01-14&cost_center=CC-77",
        "shipped in one year, rare service": f"{LIST}?ship_date_from=2025-01-01&ship_date_to=2025-12-31&service=SAME_DAY",
        "created on one old day": f"{LIST}?created_from=2024-01-08&created_to=2024-01-08",
        "created in the last year, service of the first": f"{LIST}?created_from=2026-01-01&service=SMART_POST",
        "cost over 500 (0.1 %)": f"{LIST}?cost_from=500",
        "cost from 20 to 30": f"{LIST}?cost_from=20&cost_to=30",
        "cost over 500, shipped in one year": f"{LIST}?cost_from=500&ship_date_from=2025-01-01&ship_date_to=2025-12-31",
        "company code, site, state, service": f"{LIST}?company_code=20&site=S6&state=active&service=FEDEX_GROUND",
        "two common values that never meet": f"{LIST}?company_code=20&site=S1",
        "sorted by ship date": f"{LIST}?sort=shipped_latest",
        "sorted by cost": f"{LIST}?sort=cost_highest",
        "sorted by cost, one service": f"{LIST}?sort=cost_highest&service=FEDEX_GROUND",
        "search: a whole tracking number": f"{LIST}?q=7946{last // 3:08d}",
        "search: an order number": f"{LIST}?q=C{last // 3}",
        "search: 8 digits": f"{LIST}?q=79460012",
        "search: 3 digits that all have": f"{LIST}?q=794",
        "search: a number nobody has": f"{LIST}?q=ZZZ999",
        "search: 3 digits, and a rare service": f"{LIST}?q=794&service=SAME_DAY",
        "transfers that need attention": TRANSFERS,
        "transfers, all": f"{TRANSFERS}?show=all",
        "transfers, finished": f"{TRANSFERS}?show=done",
        "transfers, by document": f"{TRANSFERS}?show=all&q=shipment:{last // 3}",
        "transfers, by tracking number": f"{TRANSFERS}?show=all&q=7946{last // 3:08d}",
        "a shipment's page": f"{LIST}{shipment}/change/",
        "a transfer's page": f"{TRANSFERS}{transfer}/change/",
    }


# -- inside the installation -------------------------------------------------------------------------------


def _insert(model: Any, columns: dict[str, str], rows: int) -> None:
    """Rows 1 to `rows` of a table: a column is an SQL expression over n, or else the model's own default."""
    from django.db import connection

    expressions, values = [], []
    for field in model._meta.concrete_fields:
        if field.column in columns:
            expressions.append(columns[field.column])
        else:
            expressions.append("%s")
            values.append(field.get_db_prep_save(field.get_default(), connection))
    names = ", ".join(connection.ops.quote_name(f.column) for f in model._meta.concrete_fields)
    postgres = connection.vendor == "postgresql"
    series = (
        f"SELECT generate_series(1, {rows}) AS n"
        if postgres
        else f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows}) SELECT n FROM s"
    )
    with connection.cursor() as cursor:
        picked = ", ".join(expressions)
        cursor.execute(f"INSERT INTO {model._meta.db_table} ({names}) SELECT {picked} FROM ({series}) AS numbers", values)
        if postgres:
            table = model._meta.db_table
            cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))")


def _one_of(values: dict[str, str], otherwise: str) -> str:
    """CASE of conditions over n."""
    return "CASE " + " ".join(f"WHEN {when} THEN {then}" for when, then in values.items()) + f" ELSE {otherwise} END"


def fill(rows: int) -> None:
    """Records, transfers, shipments, packages, references and audit entries 1 to `rows`, oldest first."""
    from django.db import connection

    from connector.models import (
        AuditEntry,
        Connection,
        Integration,
        Package,
        Reference,
        Shipment,
        SourceRecord,
        Tenant,
        Transfer,
    )

    mine = Integration.objects.get()
    other = Tenant.objects.create(slug="other", name="Other")
    ends = [Connection.objects.create(tenant=other, slug=f"other-{v}", name=v, vendor=v) for v in ("ifs_cloud", "fedex")]
    theirs = Integration.objects.create(
        tenant=other, slug="other", name="Other", kind="ifs_fedex", source=ends[0], target=ends[1]
    )
    postgres = connection.vendor == "postgresql"
    seconds = 3 * 365 * 86400 - 86400
    if postgres:
        at = f"(timestamptz '2024-01-01 00:00+00' + n * interval '1 second' * ({seconds}.0 / {rows}))"
        day = f"({at} AT TIME ZONE 'UTC')::date"
        eight, text = "lpad(n::text, 8, '0')", "n::text"
    else:
        at = f"strftime('%%Y-%%m-%%d %%H:%%M:%%S', '2024-01-01', '+' || CAST(n * {seconds}.0 / {rows} AS INTEGER) || ' seconds')"
        day = f"date({at})"
        eight, text = "printf('%%08d', n)", "CAST(n AS TEXT)"
    whose = "n %% 10 = 3"
    # Spread over the rows without a pattern that an index could profit from; the same in every run.
    spread = "((n %% {0} * 7919 + n / 13) %% {0})".format
    tenant = _one_of({whose: str(other.pk)}, str(mine.tenant_id))
    integration = _one_of({whose: str(theirs.pk)}, str(mine.pk))
    carrier = _one_of({whose: str(theirs.target_id)}, str(mine.target_id))
    owned = {"id": "n", "tenant_id": tenant}
    key = f"'shipment:' || {text}"
    _insert(
        SourceRecord,
        owned
        | {"integration_id": integration, "flow": "'ship'", "source_key": key, "document_kind": "'shipment'"}
        | {"first_seen_at": at, "last_seen_at": at, "revision": "1", "audit_sequence": "1"},
        rows,
    )
    _insert(
        Transfer,
        owned
        | {"integration_id": integration, "record_id": "n", "flow": "'ship'", "source_key": key, "due_at": at}
        | {"state": _one_of({f"{spread(2000)} = 5": "'failed'"}, "'done'"), "created_at": at, "updated_at": at},
        rows,
    )
    service = _one_of(
        {
            f"{spread(5000)} = 1": "'SAME_DAY'",
            f"n < {rows // 3} AND n %% 4 = 1": "'SMART_POST'",
            "n %% 7 < 2": "'FEDEX_2_DAY'",
        },
        "'FEDEX_GROUND'",
    )
    _insert(
        Shipment,
        owned
        | {"integration_id": integration, "record_id": "n", "transfer_id": "n", "carrier_id": carrier, "source_key": key}
        | {"master_tracking_number": f"'7946' || {eight}", "document_number": f"'D' || {text}", "service": service}
        | {"state": _one_of({f"{spread(10000)} = 7": "'voiding'", f"{spread(50)} = 9": "'voided'"}, "'active'")}
        | {"status": _one_of({f"{spread(1000)} = 3": "'exception'", f"n > {rows} * 0.99": "'in_transit'"}, "'delivered'")}
        | {"company_code": _one_of({"n %% 2 = 0": "'20'"}, "'10'")}
        | {"site": f"'S' || ({spread(6)} * 2 + n %% 2)", "cost_center": f"'CC-' || {spread(200)}"}
        | {
            "cost": _one_of(
                {f"{spread(1000)} = 11": f"500 + {spread(997)}", f"{spread(50)} = 13": "NULL"}, f"5 + {spread(5501)} * 0.01"
            )
        }
        | {"currency": "'USD'", "recipient_name": "'Recipient ' || n", "ship_date": day, "created_at": at},
        rows,
    )
    _insert(
        Package,
        owned
        | {"shipment_id": "n", "carrier_id": carrier, "sequence": "1", "ship_date": day}
        | {"tracking_number": f"'7946' || {eight}"},
        rows,
    )
    for number, (kind, value) in enumerate({"tracking": f"'7946' || {eight}", "order": f"'C' || {text}"}.items()):
        told = {"shipment_id": "n", "kind": f"'{kind}'", "value": value, "normalised": value}
        _insert(Reference, owned | told | {"id": f"n + {number * rows}"}, rows)
    first = AuditEntry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    _insert(
        AuditEntry,
        {"id": f"n + {first}", "tenant_id": tenant, "chain": f"'record:' || {text}", "sequence": "1", "at": at}
        | {"actor": "'system'", "act": "'step_done'", "facts": "'{}'", "hash": "'x'", "previous": "''"},
        rows,
    )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if postgres else "ANALYZE")


def ask(client: Any, address: str, repeat: int) -> dict[str, Any]:
    """One page: the first answer and the median of the next ones, in ms; queries; the slowest query."""
    from django.db import connection

    queries: list[tuple[float, str]] = []

    def timed(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        begun = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            queries.append((time.perf_counter() - begun, sql))

    took, database = [], []
    for _ in range(repeat + 1):
        queries.clear()
        begun = time.perf_counter()
        with connection.execute_wrapper(timed):
            answer = client.get(address)
            answer.content  # noqa: B018 (rendered now)
        took.append(1000 * (time.perf_counter() - begun))
        database.append(1000 * sum(seconds for seconds, _ in queries))
        if answer.status_code != 200:
            raise SystemExit(f"{address}: {answer.status_code}")
    slowest = max(queries)
    return {
        "first_ms": took[0],
        "ms": statistics.median(took[1:]),
        "database_ms": statistics.median(database[1:]),
        "queries": len(queries),
        "slowest_ms": 1000 * slowest[0],
        "slowest": slowest[1],
    }


def stream(client: Any) -> dict[str, Any]:
    """The whole history as CSV: rows, seconds, and how much memory this process gained at its peak."""
    before = peak_mb(os.getpid())
    begun = time.perf_counter()
    answer = client.post(f"{LIST}export/")
    lines = sum(piece.count(b"\n") for piece in answer.streaming_content)
    return {"rows": lines - 1, "seconds": time.perf_counter() - begun, "gained_mb": peak_mb(os.getpid()) - before}


def inside(rows: int, repeat: int) -> dict[str, Any]:
    """Fill, sign in, ask. Runs in a process of the installation."""
    import django

    django.setup()
    from django.test import Client
    from django.test.utils import setup_test_environment

    from connector.models import Integration, Membership, User

    setup_test_environment()
    begun = time.perf_counter()
    fill(rows)
    told: dict[str, Any] = {"rows": rows, "fill_s": time.perf_counter() - begun, "pages": {}}
    viewer = User.objects.create_user("viewer", is_staff=True)
    Membership.objects.create(user=viewer, tenant=Integration.objects.get(slug__startswith="bench").tenant, role="viewer")
    people = {"viewer": viewer, "owner": User.objects.create_superuser("owner")}
    for who, user in people.items():
        client = Client()
        client.force_login(user)
        client.get("/admin/")  # templates and modules are read once
        for name, address in addresses(rows, rows // 2 + rows // 2 % 2, rows // 2 + rows // 2 % 2).items():
            told["pages"].setdefault(name, {})[who] = ask(client, address, repeat)
        told.setdefault("export", {})[who] = stream(client)
    told["load"] = os.getloadavg()[1]
    return told


# -- outside -----------------------------------------------------------------------------------------------


def table(told: dict[str, Any]) -> Iterator[str]:
    """The figures as lines of Markdown."""
    load = f"load {told['load']:.1f} on {os.cpu_count()} cores"
    yield f"{told['rows']:,} shipments; filled in {told['fill_s']:.0f} s; {load}"
    yield ""
    yield "| page | viewer: first, then, of it database (ms) | owner: the same | queries | within budget |"
    yield "| --- | ---: | ---: | ---: | --- |"
    for name, by_user in told["pages"].items():
        asked = [by_user[who] for who in ("viewer", "owner")]
        shown = [f"{page['first_ms']:.0f}, {page['ms']:.0f}, {page['database_ms']:.0f}" for page in asked]
        queries = max(p["queries"] for p in by_user.values())
        good = all(p["ms"] < BUDGET_MS for p in by_user.values()) and queries <= BUDGET_QUERIES
        yield f"| {name} | {shown[0]} | {shown[1]} | {queries} | {'yes' if good else '**no**'} |"
    for who, export in told["export"].items():
        rate = export["rows"] / export["seconds"]
        yield ""
        memory = f"{export['gained_mb']:.0f} MB more"
        yield f"CSV ({who}): {export['rows']:,} rows in {export['seconds']:.0f} s ({rate:,.0f}/s), {memory}"


def main(given: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pages", description=__doc__)
    parser.add_argument("--db", default="sqlite", help="sqlite, postgres or a server's URL")
    parser.add_argument("--rows", type=int, help="shipments (default 1,000,000 on PostgreSQL, 100,000 on SQLite)")
    parser.add_argument("--repeat", type=int, default=5, help="answers of which the median counts (default 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--slow", action="store_true", help="also print the slowest query of each page over budget")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    told = parser.parse_args(given)
    plan = Plan(told.db)
    rows = told.rows or ROWS[plan.engine]
    if min(rows, told.repeat) < 1:
        parser.error("numbers must be positive")
    if told.inside:
        json.dump(inside(rows, told.repeat), sys.stdout)
        return 0
    if given is None:
        # Asked to end: leave by the usual way, which takes processes and databases along.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with scratch(plan) as site:
        said = site.module("tests.bench.pages", "--inside", "--rows", str(rows), "--repeat", str(told.repeat))
    found = json.loads(said)
    if told.json:
        print(json.dumps(found))
        return 0
    print("\n".join(table(found)))
    if told.slow:
        for name, by_user in found["pages"].items():
            for who, page in by_user.items():
                if page["ms"] >= BUDGET_MS:
                    print(f"\n{name} ({who}): {page['slowest_ms']:.0f} ms\n{page['slowest']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

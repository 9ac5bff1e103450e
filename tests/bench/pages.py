"""`python -m tests.bench.pages`: the console's pages over a million shipments, in milliseconds and queries.

Fills a scratch installation (history.py: 1,000,000 shipments on PostgreSQL, 100,000 on SQLite, nine of ten at one tenant,
spread over three years) and asks for each page as a viewer of that tenant and as the installation owner. Nothing here is
a test with a time limit.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

from tests.bench.history import REFERENCES, SOME, fill
from tests.bench.machine import peak_mb
from tests.bench.site import Plan, scratch

ROWS = {"postgres": 1_000_000, "sqlite": 100_000}
BUDGET_MS, BUDGET_QUERIES = 200, 15
LIST = "/admin/connector/shipment/"
TRANSFERS = "/admin/connector/transfer/"


def addresses(last: int, ids: dict[str, int], end: dt.date) -> dict[str, str]:
    """What is asked for: name -> address. `last` is the newest shipment's number, made on `end`; the oldest is 1.

    `ids` names a row of each kind that has a page of its own.
    """
    return _histories(last, ids, end) | _searches(last) | _work(last, ids) | _money(last, ids, end)


def _on(end: dt.date, days: int) -> str:
    """So many days before the newest shipment."""
    return (end - dt.timedelta(days=days)).isoformat()


def _histories(last: int, ids: dict[str, int], end: dt.date) -> dict[str, str]:
    """The history by each filter alone, by common pairs, sorted, and far back."""
    old_week = f"ship_date_from={_on(end, 1040)}&ship_date_to={_on(end, 1034)}"
    a_year = f"ship_date_from={_on(end, 690)}&ship_date_to={_on(end, 326)}"
    asked = {
        "": "",
        "in the middle": f"after={last // 2}",
        "near the end": f"after={last // 50}",
        "state: label bought": "state=active",
        "state: label bought, near the end": f"state=active&after={last // 50}",
        "state: voided (2 %)": "state=voided",
        "state: being voided (0.01 %)": "state=voiding",
        "carrier's status: delivered": "status=delivered",
        "carrier's status: exception (0.1 %)": "status=exception",
        "carrier's status: picked up (none)": "status=picked_up",
        "integration": f"integration={ids['integration']}",
        "carrier": f"carrier={ids['carrier']}",
        "tenant": f"tenant={ids['tenant']}",
        "service, common": "service=FEDEX_GROUND",
        "service, rare (0.02 %)": "service=SAME_DAY",
        "service, only in the first year": "service=SMART_POST",
        "service, unknown": "service=NO_SUCH",
        "company code": "company_code=20",
        "site": "site=S7",
        "cost centre": "cost_center=CC-77",
        "shipped in one week, three years ago": old_week,
        "shipped in one year": a_year,
        "shipped until a day long ago": f"ship_date_to={_on(end, 1000)}",
        "created on one old day": f"created_from={_on(end, 1040)}&created_to={_on(end, 1040)}",
        "cost over 500 (0.1 %)": "cost_from=500",
        "cost from 20 to 30": "cost_from=20&cost_to=30",
        "sorted: oldest first": "sort=oldest",
        "sorted by ship date": "sort=shipped_latest",
        "sorted by cost": "sort=cost_highest",
        "sorted by cost, lowest first": "sort=cost_lowest",
        "sorted by cost, one service": "sort=cost_highest&service=FEDEX_GROUND",
        "sorted by cost, a rare service": "sort=cost_highest&service=SAME_DAY",
        "old week, cost centre": f"{old_week}&cost_center=CC-77",
        "old week, status": f"{old_week}&status=exception",
        "one year, rare service": f"{a_year}&service=SAME_DAY",
        "one year, voided": f"{a_year}&state=voided",
        "cost over 500, shipped in one year": f"cost_from=500&{a_year}",
        "company code, state": "company_code=20&state=voided",
        "integration, status": f"integration={ids['integration']}&status=exception",
        "site, cost centre": "site=S6&cost_center=CC-77",
        "company code, site, state, service": "company_code=20&site=S6&state=active&service=FEDEX_GROUND",
        "two common values that never meet": "company_code=20&site=S1",
        "two common values that never meet, by cost": "company_code=20&site=S1&sort=cost_highest",
        "last year's date, service of the first": f"created_from={_on(end, 324)}&service=SMART_POST",
        "service of the first year, newest status": "service=SMART_POST&status=in_transit",
        "high cost, service of the first, sorted": "sort=cost_highest&cost_from=5&service=SMART_POST&created_from="
        + _on(end, 324),
    }
    return {f"history, {name}" if name else "history": f"{LIST}?{query}" if query else LIST for name, query in asked.items()}


def _searches(last: int) -> dict[str, str]:
    """Each kind of number in each of the three boxes that take any."""
    mine = last // 30 * 10
    numbers = {kind: _value(pattern, mine) for kind, pattern in (SOME | REFERENCES).items()}
    numbers["number of a second package"] = _value(SOME["tracking"], mine)
    found = {f"search: {kind}": f"{LIST}?q={value}" for kind, value in numbers.items()}
    found |= {f"find: {kind}": f"{TRANSFERS}find/?q={value}" for kind, value in numbers.items()}
    found |= {f"transfers by {kind}": f"{TRANSFERS}?show=all&q={value}" for kind, value in numbers.items()}
    return found | {
        "search: 8 digits": f"{LIST}?q=79460012",
        "search: 3 digits that all have": f"{LIST}?q=794",
        "search: letters that all have": f"{LIST}?q=624deea6",
        "search: a number nobody has": f"{LIST}?q=ZZZ999",
        "search: 3 digits, and a rare service": f"{LIST}?q=794&service=SAME_DAY",
        "search: a number, by ship date": f"{LIST}?q=C{last // 30}&sort=shipped_latest",
        "find: 3 digits that all have": f"{TRANSFERS}find/?q=794",
        "find: a number nobody has": f"{TRANSFERS}find/?q=ZZZ999",
        "transfers by 3 digits that all have": f"{TRANSFERS}?show=all&q=794",
    }


def _value(pattern: str, number: int) -> str:
    """What `pattern` makes of a shipment's number."""
    return pattern.replace("' || ", "").replace("'", "").format(eight=f"{number:08d}", text=number)


def _work(last: int, ids: dict[str, int]) -> dict[str, str]:
    """The first page, what needs a person, deadlines, evidence, set-up."""
    found = {
        "dashboard": "/admin/",
        "dashboard, what renews itself": f"{TRANSFERS}live/",
        "needs attention": f"{TRANSFERS}causes/",
        "transfers that need attention": TRANSFERS,
        "transfers, unfinished": f"{TRANSFERS}?show=open",
        "transfers, all": f"{TRANSFERS}?show=all",
        "transfers, finished": f"{TRANSFERS}?show=done",
        "transfers, failed": f"{TRANSFERS}?state__exact=failed",
        "transfers, cancelled (none)": f"{TRANSFERS}?show=all&state__exact=cancelled",
        "transfers, one integration": f"{TRANSFERS}?show=all&integration={ids['integration']}",
        "transfers, page 100": f"{TRANSFERS}?show=all&p=100",
        "transfers by document key": f"{TRANSFERS}?show=all&q=shipment:{last // 3}",
        "a transfer's page": f"{TRANSFERS}{ids['shipment']}/change/",
        "a transfer's page, failed": f"{TRANSFERS}{ids['failed']}/change/",
        "a shipment's page": f"{LIST}{ids['shipment']}/change/",
        "deadlines": f"{LIST}deadlines/",
        "reconciliation": "/admin/connector/reconciliationfinding/open/",
        "findings, the list": "/admin/connector/reconciliationfinding/",
        "findings, closed": "/admin/connector/reconciliationfinding/?state__exact=closed",
        "a finding": f"/admin/connector/reconciliationfinding/{ids['finding']}/change/",
        "comparisons": "/admin/connector/reconciliationrun/",
        "a comparison": f"/admin/connector/reconciliationrun/{ids['run']}/change/",
        "alerts": "/admin/connector/alert/",
        "budgets": "/admin/connector/connection/budgets/",
        "integrations": "/admin/connector/integration/",
        "an integration": f"/admin/connector/integration/{ids['integration']}/change/",
        "connections": "/admin/connector/connection/",
        "a connection": f"/admin/connector/connection/{ids['carrier']}/change/",
        "tenant": f"/admin/connector/tenant/{ids['tenant']}/change/",
        "audit": "/admin/connector/auditentry/",
        "audit, by act (none)": "/admin/connector/auditentry/?act=revoked",
        "audit, page 100": "/admin/connector/auditentry/?p=100",
    }
    return found | {f"deadlines: {kind}": f"{LIST}deadlines/?kind={kind}" for kind in DEADLINES}


DEADLINES = ("no_label", "no_scan", "no_news", "not_in_erp")


def _money(last: int, ids: dict[str, int], end: dt.date) -> dict[str, str]:
    """Month end, prices, invoices."""
    month = f"first={_on(end, 60)}&last={_on(end, 30)}&tenant={ids['tenant']}"
    old = f"first={_on(end, 1000)}&last={_on(end, 970)}&tenant={ids['tenant']}"
    quarter = f"first={_on(end, 92)}&last={_on(end, 0)}&tenant={ids['tenant']}"
    asked = {
        "": month,
        "eleven days": f"first={_on(end, 60)}&last={_on(end, 50)}&tenant={ids['tenant']}",
        "a quarter": quarter,
        "two and a half years ago": old,
        "by ship date": f"{month}&by=shipped",
        "by ship date, old": f"{old}&by=shipped",
        "a company code": f"{month}&company_code=20",
        "a cost centre": f"{month}&cost_center=CC-77",
        "an account": f"{month}&account=63",
        "what differs": f"{month}&state=differs",
        "for a person": f"{month}&state=person",
        "no order bears it": f"{month}&state=none",
        "a cost centre nobody has": f"{quarter}&cost_center=NOBODY",
    }
    found = {f"month end, {name}" if name else "month end": f"{LIST}costs/?{query}" for name, query in asked.items()}
    files = "/admin/connector/invoicefile/"
    return found | {
        "rates: the rules of an integration": f"/admin/connector/integration/{ids['integration']}/rates/",
        "rates: a transfer's prices": f"{TRANSFERS}{ids['quoted']}/quotes/",
        "invoices": files,
        "an invoice of many rows": f"{files}{ids['file']}/change/",
        "an invoice of many rows, unknown": f"{files}{ids['file']}/change/?state=unknown",
        "an invoice of many rows, far down": f"{files}{ids['file']}/change/?state=unknown&after={last // 60}",
        "an applied invoice of most rows": f"{files}{ids['file'] + 1}/change/",
    }


# -- inside the installation -------------------------------------------------------------------------------


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
        # One hit of the box for any number leads to its page at once.
        led = answer.status_code == 302 and answer["Location"].startswith(TRANSFERS)
        if answer.status_code != 200 and not led:
            raise SystemExit(f"{address}: {answer.status_code}")
    slowest = max(queries, default=(0.0, ""))
    return {
        "first_ms": took[0],
        "ms": statistics.median(took[1:]),
        "database_ms": statistics.median(database[1:]),
        "queries": len(queries),
        "slowest_ms": 1000 * slowest[0],
        "slowest": slowest[1],
    }


def stream(client: Any, address: str, told: dict[str, str]) -> dict[str, Any]:
    """A whole list as CSV: rows, seconds, and how much memory this process gained at its peak."""
    before = peak_mb(os.getpid())
    begun = time.perf_counter()
    answer = client.post(address, told)
    lines = sum(piece.count(b"\n") for piece in answer.streaming_content)
    return {"rows": lines - 1, "seconds": time.perf_counter() - begun, "gained_mb": peak_mb(os.getpid()) - before}


def ids_of(rows: int) -> dict[str, int]:
    """A row of the large tenant for each kind that has a page of its own."""
    from connector.models import Integration, InvoiceFile, ReconciliationFinding, ReconciliationRun, Transfer

    mine = Integration.objects.get(slug__startswith="bench")
    found = {"integration": mine, "carrier": mine.target, "tenant": mine.tenant}
    found |= {"failed": Transfer.objects.filter(tenant=mine.tenant, state="failed").order_by("-pk").first() or mine}
    found |= {"file": InvoiceFile.objects.get(state="ready"), "run": ReconciliationRun.objects.latest("pk")}
    found |= {"finding": ReconciliationFinding.objects.filter(tenant=mine.tenant).latest("pk")}
    return {name: row.pk for name, row in found.items()} | {"shipment": rows // 20 * 10, "quoted": rows // 20 * 10}


def causes(user: Any) -> dict[str, str]:
    """A page for each group of transfers that need a person."""
    from connector import permissions
    from connector.models import Transfer
    from connector.services import attention

    groups = attention.groups(permissions.scope(Transfer.objects.all(), user))
    found = {f"needs attention: {g.cause.state} {g.cause.attention or g.cause.code}": g.cause.query for g in groups}
    return {name: f"{TRANSFERS}cause/?{query}" for name, query in sorted(found.items())}


def measure(rows: int, repeat: int, end: dt.date, only: str = "") -> dict[str, Any]:
    """Every page (whose name has `only` in it), as a viewer of the large tenant and as the owner of both."""
    from django.test import Client

    from connector.models import Integration, Membership, User

    tenant = Integration.objects.get(slug__startswith="bench").tenant
    viewer, _ = User.objects.get_or_create(username="viewer", is_staff=True)
    Membership.objects.get_or_create(user=viewer, tenant=tenant, role="viewer")
    owner, _ = User.objects.get_or_create(username="owner", is_staff=True, is_superuser=True)
    told: dict[str, Any] = {"rows": rows, "pages": {}}
    pages = addresses(rows, ids_of(rows), end) | causes(viewer)
    month = {"query": f"first={_on(end, 60)}&last={_on(end, 50)}&tenant={tenant.pk}"}
    for who, user in {"viewer": viewer, "owner": owner}.items():
        client = Client()
        client.force_login(user)
        client.get("/admin/")  # templates and modules are read once
        for name, address in pages.items():
            if only in name:
                told["pages"].setdefault(name, {})[who] = ask(client, address, repeat)
        if not only:
            told.setdefault("export", {})[who] = stream(client, f"{LIST}export/", {})
            told.setdefault("month_end", {})[who] = stream(client, f"{LIST}costs/export/", month)
    told["memory_mb"], told["load"] = peak_mb(os.getpid()), os.getloadavg()[1]
    return told


def inside(rows: int, repeat: int, only: str) -> dict[str, Any]:
    """Fill, sign in, ask. Runs in a process of the installation."""
    import django

    django.setup()
    from django.test.utils import setup_test_environment

    setup_test_environment()
    begun = time.perf_counter()
    end = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    fill(rows, end)
    return {"fill_s": time.perf_counter() - begun} | measure(rows, repeat, end.date(), only)


# -- outside -----------------------------------------------------------------------------------------------


def table(told: dict[str, Any]) -> Iterator[str]:
    """The figures as lines of Markdown."""
    load = f"load {told['load']:.1f} on {os.cpu_count()} cores; {told['memory_mb']:.0f} MB at most in the process that answers"
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
    for what in ("export", "month_end"):
        for who, file in told.get(what, {}).items():
            rate = file["rows"] / file["seconds"]
            yield ""
            memory = f"{file['gained_mb']:.0f} MB more"
            took = f"{file['rows']:,} rows in {file['seconds']:.0f} s ({rate:,.0f}/s), {memory}"
            yield f"CSV of {what.replace('_', ' ')} ({who}): {took}"


def main(given: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pages", description=__doc__)
    parser.add_argument("--db", default="sqlite", help="sqlite, postgres or a server's URL")
    parser.add_argument("--rows", type=int, help="shipments (default 1,000,000 on PostgreSQL, 100,000 on SQLite)")
    parser.add_argument("--repeat", type=int, default=5, help="answers of which the median counts (default 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--only", default="", help="pages whose name has this in it; no files")
    parser.add_argument("--slow", action="store_true", help="also print the slowest query of each page over budget")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    told = parser.parse_args(given)
    plan = Plan(told.db)
    rows = told.rows or ROWS[plan.engine]
    if min(rows, told.repeat) < 1:
        parser.error("numbers must be positive")
    if told.inside:
        json.dump(inside(rows, told.repeat, told.only), sys.stdout)
        return 0
    if given is None:
        # Asked to end: leave by the usual way, which takes processes and databases along.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with scratch(plan) as site:
        numbers = ("--rows", str(rows), "--repeat", str(told.repeat), "--only", told.only)
        said = site.module("tests.bench.pages", "--inside", *numbers)
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

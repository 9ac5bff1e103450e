"""SIGKILL between every pair of steps, for every kind of document with every option on.

What there is to be killed at is not listed here: an undisturbed run of each flow tells which boundaries it passes, and then
one document for each of them has its worker killed there. Fresh workers finish; both vendors and the history must hold
what they hold after the undisturbed run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pytest

from integrations.flows.table import STAGES
from tests.drills.forks import Forks
from tests.drills.mailbox import Mailbox
from tests.drills.site import TOTAL_S, Site
from tests.everything import (
    ABROAD,
    KINDS,
    TENANT,
    Document,
    Stands,
    everything_on,
    make,
    stands,
    suppliers_have_mail,
)

NEEDED = {
    "read": {"begun", "read"},
    "map": {"begun"},
    "guard": {"begun", "guarded"},
    "write": {"begun", "write_sent", "saving"},
    "once": {
        *("begun", "intent_committed", "request_written", "answer_received", "answer_committed", "outcome_committed"),
    },
}
"""What each kind of step must be killed at, at the least."""
LABEL_LOST = {"buy label/request_written:1", "buy label/answer_received:1"}
"""Bought, and the answer gone: FedEx prints no label twice, and says no price."""
NOT_SENT = {"buy label/intent_committed:1"}
"""FedEx cannot prove that nothing was made: a person says so."""
MAIL_UNSURE = {"mail link/saving:1": 0, "mail link/write_sent:1": 1}
"""Mail is noted before it leaves and never sent twice, so that killed in between none may have left: the history says so."""
EVIDENCE = ("bought", "charged", "place_made", "written", "link_mailed", "freight_shared", "voided", "charge_taken_back")
EVIDENCE += ("charge_corrected", "buy_again")
HISTORY = """
from collections import defaultdict
from connector.models import AuditEntry, SourceRecord, Step
records = {r.pk: r.source_key for r in SourceRecord.objects.filter(flow__in=flows)}
result = defaultdict(lambda: {"acts": [], "steps": []})
for entry in AuditEntry.objects.filter(chain__in=[f"record:{pk}" for pk in records]).order_by("pk"):
    told = [entry.act, entry.facts.get("step", ""), entry.facts.get("reason", "")]
    result[records[int(entry.chain.partition(":")[2])]]["acts"].append(told)
for step in Step.objects.filter(record__in=records):
    result[records[step.record_id]]["steps"].append([step.name, step.state])
"""
NOT_MADE = """
from connector.models import Transfer
from connector.services import transfers
result = []
for one in Transfer.objects.filter(state="in_doubt"):
    result.append(transfers.open_send(one).reference)
    transfers.decide_not_made(one, actor="clerk", reason="not in the carrier's list")
"""


@dataclass
class Drill:
    """One installation with its workers: what was made, and where each document's worker was killed."""

    site: Site
    forks: Forks
    box: Mailbox
    every: int = 1
    deaths: dict[str, str] = field(default_factory=dict)
    traced: dict[str, set[str]] = field(default_factory=dict)

    # -- doing -------------------------------------------------------------------------------------------

    def transfers(self, flow: str) -> dict[str, int]:
        """The newest unfinished transfer of each document."""
        return dict(
            self.site.rows(
                "SELECT source_key, id FROM connector_transfer WHERE flow = %s AND state IN ('waiting', 'in_doubt') ORDER BY id",
                flow,
            )
        )

    def points(self, flow: str, transfer: int) -> list[str]:
        """Run a transfer undisturbed: all the boundaries it passes, numbered within each step."""
        found = self.forks.trace(transfer)
        self.traced.setdefault(flow, set()).update(point.rpartition(":")[0] for point in found)
        return found

    def kill(self, flow: str, wanted: Sequence[tuple[Document, str]]) -> None:
        """Kill each document's worker at its point; each must have come there.

        An attempt that ended before its point and left its transfer waiting (no free slot, a vendor's answer that came too
        late on a busy machine) is made again, twice at most.
        """
        left, why = list(wanted), []
        for _ in range(3):
            transfers = self.transfers(flow)
            missed = set(self.forks.kill([(transfers[document.key], point) for document, point in left]))
            unfinished = self.transfers(flow)
            left = [(document, point) for document, point in left if (transfers[document.key], point) in missed]
            if not left or not all(document.key in unfinished for document, _ in left):
                break
            why = self.site.rows("SELECT id, code, message, step FROM connector_transfer WHERE state = 'waiting' AND code <> ''")
        assert not left, (left, why)
        self.deaths |= {document.key: point for document, point in wanted}

    def finish(self) -> None:
        """Fresh workers; whatever FedEx could not prove, a person says. Then everything is done."""
        self.forks.drain(wait_s=TOTAL_S + 2)
        made = self.site.fedex.made_by_reference()
        said = self.forks.python(NOT_MADE)
        assert not [reference for reference in said if reference in made], "it was made"
        doubtful = [key for key, point in self.deaths.items() if point in NOT_SENT and key in self.transfers("ship")]
        assert len(said) <= max(len(doubtful), sum(point in NOT_SENT for point in self.deaths.values()))
        self.forks.drain(wait_s=2)
        left = self.site.rows(
            "SELECT source_key, flow, state, code, message FROM connector_transfer WHERE state NOT IN ('done', 'cancelled')"
        )
        assert [(*row, self.deaths.get(row[0])) for row in left] == []

    def chosen(self, points: Sequence[str], offset: int) -> list[str]:
        """Those that are drilled here: all, or a diagonal through the kinds."""
        return list(points[offset % self.every :: self.every])

    # -- checking ----------------------------------------------------------------------------------------

    def history(self, *flows: str) -> dict[str, Any]:
        """Acts and steps of each document's records."""
        found: dict[str, Any] = self.forks.python(HISTORY, flows=list(flows))
        return found

    def stands(self, documents: Sequence[Document]) -> dict[str, Stands]:
        return stands(self.site, documents, self.box.mails)

    def passes(self, flow: str, but: Collection[str] = ()) -> None:
        """Every stage of a flow was passed with all the boundaries that its kind has, and nothing else was."""
        seen: dict[str, set[str]] = {}
        for line in self.traced[flow]:
            step, _, boundary = line.rpartition("/")
            seen.setdefault(step, set()).add(boundary)
        stages = {stage.name: stage for stage in STAGES[flow]}
        assert set(seen) - {""} == set(stages) - set(but), "a step that is not drilled, or that the flow table does not know"
        lacking = {name: NEEDED[stages[name].kind] - found for name, found in seen.items() if name}
        assert not any(lacking.values()), lacking


@contextmanager
def drill(site: Site, every: int = 1, **options: Any) -> Iterator[Drill]:
    """A drill on a site with everything on."""
    box = Mailbox()
    site.environment |= {"EMAIL_URL": box.url, "PUBLIC_URL": "https://console.example.com"}

    def change(doc: dict[str, Any]) -> None:
        everything_on(doc, **options)
        doc["connections"][1]["settings"]["in_doubt"]["look_up_after_s"] = [0.2, 0.5, 3600]

    site.configure(change)
    suppliers_have_mail(site)
    try:
        with Forks(site) as forks:
            yield Drill(site, forks, box, every)
    finally:
        box.close()


def as_evidence(acts: Sequence[Sequence[str]]) -> Counter[tuple[str, str]]:
    """What the history says was done, by step; taken over counts as done."""
    did = {"buy label": "bought", "write freight cost": "charged", "make place for label": "place_made"}
    named = [(did[step] if act == "adopted" else act, step) for act, step, _ in acts]
    return Counter((act, step) for act, step in named if act in EVIDENCE)


def borne(document: Document, now: Stands) -> list[int]:
    """Which of its orders bear a charge, each as often as it has one."""
    return [document.orders.index(order) for order, _ in now.costs]


def as_undisturbed(drilled: Drill, documents: Sequence[Document], like: Document, *, charges: int = 1) -> None:
    """Each document stands at both vendors as the one that nobody disturbed, and its history says so.

    `charges`: how many there are in all for each order.
    """
    found, history = drilled.stands([*documents, like]), drilled.history("ship")
    plain, told = found[like.key], history[like.key]
    assert len(plain.live) == 1 and plain.files == plain.hung == 1
    assert borne(like, plain) == [place for place in range(len(like.orders)) for _ in range(charges)]
    assert plain.mails == (like.kind == "purchase_order") and plain.numbers == {plain.live[0].master}
    for document in documents:
        point, now, its = drilled.deaths[document.key], found[document.key], history[document.key]
        [label] = now.live
        lost = point in LABEL_LOST
        assert now.voided == () and now.numbers == {label.master}, (point, now)
        assert (now.files, now.hung) == ((0, 0) if lost else (1, 1)), (point, now)
        assert borne(document, now) == ([] if lost else borne(like, plain)), (point, now)
        assert now.mails == (0 if lost else MAIL_UNSURE.get(point, plain.mails)), (point, now)
        did, wanted = as_evidence(its["acts"]), as_evidence(told["acts"])
        if lost:
            assert did[("bought", "buy label")] == 1 == did[("written", "write tracking")], (point, did)
            continue
        if point in MAIL_UNSURE:
            wanted[("link_mailed", "")] = 0
            assert any(act == "link_mail_failed" and "nobody knows" in why for act, _, why in its["acts"]), point
        assert +did == +wanted, (point, did - wanted, wanted - did)
        assert {tuple(s) for s in its["steps"]} >= {tuple(s) for s in told["steps"]}, point


def killed_everywhere(
    drilled: Drill, kinds: Sequence[str], only: Collection[str] = (), *, charges: int = 1, **values: Any
) -> None:
    """Documents of each kind: one undisturbed, one more for each boundary that it passed."""
    site = drilled.site
    likes = {kind: make(site, kind, 1, **values)[0] for kind in kinds}
    drilled.forks.poll()
    waiting = drilled.transfers("ship")
    points = {kind: drilled.points("ship", waiting[like.key]) for kind, like in likes.items()}
    chosen = {
        kind: drilled.chosen([p for p in points[kind] if not only or p.partition("/")[0] in only], place)
        for place, kind in enumerate(kinds)
    }
    documents = {kind: make(site, kind, len(chosen[kind]), **values) for kind in kinds}
    drilled.forks.poll()
    drilled.kill("ship", [pair for kind in kinds for pair in zip(documents[kind], chosen[kind], strict=True)])
    drilled.finish()
    for kind in kinds:
        as_undisturbed(drilled, documents[kind], likes[kind], charges=charges)


@pytest.mark.postgres
def test_killed_between_any_two_steps_of_shipping_everything_is_there_once(site: Site) -> None:
    with drill(site) as drilled:
        killed_everywhere(drilled, KINDS)
        # Read by itself only where no cost is written: the next drill.
        drilled.passes("ship", but=["read goods", "read accounting"])
        assert site.run("verify_audit")["ok"] is True


@pytest.mark.postgres
def test_killed_around_what_only_some_go_through_everything_is_there_once(site: Site) -> None:
    """Goods for customs, accounting without cost, and the label in the media library."""
    some = ["read goods", "find place for label", "look before attaching", "make place for label", "upload label"]
    with drill(site, attach_label="media", freight_charge=False, rate_rule="fixed", label_format="PNG") as drilled:
        killed_everywhere(drilled, ["shipment"], [*some, "read accounting"], charges=0, **ABROAD)
        passed = {line.partition("/")[0] for line in drilled.traced["ship"]}
        assert {*some, "read accounting"} <= passed and "connect label" not in passed
        assert drilled.site.ifs.documents(TENANT) == []


REQUEST = {
    "track": """
import datetime as dt
from connector.services import clock, tracking
from integrations.base.tracking import ParcelNews, Scan
at = clock.now() + dt.timedelta(minutes=1)
for one in shipments:
    scans = tuple(Scan(f"{one.pk}/{n}", at + dt.timedelta(seconds=n), s) for n, s in enumerate(("picked_up", "out_for_delivery")))
    tracking.merge(one.carrier_id, [ParcelNews(one.master_tracking_number, scans, ship_date=one.ship_date)])
""",
    "cost": """
from decimal import Decimal
from connector.services import costs
for one in shipments:
    costs.correct(one, Decimal("99.90"), actor="ann", reason="as invoiced", currency="USD")
""",
    "attach": """
from connector.services import attachments
for one in shipments:
    attachments.request(one, actor="ann", reason="for the dock")
""",
    "void": """
from connector.services import shipments as service
for one in shipments:
    service.void_request(one, then=then, actor="ann", reason="damaged")
""",
}
LIVE = """
from connector.models import Shipment
shipments = list(Shipment.objects.filter(source_key__in=keys, state="active").order_by("pk"))
assert len(shipments) == len(keys)
"""


def begin(drilled: Drill, flow: str, documents: Sequence[Document], then: str = "") -> None:
    """Something is wanted of documents that have shipped."""
    drilled.forks.python(LIVE + REQUEST[flow], keys=[document.key for document in documents], then=then)


def shipped(drilled: Drill, kind: str, count: int) -> list[Document]:
    """Documents that have shipped undisturbed."""
    documents = make(drilled.site, kind, count)
    drilled.forks.poll()
    drilled.forks.drain(processes=3)
    return documents


@contextmanager
def meanwhile(drilled: Drill, options: Mapping[str, Any]) -> Iterator[None]:
    """Other options of the integration for a while."""
    slug = drilled.site.slug
    before = drilled.forks.python(CHANGE_OPTIONS, slug=slug, options=dict(options)) if options else {}
    yield
    if options:
        drilled.forks.python(CHANGE_OPTIONS, slug=slug, options=before)


CHANGE_OPTIONS = """
from connector.models import Integration
one = Integration.objects.get(slug=slug)
result = {name: one.options.get(name) for name in options}
one.options |= options
one.save(update_fields=["options"])
"""


def killed_after_shipping(
    drilled: Drill,
    flow: str,
    kinds: Sequence[str],
    then: str = "",
    *,
    asked: str = "",
    again: Collection[str] = (),
    only: Collection[str] = (),
    shipped_with: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, tuple[Document, list[Document]]]:
    """As `killed_everywhere`, of work on documents that have shipped.

    `asked`: what was asked for, where the flow has another name; `again`: at these steps of what ships them once more;
    `only`: at these steps; `shipped_with`: what other options they had shipped with.
    """
    with meanwhile(drilled, shipped_with):
        likes = {kind: shipped(drilled, kind, 1)[0] for kind in kinds}
    begin(drilled, asked or flow, list(likes.values()), then)
    points = {kind: drilled.points(flow, drilled.transfers(flow)[like.key]) for kind, like in likes.items()}
    if again:
        more = {kind: drilled.points("ship", drilled.transfers("ship")[like.key]) for kind, like in likes.items()}
        points = {kind: [p for p in found if p.partition("/")[0] in again] for kind, found in more.items()}
    if only:
        points = {kind: [p for p in found if p.partition("/")[0] in only] for kind, found in points.items()}
    chosen = {kind: drilled.chosen(found, place) for place, (kind, found) in enumerate(points.items())}
    with meanwhile(drilled, shipped_with):
        documents = {kind: shipped(drilled, kind, len(found)) for kind, found in chosen.items()}
    everyone = [document for some in documents.values() for document in some]
    begin(drilled, asked or flow, everyone, then)
    if again:
        for _ in range(3):  # a busy machine may end an attempt by a deadline: it waits, and is made once more
            drilled.forks.order("attempt", jobs=[[pk, {}] for pk in drilled.transfers(flow).values()], parallel=4)
    drilled.kill("ship" if again else flow, [pair for kind in kinds for pair in zip(documents[kind], chosen[kind], strict=True)])
    drilled.finish()
    return {kind: (likes[kind], documents[kind]) for kind in kinds}


def same_history(drilled: Drill, like: Document, documents: Sequence[Document], *flows: str) -> None:
    """The same was done for each as for the undisturbed one, once."""
    history = drilled.history(*flows)
    wanted = as_evidence(history[like.key]["acts"])
    for document in documents:
        did, point = as_evidence(history[document.key]["acts"]), drilled.deaths[document.key]
        assert did == wanted, (point, +(did - wanted), +(wanted - did))


def news_written(drilled: Drill, document: Document) -> int:
    """How often the carrier's news were written into a document."""
    if document.kind == "shipment":
        entity, field, key = "Shipment", "NoteText", {"ShipmentId": int(document.number)}
    else:
        entity, field = "".join(p.title() for p in document.kind.split("_")), "Cf_Delivery_Status"
        key = {"OrderNo": document.number}
    return sum(one["field"] == field for one in drilled.site.ifs.history(TENANT, entity, key))


@pytest.mark.postgres
def test_killed_between_any_two_steps_after_shipping_everything_happens_once(site: Site) -> None:
    """News, another cost, void, and void and buy again, of each kind of document."""
    with drill(site) as drilled:
        for like, documents in killed_after_shipping(drilled, "track", KINDS).values():
            found = drilled.stands([*documents, like])
            assert {now.status for now in found.values()} == {"out_for_delivery"}
            assert {news_written(drilled, document) for document in documents} == {1}
            same_history(drilled, like, documents, "track")
        corrected = killed_after_shipping(drilled, "cost", KINDS)
        # Of a purchase order that nobody quoted the cost is not known: what is entered is the first that is written.
        unquoted = {"rates": False, "rate_rule": "fixed"}
        entered = killed_after_shipping(
            drilled, "ship", ["purchase_order"], asked="cost", only=["write freight cost"], shipped_with=unquoted
        )
        assert any(point.startswith("write freight cost/answer_committed") for point in drilled.deaths.values())
        for like, documents in (*corrected.values(), *entered.values()):
            for key, now in drilled.stands([*documents, like]).items():
                assert len({order for order, _ in now.costs}) == len(now.costs), key
                assert round(sum(cost for _, cost in now.costs), 2) == 99.9, (drilled.deaths.get(key), now)
            same_history(drilled, like, documents, "cost", "ship")
        for like, documents in killed_after_shipping(drilled, "void", KINDS, "clear").values():
            for key, now in drilled.stands([*documents, like]).items():
                assert (len(now.live), len(now.voided), now.numbers) == (0, 1, {None}), (drilled.deaths.get(key), now)
                assert {cost for _, cost in now.costs} <= {0}, (drilled.deaths.get(key), now)
            same_history(drilled, like, documents, "void", "ship")
        for flow in ("track", "cost", "void"):
            drilled.passes(flow)
        assert site.run("verify_audit")["ok"] is True


@pytest.mark.postgres
def test_killed_while_it_is_voided_and_bought_again_one_label_is_left(site: Site) -> None:
    with drill(site) as drilled:
        once_more = ["buy label", "write tracking", "correct freight cost"]
        for again in ((), once_more):
            found = killed_after_shipping(drilled, "void", KINDS, "rebuy", again=again)
            for kind, (like, documents) in found.items():
                for key, now in drilled.stands([*documents, like]).items():
                    point = drilled.deaths.get(key)
                    lost = bool(again) and point in LABEL_LOST
                    assert (len(now.live), len(now.voided)) == (1, 1) and now.numbers == {now.live[0].master}, (point, now)
                    assert len({order for order, _ in now.costs}) == len(now.costs) == len(like.orders), (point, now)
                    assert {cost > 0 for _, cost in now.costs} <= {not lost}, (point, now)
                    assert now.hung == (1 if lost else 2) and now.mails == (kind == "purchase_order") * now.hung, (point, now)
                kept = [d for d in documents if not (again and drilled.deaths[d.key] in LABEL_LOST)]
                same_history(drilled, like, kept, "void", "ship")
        assert {"correct freight cost", "buy label"} <= {line.partition("/")[0] for line in drilled.traced["ship"]}
        assert site.run("verify_audit")["ok"] is True


@pytest.mark.postgres
def test_killed_while_a_label_is_attached_on_a_persons_word_it_hangs_there_once(site: Site) -> None:
    """“Attach now”, of documents that shipped before the option was on."""
    with drill(site) as drilled:
        found = killed_after_shipping(drilled, "attach", KINDS, shipped_with={"attach_label": "off"})
        for like, documents in found.values():
            for key, now in drilled.stands([*documents, like]).items():
                assert (len(now.live), now.files, now.hung) == (1, 1, 1), (drilled.deaths.get(key), now)
                assert len(now.costs) == len(like.orders), "and nothing else was written"
            same_history(drilled, like, documents, "ship")
        drilled.passes("attach")
        assert site.run("verify_audit")["ok"] is True


@pytest.mark.postgres
def test_killed_where_each_line_of_an_order_bears_its_cost_every_charge_is_there_once(site: Site) -> None:
    """With `freight_charge_lines`: written, corrected, and taken back with the void."""
    with drill(site, freight_charge_lines=True) as drilled:
        killed_everywhere(drilled, ["customer_order"], ["read orders", "look at orders", "write freight cost"], charges=2)
        corrected = killed_after_shipping(drilled, "cost", ["customer_order"])
        taken_back = killed_after_shipping(drilled, "void", ["customer_order"], "clear", only=["take back freight cost"])
        for (like, documents), sum_of, flow in ((*corrected.values(), 99.9, "cost"), (*taken_back.values(), 0, "void")):
            for key, now in drilled.stands([*documents, like]).items():
                assert len(now.costs) == 2 and round(sum(cost for _, cost in now.costs), 2) == sum_of, drilled.deaths.get(key)
            same_history(drilled, like, documents, flow, "ship")
        assert site.run("verify_audit")["ok"] is True


def test_killed_here_and_there_on_the_embedded_database(site_on: Callable[[str], Site]) -> None:
    """A diagonal through the same: one kind's documents die where the others' do not."""
    site = site_on("sqlite")
    with drill(site, every=9) as drilled:
        killed_everywhere(drilled, KINDS)
        assert site.run("verify_audit")["ok"] is True

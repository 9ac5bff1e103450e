"""Scopes that stand still: wrong secrets, a wrong site, a vendor that is away; and how work begins again."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from django.db import connection

from connector.models import Connection, LimitBucket, Pause, Transfer
from connector.services import audit, clock, overview, pinging, throttle, tokens, vendors
from integrations.base.context import Token
from tests.flows.support import CREATE_LINE, change, creates, due_now, edit, later, one_group, small
from tests.world import ADDRESS, World

pytestmark = pytest.mark.django_db(transaction=True)

VENDORS = {"fedex": ("fedex", "/oauth/token"), "ifs": ("ifs", "token")}


def row(world: World, which: str) -> dict[str, Any]:
    """A connection's block in the document."""
    return next(c for c in world.doc["connections"] if c["slug"] == f"{world.slug}-{which}")


def set_secret(world: World, which: str, value: str) -> None:
    """A person enters a secret."""
    row(world, which)["credentials"]["client_secret"] = value
    world.configure()
    tokens.forget_memory()


def free_logins() -> None:
    """FedEx's own limit on logins (one in five seconds) is not what these tests are about."""
    LimitBucket.objects.all().delete()
    throttle.forget()


def token_calls(world: World, which: str) -> int:
    """Token requests that arrived at a simulator."""
    return world.fedex.token_requests if which == "fedex" else world.ifs.counts["POST token"]


def one_by_one(world: World, settings: Any) -> list[int]:
    """Work in single `process` calls; how many transfers each ran."""
    ran = []
    while True:
        tally = one_group(world)
        if not tally.states:
            return ran
        ran.append(sum(tally.states.values()))


def test_a_wrong_secret_at_fedex_costs_one_login_and_pauses_the_connection(world: World, settings: Any) -> None:
    small(settings)
    set_secret(world, "fedex", "wrong")
    world.ready(12)
    world.sync()
    assert world.fedex.token_requests == 1
    [pause] = Pause.objects.exclude(state="ended")
    assert (pause.scope, pause.connection.slug, pause.code) == ("connection", "acme-fedex", "token_refused")
    assert pause.remedy and pause.message
    assert world.states() == {"waiting": 12}
    assert not Transfer.objects.filter(attempts__gt=0).exists(), "a wrong secret is no fault of any record"
    told = overview.paused_scopes(world.integration)
    assert [(p["scope"], p["name"], p["code"]) for p in told] == [("connection", "acme-fedex", "token_refused")]

    # The source is not paused: the poll goes on, and what it finds waits.
    world.ready(3)
    assert world.poll().new == 3
    for _ in range(3):
        later(world, 3600)
        world.sync()
    assert world.fedex.token_requests == 1, "nothing more until a person acts"
    assert creates(world) == 0 and world.states() == {"waiting": 15}


def test_mending_the_secret_at_fedex_lets_one_go_first_and_then_the_rest(world: World, settings: Any) -> None:
    small(settings)
    set_secret(world, "fedex", "wrong")
    world.ready(12)
    world.sync()
    free_logins()
    set_secret(world, "fedex", "demo-secret")
    assert Pause.objects.get().state == "probing"
    assert one_group(world, only=list(Transfer.objects.values_list("pk", flat=True))).states == {"done": 1}
    assert creates(world) == 1, "one goes first"
    assert Pause.objects.get().state == "ended"
    world.work()
    assert world.states() == {"done": 12} and world.labels() == 12
    assert len(world.numbers()) == 12


def test_a_secret_mended_wrongly_pauses_again_after_one_more_login(world: World, settings: Any) -> None:
    small(settings)
    set_secret(world, "fedex", "wrong")
    world.ready(5)
    world.sync()
    free_logins()
    set_secret(world, "fedex", "wrong again")
    world.work()
    assert world.fedex.token_requests == 2
    assert Pause.objects.get().state == "active"
    assert world.states() == {"waiting": 5}
    assert not Transfer.objects.filter(attempts__gt=0).exists()


def test_a_good_ping_ends_the_pause_that_the_vendor_caused(world: World, settings: Any) -> None:
    """The secret was right, the vendor had lost it: nobody changes anything here, a good ping is enough."""
    small(settings)
    world.fedex.state["projects"]["demo-key"]["secret"] = "another"
    world.ready(4)
    world.sync()
    fedex = Connection.objects.get(slug="acme-fedex")
    free_logins()
    later(world, 61)
    assert not pinging.ping(fedex).ok
    assert Pause.objects.get().state == "active"
    world.fedex.state["projects"]["demo-key"]["secret"] = "demo-secret"
    free_logins()
    later(world, 61)
    assert pinging.ping(fedex).ok
    assert Pause.objects.get().state == "probing"
    world.work()
    assert world.states() == {"done": 4} and world.labels() == 4
    assert Pause.objects.get().state == "ended"
    assert Connection.objects.get(slug="acme-fedex").health == "ok"


def test_a_ping_by_hand_does_not_wait_for_a_remembered_refusal(world: World, settings: Any) -> None:
    """A person who has just mended the secret at the vendor and pings is told the truth of now, not of a minute ago."""
    small(settings)
    world.fedex.state["projects"]["demo-key"]["secret"] = "another"
    fedex = Connection.objects.get(slug="acme-fedex")
    assert not pinging.ping(fedex).ok
    world.fedex.state["projects"]["demo-key"]["secret"] = "demo-secret"
    free_logins()
    assert pinging.ping(fedex).ok


def test_a_wrong_secret_at_ifs_stops_poll_and_work_until_it_is_mended(world: World, settings: Any) -> None:
    small(settings)
    world.ready(8)
    world.poll()
    set_secret(world, "ifs", "wrong")
    before = world.ifs.counts["POST token"]
    world.sync()
    assert world.ifs.counts["POST token"] == before + 1
    [pause] = Pause.objects.exclude(state="ended")
    assert (pause.scope, pause.connection.slug, pause.code) == ("connection", "acme-ifs", "token_refused")
    assert "Service Accounts" in pause.remedy
    world.ready(2)
    later(world, 3600)
    assert world.poll().paused
    world.work()
    assert world.ifs.counts["POST token"] == before + 1
    assert creates(world) == 0 and world.states() == {"waiting": 8}
    assert not Transfer.objects.filter(attempts__gt=0).exists()

    set_secret(world, "ifs", "ifs-demo-secret")
    assert one_group(world).states.get("done", 0) >= 1
    world.sync()
    assert world.states() == {"done": 10} and world.labels() == 10


def test_the_first_after_a_wrong_secret_at_ifs_goes_alone(world: World, settings: Any) -> None:
    small(settings)
    world.ready(8)
    world.poll()
    set_secret(world, "ifs", "wrong")
    world.work()
    set_secret(world, "ifs", "ifs-demo-secret")
    world.fedex.fault("status", CREATE_LINE, times=1, status=503, body="")
    ids = list(Transfer.objects.values_list("pk", flat=True))
    assert sum(one_group(world, only=ids).states.values()) == 1
    assert creates(world) == 1


def test_a_pause_without_waiting_work_ends_by_a_good_ping(world: World, settings: Any) -> None:
    small(settings)
    set_secret(world, "ifs", "wrong")
    assert world.poll().error is not None
    assert Pause.objects.get().state == "active"
    set_secret(world, "ifs", "ifs-demo-secret")
    assert Pause.objects.get().state == "ended"
    world.ready()
    assert world.poll().new == 1


@pytest.mark.parametrize("which", ["fedex", "ifs"])
def test_eight_threads_with_a_cold_cache_ask_for_one_token(world: World, which: str) -> None:
    found = Connection.objects.get(slug=f"acme-{which}")
    vendors.open_adapter(found)
    tokens.forget_memory()
    barrier = threading.Barrier(8)
    problems: list[BaseException] = []

    def ask() -> None:
        try:
            adapter = vendors.open_adapter(found)
            barrier.wait()
            if which == "fedex":
                adapter.prepare()
            else:
                adapter.read_documents(["shipment:1"])
        except BaseException as error:
            problems.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert token_calls(world, which) == 1


def test_a_refused_token_is_not_brought_back_by_a_thread_that_read_it_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thread A learns that the token is dead while B is between reading the row and remembering it."""
    cache = tokens.DatabaseTokenCache("k", "host")
    first = cache.token(lambda: Token("first", 3600))
    tokens.forget_memory()
    real = tokens.DatabaseTokenCache._remember

    def late(self: tokens.DatabaseTokenCache, value: str, seconds: float) -> None:
        monkeypatch.setattr(tokens.DatabaseTokenCache, "_remember", real)
        self.drop(first)
        real(self, value, seconds)

    monkeypatch.setattr(tokens.DatabaseTokenCache, "_remember", late)
    assert cache.token(lambda: Token("second", 3600)) == first, "B's own use may still fail"
    assert cache.token(lambda: Token("second", 3600)) == "second"


def test_eight_threads_with_a_wrong_secret_are_refused_once(world: World, settings: Any) -> None:
    small(settings)
    set_secret(world, "fedex", "wrong")
    world.ready(40)
    world.poll()
    one_group(world, threads=8)
    assert world.fedex.token_requests == 1
    assert world.states() == {"waiting": 40}


# -- company and site --------------------------------------------------------------------------------


def test_a_site_with_an_incomplete_address_pauses_only_itself(world: World, settings: Any) -> None:
    small(settings)

    def two_sites(doc: dict[str, Any]) -> None:
        incomplete = {k: v for k, v in ADDRESS.items() if k not in ("phone", "city")}
        sites = doc["connections"][0]["company_codes"][0]["sites"]
        sites.append({"code": "S2", "timezone": "America/Chicago", "address": incomplete})

    world.configure(two_sites)
    good = world.ready(4)
    bad = world.ready(4, site="S2")
    world.sync()
    assert sorted(world.numbers()) == good
    [pause] = Pause.objects.exclude(state="ended")
    assert (pause.scope, pause.scope_name, pause.code) == ("site", "S2", "sender_incomplete")
    assert "phone" in pause.message and "city" in pause.message
    waiting = Transfer.objects.filter(state="waiting")
    assert waiting.count() == 4 and not waiting.filter(attempts__gt=0).exists()

    def mend(doc: dict[str, Any]) -> None:
        doc["connections"][0]["company_codes"][0]["sites"][1]["address"] = ADDRESS

    world.configure(mend)
    world.work()
    assert sorted(world.numbers()) == good + bad
    assert Pause.objects.get().state == "ended"


def test_a_company_code_that_ifs_does_not_know_is_said_by_the_ping(world: World) -> None:
    def wrong(doc: dict[str, Any]) -> None:
        doc["connections"][0]["company_codes"].append({"code": "77", "sites": ["X9"]})

    world.configure(wrong)
    result = pinging.ping(Connection.objects.get(slug="acme-ifs"))
    assert not result.ok
    [failed] = [layer for layer in result.layers if layer.state == "failed"]
    assert "77" in failed.layer and "Allowed Companies" in failed.remedy


def test_a_site_that_is_not_allowed_any_more_is_said_on_the_record(world: World, settings: Any) -> None:
    """IFS hides what is not allowed: the record says that it is gone or hidden, and nothing is bought."""
    small(settings)
    [shipment_id] = world.ready()
    world.poll()
    world.ifs.set_options("standard", allowed_sites=["S2"])
    world.work()
    transfer = world.transfer(shipment_id)
    assert (transfer.state, transfer.code) == ("failed", "document_gone")
    assert "may not see it" in transfer.message and transfer.remedy
    assert creates(world) == 0


def test_a_projection_that_is_denied_pauses_the_connection_with_the_remedy(world: World, settings: Any) -> None:
    small(settings)
    world.ready()
    world.poll()
    world.ifs.set_options("standard", read_only_projections=["ShipmentHandling"])
    world.work()
    [pause] = Pause.objects.exclude(state="ended")
    assert (pause.connection.slug, pause.code) == ("acme-ifs", "forbidden")
    assert "permission set" in pause.remedy
    assert creates(world) == 1 and world.numbers() == {}
    world.ifs.set_options("standard", read_only_projections=[])
    assert pinging.ping(Connection.objects.get(slug="acme-ifs")).ok
    world.work()
    assert creates(world) == 1 and len(world.numbers()) == 1


# -- resting -----------------------------------------------------------------------------------------


def test_five_unavailable_in_a_row_rest_the_connection_and_one_probes(world: World, settings: Any) -> None:
    small(settings, RETRY_BASE_S=600.0, RETRY_CAP_S=900.0)
    world.ready(30)
    world.poll()
    away = world.ifs.fault("status", "ShipmentHandling", times=None, status=503, body="")
    one_group(world)
    [pause] = Pause.objects.exclude(state="ended")
    assert (pause.kind, pause.state, pause.connection.slug) == ("rest", "active", "acme-ifs")
    assert "in a row" in pause.message
    counted = Transfer.objects.filter(attempts__gt=0).count()
    assert counted <= 12, "those that ran before the rest, not more"
    calls = away.used
    world.work()
    assert away.used == calls, "it rests"
    assert world.poll().paused

    for _ in range(3):
        later(world, 3600)
        before = away.used
        assert sum(one_group(world).states.values()) == 1, "one probes"
        assert away.used - before <= 5, "one record's reads with their repeats"
    assert Transfer.objects.filter(attempts__gt=0).count() == counted, "attempts meanwhile are not counted"
    assert not Transfer.objects.filter(attempts__gt=1).exists()

    world.ifs.faults.clear()
    later(world, 3600)
    assert sum(one_group(world, only=list(Transfer.objects.values_list("pk", flat=True))).states.values()) == 1
    assert Pause.objects.get().state == "ended"
    later(world, 3600)
    world.sync()
    assert world.states() == {"done": 30}
    assert world.labels() == 30 and len(world.numbers()) == 30


def test_one_record_that_fails_again_and_again_rests_nothing(world: World, settings: Any) -> None:
    """Five failures in a row count only from different transfers."""
    small(settings, RETRY_BASE_S=30.0, RETRY_CAP_S=30.0)
    [shipment_id] = world.ready()
    world.ifs.fault("status", "PATCH", times=None, status=503, body="")
    world.sync()
    for _ in range(8):
        due_now(world)
    assert not Pause.objects.exclude(state="ended").exists()
    assert world.transfer(shipment_id).attempts == 9
    due_now(world)
    transfer = world.transfer(shipment_id)
    assert transfer.state == "failed", "after ten attempts a person is asked"
    assert creates(world) == 1 and world.labels() == 1


def test_an_answer_in_between_ends_the_row_of_failures(world: World, settings: Any) -> None:
    small(settings)
    world.ready(12)
    world.poll()
    world.ifs.fault("status", "PATCH", times=None, every=3, status=503, body="")
    for _ in range(12):
        one_group(world, threads=1)
        Transfer.objects.filter(state="waiting").update(due_at=clock.at(-1))
    assert not Pause.objects.exists()
    assert world.states() == {"done": 12}
    assert world.labels() == 12


def test_fedex_away_before_anything_was_sent_counts_nothing_as_bought(world: World, settings: Any) -> None:
    """Nobody listens at FedEx's address: refused, proven not sent; later it works."""
    small(settings, RETRY_BASE_S=30.0, RETRY_CAP_S=30.0)
    world.ready()
    world.poll()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    good = row(world, "fedex")["urls"]["base"]
    row(world, "fedex")["urls"]["base"] = f"http://127.0.0.1:{port}/fedex"
    world.configure()
    tokens.forget_memory()
    world.work()
    assert world.states() == {"waiting": 1}
    assert set(Transfer.objects.values_list("error__class", flat=True)) == {"NotSent"}
    row(world, "fedex")["urls"]["base"] = good
    world.configure()
    free_logins()
    due_now(world)
    assert world.states() == {"done": 1} and creates(world) == 1


def test_a_host_that_does_not_resolve_is_not_sent_and_later_works(world: World, settings: Any) -> None:
    small(settings, RETRY_BASE_S=30.0, RETRY_CAP_S=30.0)
    settings.ALLOW_PRIVATE_HOSTS = ["127.0.0.1", "localhost", "nowhere.invalid"]
    world.ready()
    world.poll()
    good = row(world, "fedex")["urls"]["base"]
    row(world, "fedex")["urls"]["base"] = "http://nowhere.invalid:8900/fedex"
    world.configure()
    tokens.forget_memory()
    world.work()
    assert world.states() == {"waiting": 1}
    assert set(Transfer.objects.values_list("error__class", flat=True)) == {"NotSent"}
    assert not Pause.objects.filter(kind="configuration").exists()
    row(world, "fedex")["urls"]["base"] = good
    world.configure()
    free_logins()
    due_now(world)
    assert world.states() == {"done": 1} and creates(world) == 1


# -- work that is overtaken while it waits -----------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"Objstate": "Cancelled"}, "cancelled_in_erp"),
        ({"AirwayBillNo": "BY-HAND-1"}, "has_tracking_number"),
        ({"Objstate": "Preliminary"}, "not_ready"),
    ],
)
def test_what_was_settled_in_ifs_while_we_were_paused_is_not_bought(
    world: World, settings: Any, columns: dict[str, Any], code: str
) -> None:
    small(settings)
    set_secret(world, "fedex", "wrong")
    overtaken, other = world.ready(2)
    world.sync()
    edit(world, overtaken, **columns)
    free_logins()
    set_secret(world, "fedex", "demo-secret")
    world.work()
    transfer = world.transfer(overtaken)
    assert (transfer.state, transfer.code) == ("cancelled", code)
    assert transfer.message
    assert world.transfer(other).state == "done"
    assert creates(world) == 1 and world.labels() == 1
    assert world.numbers().get(overtaken) == columns.get("AirwayBillNo")
    assert list(audit.verify()) == []


def test_a_change_of_settings_lets_the_paused_scope_try_again(world: World, settings: Any) -> None:
    small(settings)
    set_secret(world, "fedex", "wrong")
    world.ready(2)
    world.sync()
    free_logins()
    change(world, "fedex", max_parallel=4)
    assert Pause.objects.get().state == "probing"
    world.work()
    assert Pause.objects.get().state == "active", "it was no cure"


def test_a_carrier_that_loses_its_answers_puts_no_whole_group_in_doubt(world: World, settings: Any) -> None:
    """Claimed in a group, but not begun: they go back when the connection starts to rest."""
    small(settings)
    change(world, "fedex", max_parallel=1)
    world.ready(20)
    world.fedex.fault("reset", CREATE_LINE, times=1000)
    world.sync()
    assert creates(world) == 5
    assert world.states() == {"in_doubt": 5, "waiting": 15}
    assert Pause.objects.filter(kind="rest").exclude(state="ended").count() == 1

"""/metrics: who may read it, and that what it tells is so."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import connection
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from connector.models import Connection, EffectSend, FlowState, Integration, LimitBucket, Pause, Transfer
from connector.services import clock, heartbeat, metrics, wake
from tests.connector.admin_support import build
from tests.world import World

TOKEN = "a-token-for-the-tests"


def numbers(text: str) -> Callable[..., float]:
    """Look a sample up by its name (without prefix) and labels; one that is not there is an error."""
    found = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    return lambda name, **labels: found[(f"ml_connector_{name}", frozenset(labels.items()))]


def scrape(client: Client, settings: Any) -> str:
    settings.METRICS_TOKEN = TOKEN
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")
    return answer.content.decode()


def test_without_a_token_there_is_no_such_page(client: Client, settings: Any) -> None:
    assert settings.METRICS_TOKEN == ""
    assert client.get("/metrics").status_code == 404
    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer ü"]
)
def test_only_the_token_opens_it(client: Client, settings: Any, given: str) -> None:
    settings.METRICS_TOKEN = TOKEN
    answer = client.get("/metrics", headers={"Authorization": given} if given else {})
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"
    assert answer.content == b""


@pytest.mark.django_db
def test_it_is_only_read(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN
    assert client.post("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 405


@pytest.mark.django_db
def test_an_empty_installation_has_numbers_too(client: Client, settings: Any) -> None:
    told = numbers(scrape(client, settings))
    assert told("queue_length") == 0
    assert told("paused_scopes", scope="connection", reason="configuration") == 0
    with pytest.raises(KeyError):
        told("worker_heartbeat_age_seconds")


@pytest.mark.django_db
def test_work_pauses_and_doubt_are_counted(client: Client, settings: Any, django_capture_on_commit_callbacks: Any) -> None:
    alpha, omega = build("alpha"), build("omega")
    Pause.objects.filter(connection=alpha.target).update(scope="site", connection=alpha.source, scope_name="S1")
    Pause.objects.filter(connection=omega.target).delete()
    Transfer.objects.filter(state="waiting").update(due_at=clock.at(-600))
    Transfer.objects.filter(state="in_doubt", integration=omega.integration).update(due_at=clock.at(3600))
    Transfer.objects.filter(state="in_doubt", integration=alpha.integration).update(due_at=clock.at(-60), site="S2")
    Transfer.objects.filter(integration=alpha.integration, state="waiting").update(site="S1")
    with django_capture_on_commit_callbacks(execute=True):
        wake.work(3)
    heartbeat.beat()
    told = numbers(scrape(client, settings))
    assert {s: told("unfinished_transfers", kind="ifs_fedex", state=s) for s in Transfer.UNFINISHED} == dict.fromkeys(
        Transfer.UNFINISHED, 2
    )
    assert told("due_transfers", kind="ifs_fedex", paused="yes") == 1
    assert told("due_transfers", kind="ifs_fedex", paused="no") == 2
    assert 599 < told("oldest_due_seconds", kind="ifs_fedex", paused="no") < 700
    assert told("paused_scopes", scope="site", reason="configuration") == 1
    assert told("paused_scopes", scope="connection", reason="configuration") == 0
    assert told("requests_in_doubt", vendor="fedex") == EffectSend.objects.filter(outcome="unknown").count() == 2
    assert told("requests_in_doubt", vendor="ifs_cloud") == 0
    assert told("queue_length") == 3
    assert told("worker_heartbeat_age_seconds") < 60
    assert abs(told("database_clock_ahead_seconds")) < 5


@pytest.mark.django_db
def test_polls_and_their_lateness_stand_per_flow(client: Client, settings: Any) -> None:
    house = build("alpha")
    Pause.objects.all().delete()
    Integration.objects.update(updated_at=clock.at(-86400), schedule={"ship": {"every_minutes": 5}})
    FlowState.objects.create(
        tenant=house.tenant,
        integration=house.integration,
        flow="ship",
        last_poll_at=clock.at(-900),
        last_good_poll_at=clock.at(-7200),
    )
    told = numbers(scrape(client, settings))
    at = {"integration": "alpha-ifs-fedex", "flow": "ship"}
    assert 899 < told("poll_age_seconds", **at) < 960
    assert 7199 < told("good_poll_age_seconds", **at) < 7260
    assert 599 < told("poll_late_seconds", **at) < 660


@pytest.mark.django_db(transaction=True)
def test_calls_are_counted_under_the_limit_they_were_drawn_from(client: Client, settings: Any) -> None:
    world = World.build()
    try:
        world.ready(2)
        world.sync()
        told = numbers(scrape(client, settings))
        ifs = {"vendor": "ifs_cloud", "limit": "calls", "scope": "connection", "connection": "acme-ifs"}
        fedex = {"vendor": "fedex", "limit": "calls", "scope": "credential", "connection": "acme-fedex"}
        assert told("limit_used_today", **ifs) >= 3
        assert told("limit_used_today", **fedex) >= 2
        assert told("limit_used_total", **fedex) == told("limit_used_today", **fedex)
        assert told("limit_rest_seconds", **fedex) == 0
        LimitBucket.objects.update(day=dt.date(2020, 1, 1), rest_until=clock.now().timestamp() + 90)
        told = numbers(scrape(client, settings))
        assert told("limit_used_today", **fedex) == 0, "that was another day"
        assert told("limit_used_total", **fedex) >= 2
        assert 80 < told("limit_rest_seconds", **fedex) <= 90
    finally:
        world.close()


@pytest.mark.django_db
def test_no_secret_and_no_text_of_people_is_told(client: Client, settings: Any) -> None:
    house = build("alpha")
    account = Connection.objects.get(pk=house.target.pk)
    text = scrape(client, settings)
    for secret in (TOKEN, settings.SECRET_KEY, house.mark, *account.secrets().values(), *account.plain.values()):
        assert secret not in text
    for value in re.findall(r'="([^"]*)"', text):
        assert re.fullmatch(r"[a-z0-9_-]+", value), f"{value} is no slug"


@pytest.mark.django_db
def test_a_connection_that_no_key_opens_does_not_hide_the_others(client: Client, settings: Any) -> None:
    alpha = build("alpha")
    LimitBucket.objects.create(key=f"connection:{alpha.source.pk}:calls", used=7)
    sealed = Fernet(Fernet.generate_key()).encrypt(b"{}").decode()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE connector_connection SET secrets_text = %s WHERE id = %s", [sealed, alpha.target.pk])
    assert not Connection.objects.get(pk=alpha.target.pk).secrets_readable
    told = numbers(scrape(client, settings))
    assert told("limit_used_total", vendor="ifs_cloud", limit="calls", scope="connection", connection="alpha-ifs") == 7


@pytest.mark.django_db
def test_its_questions_do_not_grow_with_the_installation(
    client: Client, settings: Any, django_assert_max_num_queries: Any
) -> None:
    for slug in ("alpha", "omega", "third"):
        build(slug)
    with django_assert_max_num_queries(20):
        metrics.text()

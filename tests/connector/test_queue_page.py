"""The owner's page of the queue: names in words, ages, workers, what failed; and that nothing stored is carried out."""

from __future__ import annotations

import datetime as dt
import pickle
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone
from django_q import core_signing
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.models import Failure, OrmQ, Success
from django_q.signing import SignedPackage
from django_q.status import Stat, Status
from django_q.tasks import async_task

from connector.models import AuditEntry, Heartbeat, WebhookDelivery
from connector.services import clock, heartbeat, metrics, queue
from connector.workers import ALLOWED_TASKS
from tests.connector.admin_support import build, client_of, owner

pytestmark = pytest.mark.django_db

URL = "admin:django_q_ormq_changelist"
CARRIED_OUT: list[str] = []


class Trap:
    """Tells when somebody unpickles it."""

    def __reduce__(self) -> Any:
        return (CARRIED_OUT.append, ("boom",))


def page(name: str = URL) -> str:
    answer = client_of(owner()).get(reverse(name))
    assert answer.status_code == 200
    return answer.content.decode()


def test_every_task_that_has_words_is_one_of_ours() -> None:
    assert {f"connector.tasks.{name}" for name in queue.TASKS} <= ALLOWED_TASKS
    assert queue.words_of("connector.tasks.something_new")[0] == "Something new"
    assert queue.words_of("os.system") == queue.UNKNOWN


def test_waiting_wake_ups_are_told_by_name_and_age() -> None:
    for _ in range(3):
        async_task("connector.tasks.work_due")
    async_task("connector.tasks.ping", 4711)
    old = timezone.now() - dt.timedelta(minutes=7)
    OrmQ.objects.filter(pk=OrmQ.objects.order_by("pk")[1].pk).update(lock=old)
    OrmQ.objects.filter(pk=OrmQ.objects.order_by("pk")[2].pk).update(lock=timezone.now() + dt.timedelta(minutes=5))
    told = queue.look()
    assert [(w.label, w.waiting, w.taken) for w in told.waiting] == [("Work on due transfers", 2, 1), ("Ping a connection", 1, 0)]
    assert told.waiting[0].oldest == old and told.length == 3
    text = page()
    assert "Work on due transfers" in text and "7\xa0minutes" in text and "Ping a connection" in text
    assert "4711" not in text, "no arguments"


def test_posts_that_nobody_has_taken_in_are_told_by_connection() -> None:
    assert "None wait, and none were unreadable" in page()
    connection = build("a").target
    long_ago = clock.now() - dt.timedelta(minutes=9)
    for n, state in enumerate(("received", "received", "failed", "done")):
        WebhookDelivery.objects.create(
            tenant=connection.tenant, connection=connection, digest=f"{n:064d}", body=b"x", state=state, received_at=long_ago
        )
    [told] = queue.look().posts
    assert (told.connection, told.waiting, told.oldest, told.failed) == (connection.slug, 2, long_ago, 1)
    text = page()
    assert connection.slug in text and "9\xa0minutes" in text
    lines = metrics.text().decode().splitlines()
    assert (
        'ml_connector_webhook_posts{state="waiting"} 2.0' in lines and 'ml_connector_webhook_posts{state="failed"} 1.0' in lines
    )
    [age] = [line for line in lines if line.startswith("ml_connector_oldest_webhook_post_seconds ")]
    assert 540 <= float(age.split()[1]) < 900


def test_unreadable_posts_are_tried_again_by_an_administrator() -> None:
    house, other = build("alpha"), build("omega")
    connection = house.target
    for n, (whose, state) in enumerate(((house, "failed"), (house, "failed"), (house, "done"), (other, "failed"))):
        WebhookDelivery.objects.create(
            tenant=whose.tenant,
            connection=whose.target,
            digest=f"{n:064d}",
            body=b"x",
            state=state,
            attempts=5,
            result={"error": "unreadable"},
            received_at=clock.now(),
            ended_at=clock.now(),
        )
    url = reverse("admin:connector_connection_do", args=[connection.pk, "read-posts"])
    assert url in page() and "Try to read them again" not in page("admin:index")
    own = reverse("admin:connector_connection_change", args=[connection.pk])
    assert url in client_of(house.person("administrator")).get(own).content.decode()
    for person, status in (("viewer", 403), ("operator", 403)):
        client = client_of(house.person(person))
        assert client.post(url).status_code == status and url not in client.get(own).content.decode()
    assert client_of(other.person("administrator")).post(url).status_code == 404
    assert WebhookDelivery.objects.filter(state="failed").count() == 3

    answer = client_of(house.person("administrator")).post(url, {"back": "queue"})
    assert answer.headers["Location"] == own, "the queue's page is the owner's"
    states = WebhookDelivery.objects.filter(connection=connection).order_by("digest")
    assert list(states.values_list("state", "attempts")) == [("received", 0), ("received", 0), ("done", 5)]
    assert WebhookDelivery.objects.get(connection=other.target).state == "failed"
    entry = AuditEntry.objects.get(act="posts_read_again")
    assert (entry.facts, entry.object_id, entry.actor) == ({"posts": 2}, connection.pk, "user:administrator-alpha")
    text = client_of(owner()).post(url, {"back": "queue"}, follow=True).content.decode()
    assert "No post of this connection was given up." in text and "Waiting wake-ups" in text
    assert AuditEntry.objects.filter(act="posts_read_again").count() == 1


def test_no_stored_package_is_carried_out() -> None:
    CARRIED_OUT.clear()
    package = {"id": "x", "func": "connector.tasks.poll", "args": (Trap(),), "kwargs": {}}
    OrmQ.objects.create(key="ml-connector", payload=SignedPackage.dumps(package), lock=timezone.now())
    OrmQ.objects.create(key="ml-connector", payload="not signed by anybody", lock=timezone.now())
    forged = core_signing.dumps(package, key="another key", salt=Conf.PREFIX, serializer=_Pickle)
    OrmQ.objects.create(key="ml-connector", payload=forged, lock=timezone.now())
    assert {w.label: w.waiting for w in queue.look().waiting} == {"Look for documents": 1, queue.UNKNOWN[0]: 2}
    page()
    assert CARRIED_OUT == []


class _Pickle:
    dumps = staticmethod(pickle.dumps)
    loads = staticmethod(pickle.loads)


def failure(func: str = "connector.tasks.retention", number: int = 1, **values: Any) -> None:
    now = timezone.now()
    row = {"id": f"{number:032d}", "name": "n", "func": func, "started": now, "stopped": now, "success": False}
    Failure.objects.create(**(row | values))


def test_failed_tasks_say_what_to_do_and_nothing_else() -> None:
    failure(args=("secret-argument",), result="secret-result : Traceback")
    failure("somebody.elses", 2)
    for text in (page(), page("admin:django_q_failure_changelist")):
        assert "Erase what is old enough" in text and "manage.py retention" in text and "Workers refuse it" in text
        assert "secret-argument" not in text and "secret-result" not in text
    failure("connector.tasks.tick", 3, success=True)
    assert "Look what is due" in page("admin:django_q_success_changelist") and Success.objects.count() == 1


def test_silent_workers_are_said() -> None:
    assert "No worker has ever looked for work" in page()
    heartbeat.beat()
    assert "A worker looked for work at" in page()
    Heartbeat.objects.update(at=clock.at(-600))
    assert "No worker has looked for work since" in page()


def test_clusters_tell_of_themselves_where_the_broker_lets_them() -> None:
    stat = Status(4242, "the-cluster")
    stat.tob, stat.status, stat.workers = timezone.now(), "Idle", [1, 2, 3]
    get_broker().set_stat(Stat.get_key("the-cluster"), SignedPackage.dumps(stat, True), 30)
    [cluster] = [c for c in queue.look().clusters if c.pid == 4242]
    assert (cluster.status, cluster.workers, cluster.restarts) == ("Idle", 3, 0)
    assert "process 4242" in page()


def test_processes_that_hold_work_are_named() -> None:
    house = build("alpha")
    running = house.transfers["running"]
    type(running).objects.filter(pk=running.pk).update(owner_process="machine:boot:77", lease_until=clock.at(60))
    assert [(p.name, p.transfers, p.calls) for p in queue.look().processes] == [("machine:boot:77", 1, 0)]


def test_it_is_the_owners_alone_and_read_only() -> None:
    house = build("alpha")
    for name in (URL, "admin:queue_now"):
        assert client_of(house.person("administrator")).get(reverse(name)).status_code == 403
    assert client_of(owner()).post(reverse(URL), {"action": "delete_selected"}).status_code == 405

"""Signing in: failures are counted and end by themselves, sessions end, and all of it is written down without secrets."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connections
from django.test import Client
from django.urls import reverse

from connector.models import AuditDetail, AuditEntry, User
from connector.services import clock, sign_in
from tests.connector.admin_support import House, build, client_of, owner

pytestmark = pytest.mark.django_db

PASSWORD = "long enough for tests"
LOGIN = "/admin/login/"


@pytest.fixture
def house() -> House:
    return build("alpha")


def attempt(name: str, password: str = PASSWORD, client: Client | None = None, **meta: Any) -> Any:
    """One press of the button on the sign-in page."""
    return (client or Client()).post(LOGIN, {"username": name, "password": password, "next": "/admin/"}, **meta)


def fail(name: str, times: int = 5, **meta: Any) -> Any:
    """Wrong passwords; the last answer."""
    return [attempt(name, "wrong", **meta) for _ in range(times)][-1]


def acts(name: str) -> list[str]:
    """What the history says of a person, oldest first."""
    entries = AuditEntry.objects.filter(object_type="user", object_name=name).order_by("pk")
    return list(entries.values_list("act", flat=True))


def shift(seconds: float) -> None:
    """Time passes: for our clock, and for what axes has written with its own."""
    clock.offset_s += seconds


def test_signing_in_without_a_wish_leads_to_the_console(house: House) -> None:
    """A form without `next`, as somebody's bookmark of the sign-in page sends it, must not end on a missing page."""
    answer = Client().post(LOGIN, {"username": "viewer-alpha", "password": PASSWORD}, follow=True)
    assert answer.redirect_chain == [(reverse("admin:index"), 302)] and answer.status_code == 200


# -- throttling --------------------------------------------------------------------------------------


def test_too_many_failures_let_a_name_rest_at_an_address(house: House) -> None:
    answer = fail("viewer-alpha", 4)
    assert answer.status_code == 200
    answer = fail("viewer-alpha", 1)
    assert answer.status_code == 429 and int(answer["Retry-After"]) > 800
    text = answer.content.decode()
    assert "failed 5 times" in text and "15 more minutes" in text and "no-store" in answer["Cache-Control"]
    assert attempt("viewer-alpha").status_code == 429, "the right password does not help while it rests"
    assert sorted(acts("viewer-alpha")) == ["sign_in_failed"] * 5 + ["sign_in_locked"], (
        "knocking at a shut door is not written down"
    )


def test_the_same_name_elsewhere_and_other_names_here_go_on(house: House) -> None:
    fail("viewer-alpha", 6)
    assert attempt("viewer-alpha", REMOTE_ADDR="192.0.2.7").status_code == 302
    assert attempt("operator-alpha").status_code == 302
    assert attempt(owner().username).status_code == 302


def test_it_ends_by_itself_and_knocking_does_not_make_it_longer(house: House, settings: Any) -> None:
    fail("viewer-alpha", 5)
    before = list(AccessAttempt.objects.values_list("attempt_time", "failures_since_start"))
    assert fail("viewer-alpha", 3).status_code == 429
    assert list(AccessAttempt.objects.values_list("attempt_time", "failures_since_start")) == before
    for row in AccessAttempt.objects.all():
        AccessAttempt.objects.filter(pk=row.pk).update(attempt_time=row.attempt_time - settings.AXES_COOLOFF_TIME)
    assert sign_in.locks("viewer-alpha") == []
    assert attempt("viewer-alpha").status_code == 302


def test_a_good_sign_in_forgets_the_failures(house: House) -> None:
    for _ in range(3):
        assert fail("viewer-alpha", 4).status_code == 200
        assert attempt("viewer-alpha").status_code == 302


def test_names_that_do_not_exist_are_answered_alike(house: House) -> None:
    known, unknown = fail("viewer-alpha", 4).content.decode(), fail("nobody-here", 4).content.decode()
    assert "Please enter the correct username" in known and "Please enter the correct username" in unknown
    assert fail("nobody-here", 1).status_code == fail("viewer-alpha", 1).status_code == 429


def test_nothing_that_was_typed_is_kept(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody types the password into the field of the name."""
    with caplog.at_level(logging.DEBUG):
        fail("correct horse battery staple", 6)
    kept = str(list(AccessAttempt.objects.values()) + list(AuditEntry.objects.values()) + list(AuditDetail.objects.values()))
    assert "correct horse" not in kept and "wrong" not in kept
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("django.db")]
    assert "correct horse" not in "\n".join(ours)
    assert any("unknown name" in line for line in ours)


def test_an_administrator_lets_his_people_in_again(house: House) -> None:
    theirs = build("omega")
    fail("viewer-alpha")
    person = house.person("viewer")
    page = reverse("admin:connector_user_change", args=[person.pk])
    boss = client_of(house.person("administrator"))
    assert "Rests after failures" in boss.get(reverse("admin:connector_user_changelist")).content.decode()
    assert "Let sign in again" in boss.get(page).content.decode()
    url = reverse("admin:connector_user_do", args=[person.pk, "unlock"])
    assert client_of(theirs.person("administrator")).post(url).status_code == 404
    assert client_of(house.person("operator")).post(url).status_code == 403
    assert attempt("viewer-alpha").status_code == 429
    assert boss.post(url).status_code == 302
    assert attempt("viewer-alpha").status_code == 302
    entry = AuditEntry.objects.get(act="sign_in_unlocked")
    assert (entry.actor, entry.facts) == ("user:administrator-alpha", {"addresses": 1})


def test_the_server_lets_in_who_cannot_be_let_in_by_anybody() -> None:
    name = owner().username
    fail(name)
    assert attempt(name).status_code == 429
    out = StringIO()
    call_command("unlock", name, "--json", stdout=out)
    assert json.loads(out.getvalue()) == {"ok": True, "user": name, "unlocked_addresses": 1, "second_factor_removed": False}
    assert attempt(name).status_code == 302
    with pytest.raises(SystemExit) as refused:
        call_command("unlock", "nobody", "--json", stdout=StringIO())
    assert refused.value.code == 2


@pytest.mark.django_db(transaction=True)
def test_all_processes_share_one_count(house: House) -> None:
    """Each thread has its own connection, as each process has; nothing but the database is between them."""

    def one(number: int) -> int:
        try:
            return int(attempt("viewer-alpha", f"wrong {number}", HTTP_USER_AGENT=f"agent {number}").status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(12)))
    assert attempt("viewer-alpha").status_code == 429
    assert sum(AccessAttempt.objects.values_list("failures_since_start", flat=True)) >= 5


# -- addresses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trusted", "forwarded", "remote", "address"),
    [
        (0, "203.0.113.9", "10.0.0.1", "10.0.0.1"),
        (1, "203.0.113.9", "10.0.0.1", "203.0.113.9"),
        (1, "198.51.100.1, 203.0.113.9", "10.0.0.1", "203.0.113.9"),
        (2, "198.51.100.1, 203.0.113.9, 10.0.0.2", "10.0.0.1", "203.0.113.9"),
        (2, "203.0.113.9", "10.0.0.1", "10.0.0.1"),
        (1, "not an address", "10.0.0.1", None),
        (0, "", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        (0, "", "::ffff:192.0.2.1", "192.0.2.1"),
        (0, "", "", None),
    ],
)
def test_the_address_is_the_one_that_can_be_trusted(
    rf: Any, settings: Any, trusted: int, forwarded: str, remote: str, address: str | None
) -> None:
    settings.TRUST_X_FORWARDED_FOR = trusted
    assert sign_in.client_address(rf.get("/", REMOTE_ADDR=remote, HTTP_X_FORWARDED_FOR=forwarded)) == address


def test_a_forged_header_is_no_new_address(house: House) -> None:
    for number in range(5):
        answer = attempt("viewer-alpha", "wrong", HTTP_X_FORWARDED_FOR=f"198.51.100.{number}")
    assert answer.status_code == 429


# -- sessions ----------------------------------------------------------------------------------------


def test_a_sign_in_gives_a_new_session_key(house: House) -> None:
    client = Client()
    client.get("/admin/")
    session = client.session
    session["x"] = 1
    session.save()
    client.cookies["sessionid"] = planted = str(session.session_key)
    attempt("viewer-alpha", client=client)
    assert client.cookies["sessionid"].value != planted
    assert client.get("/admin/").status_code == 200
    stranger = Client()
    stranger.cookies["sessionid"] = planted
    assert stranger.get("/admin/").status_code == 302


def test_a_session_without_a_person_ends(house: House) -> None:
    client = Client()
    attempt("viewer-alpha", client=client)
    shift(50 * 60)
    assert client.get("/admin/").status_code == 200
    shift(50 * 60)
    assert client.get("/admin/").status_code == 200, "a click counts"
    shift(61 * 60)
    answer = client.get("/admin/", follow=True)
    assert answer.redirect_chain and "signed out after 60 minutes without a click" in answer.content.decode()
    entry = AuditEntry.objects.get(act="signed_out")
    assert (entry.actor, entry.facts) == ("system", {"why": "idle"})


def test_what_a_page_asks_by_itself_is_no_sign_of_a_person(house: House) -> None:
    client = Client()
    attempt("viewer-alpha", client=client)
    for _ in range(3):
        shift(25 * 60)
        answer = client.get("/admin/", headers={"sec-fetch-dest": "empty"})
    assert answer.status_code == 302


def test_a_session_ends_after_its_day(house: House) -> None:
    client = Client()
    attempt("viewer-alpha", client=client)
    for _ in range(25):
        shift(29 * 60)
        answer = client.get("/admin/", follow=True)
    assert "a session lasts 12 hours at most" in answer.content.decode()


def test_idle_time_can_be_switched_off(house: House, settings: Any) -> None:
    settings.SESSION_IDLE_MINUTES = 0
    client = Client()
    attempt("viewer-alpha", client=client)
    shift(11 * 3600)
    assert client.get("/admin/").status_code == 200


def test_looking_writes_the_session_once_a_minute(house: House, django_assert_num_queries: Any) -> None:
    client = Client()
    attempt("viewer-alpha", client=client)
    before = client.session[sign_in.SEEN_AT]
    client.get("/admin/")
    assert client.session[sign_in.SEEN_AT] == before
    shift(61)
    client.get("/admin/")
    assert client.session[sign_in.SEEN_AT] > before


def test_sign_out_everywhere_else(house: House) -> None:
    here, there = Client(), Client()
    for client in (here, there):
        attempt("viewer-alpha", client=client)
    page = here.get(reverse("admin:account")).content.decode()
    assert "Viewer" in page and "Sign out everywhere else" in page
    url = reverse("admin:account_sign_out")
    assert here.get(url).status_code == 405
    assert Client(enforce_csrf_checks=True).post(url).status_code in (302, 403)
    assert here.post(url).status_code == 302
    assert here.get("/admin/").status_code == 200
    assert there.get("/admin/").status_code == 302
    assert "signed_out_everywhere" in acts("viewer-alpha")


def test_an_administrator_signs_a_person_out(house: House) -> None:
    client = Client()
    attempt("viewer-alpha", client=client)
    url = reverse("admin:connector_user_do", args=[house.person("viewer").pk, "sign-out"])
    client_of(house.person("administrator")).post(url)
    assert client.get("/admin/").status_code == 302


def test_a_new_password_ends_the_other_sessions_and_is_written_down(house: House) -> None:
    here, there = Client(), Client()
    for client in (here, there):
        attempt("viewer-alpha", client=client)
    new = "a rather different one"
    form = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    assert here.post(reverse("admin:password_change"), form | {"old_password": "x"}).status_code == 200
    assert "password_changed" not in acts("viewer-alpha")
    assert here.post(reverse("admin:password_change"), form).status_code == 302
    assert (here.get("/admin/").status_code, there.get("/admin/").status_code) == (200, 302)
    assert acts("viewer-alpha")[-1] == "password_changed"


def test_who_came_and_went_is_written_down_and_the_address_can_be_erased(house: House) -> None:
    client = Client()
    attempt("viewer-alpha", client=client, REMOTE_ADDR="192.0.2.7")
    client.post(reverse("admin:logout"))
    assert acts("viewer-alpha") == ["signed_in", "signed_out"]
    entry = AuditEntry.objects.get(act="signed_in")
    assert entry.tenant == house.tenant and "192.0.2.7" not in json.dumps(entry.facts)
    assert AuditDetail.objects.get(entry=entry).detail == {"address": "192.0.2.7"}
    boss = owner()
    attempt(boss.username)
    assert AuditEntry.objects.get(act="signed_in", object_name=boss.username).tenant is None


# -- passwords ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["short one 1", "password1234", "123456789012345", "viewer-alpha1"])
def test_bad_passwords_are_refused(house: House, bad: str) -> None:
    with pytest.raises(ValidationError):
        validate_password(bad, house.person("viewer"))
    form = {"username": "viewer-alphas", "password": bad, "is_active": "on", f"role_{house.tenant.pk}": "operator"}
    answer = client_of(house.person("administrator")).post(reverse("admin:connector_user_add"), form)
    assert answer.status_code == 200 and not User.objects.filter(username="viewer-alphas").exists()

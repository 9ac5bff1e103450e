"""The second factor: set up with a real code, asked for at every sign-in, good once, encrypted, required, reset."""

from __future__ import annotations

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.db import connection, connections
from django.test import Client
from django.urls import reverse
from django_otp.oath import TOTP
from encrypted_model_fields import fields

from connector.models import AuditDetail, AuditEntry, RecoveryCode, SecondFactor, Tenant, User
from connector.services import clock, rotation, second_factor
from connector.services.second_factor import Verdict
from tests.connector.admin_support import House, build, client_of, owner
from tests.connector.test_sign_in import LOGIN, PASSWORD, acts, attempt

pytestmark = pytest.mark.django_db

CODE_PAGE = "/admin/login/code/"
PAGE = "/admin/account/second-factor/"


@pytest.fixture
def house() -> House:
    return build("alpha")


def code_of(key: str) -> str:
    """What an app shows for a key (base32, as the page tells it). Written from RFC 6238 by the library, not by our service."""
    totp = TOTP(base64.b32decode(key.replace(" ", "")))
    totp.time = clock.local_now().timestamp()
    return f"{totp.token():06d}"


def key_on(page: str) -> str:
    found = re.search(r'class="mlc-key">([A-Z2-7 ]+)<', page)
    assert found, page
    return found.group(1)


def enrol(client: Client, password: str = PASSWORD) -> tuple[str, list[str]]:
    """Set up through the pages, as a person does: the app's key and the recovery codes."""
    assert client.post(PAGE, {"act": "begin", "password": password}).status_code == 302
    key = key_on(client.get(PAGE).content.decode())
    text = client.post(PAGE, {"act": "confirm", "code": code_of(key)}).content.decode()
    codes = re.findall(r"<li>((?:[a-z2-7]{4}-){3}[a-z2-7]{4})</li>", text)
    assert len(codes) == 10, text
    clock.offset_s += 30
    return key, codes


@pytest.fixture
def person(house: House) -> User:
    return house.person("operator")


@pytest.fixture
def enrolled(person: User) -> tuple[Client, str, list[str]]:
    """A session that set up a second factor, the app's key, the recovery codes."""
    client = Client()
    attempt(person.username, client=client)
    key, codes = enrol(client)
    return client, key, codes


def after_password(name: str) -> Client:
    client = Client()
    answer = attempt(name, client=client)
    assert (answer.status_code, answer["Location"]) == (302, CODE_PAGE)
    return client


# -- signing in --------------------------------------------------------------------------------------


def test_the_password_alone_opens_nothing(person: User, enrolled: Any) -> None:
    before = acts(person.username)
    client = after_password(person.username)
    assert "_auth_user_id" not in client.session
    assert client.get("/admin/").status_code == 302
    assert client.get(reverse("admin:connector_transfer_changelist")).status_code == 302
    assert "Now the code that your app shows" in client.get(CODE_PAGE).content.decode()
    assert acts(person.username) == before, "nobody has signed in"


def test_password_and_code_open_the_page_that_was_asked_for(person: User, enrolled: Any) -> None:
    _, key, _ = enrolled
    client = Client()
    wanted = reverse("admin:connector_shipment_changelist")
    answer = client.post(f"{LOGIN}?next={wanted}", {"username": person.username, "password": PASSWORD})
    assert answer["Location"] == CODE_PAGE
    key_before = client.session.session_key
    answer = client.post(CODE_PAGE, {"code": code_of(key)})
    assert (answer.status_code, answer["Location"]) == (302, wanted)
    assert client.session.session_key != key_before
    assert client.get(wanted).status_code == 200
    entry = AuditEntry.objects.filter(act="signed_in", object_name=person.username).latest("pk")
    assert entry.facts == {"second_factor": "app"}


def test_without_a_page_in_mind_one_lands_on_the_dashboard(person: User, enrolled: Any, house: House) -> None:
    _, key, _ = enrolled
    client = Client()
    client.post(LOGIN, {"username": person.username, "password": PASSWORD})
    assert client.post(CODE_PAGE, {"code": code_of(key)})["Location"] == "/admin/"
    assert Client().post(LOGIN, {"username": "viewer-alpha", "password": PASSWORD})["Location"] == "/admin/"


def test_nobody_is_led_away_to_another_site(person: User, enrolled: Any) -> None:
    _, key, _ = enrolled
    client = Client()
    client.post(f"{LOGIN}?next=https://evil.example/", {"username": person.username, "password": PASSWORD})
    assert client.post(CODE_PAGE, {"code": code_of(key)})["Location"] == "/admin/"


def test_a_code_is_good_once(person: User, enrolled: Any) -> None:
    _, key, _ = enrolled
    code = code_of(key)
    assert after_password(person.username).post(CODE_PAGE, {"code": code}).status_code == 302
    answer = after_password(person.username).post(CODE_PAGE, {"code": code})
    assert answer.status_code == 200 and "used before" in answer.content.decode()


def test_a_phone_may_be_half_a_minute_wrong_but_not_more(person: User, enrolled: Any) -> None:
    _, key, _ = enrolled
    clock.offset_s += 300
    code = code_of(key)
    clock.offset_s += 90
    assert second_factor.verify(person, code) is Verdict.WRONG
    SecondFactor.objects.update(throttling_failure_count=0)
    clock.offset_s -= 60
    assert second_factor.verify(person, code) is Verdict.APP


@pytest.mark.parametrize("code", ["", "1", "abcdef", "١٢٣٤٥٦", "0" * 40, "-1", "aaaa-aaaa-aaaa-aaaa"])
def test_nonsense_is_no_code(person: User, enrolled: Any, code: str) -> None:
    client = after_password(person.username)
    assert client.post(CODE_PAGE, {"code": code}).status_code == 200
    assert client.get("/admin/").status_code == 302


def test_wrong_codes_cost_time_and_count_like_wrong_passwords(person: User, enrolled: Any) -> None:
    _, key, _ = enrolled
    client = after_password(person.username)
    assert "is wrong" in client.post(CODE_PAGE, {"code": "abc"}).content.decode()
    answer = client.post(CODE_PAGE, {"code": code_of(key)})
    assert answer.status_code == 200 and "too quick" in answer.content.decode()
    for number in range(4):
        SecondFactor.objects.update(throttling_failure_timestamp=None)
        answer = client.post(CODE_PAGE, {"code": f"wrong {number}"})
    assert answer.status_code == 429 and "failed 5 times" in answer.content.decode()
    SecondFactor.objects.update(throttling_failure_timestamp=None)
    assert client.post(CODE_PAGE, {"code": code_of(key)}).status_code == 429, "the right code does not help while it rests"
    assert attempt(person.username).status_code == 429
    assert acts(person.username).count("sign_in_locked") == 1


def test_the_password_is_remembered_for_five_minutes_and_for_one_person(person: User, enrolled: Any) -> None:
    _, key, _ = enrolled
    client = after_password(person.username)
    clock.offset_s += 301
    answer = client.post(CODE_PAGE, {"code": code_of(key)}, follow=True)
    assert "Sign in with name and password first" in answer.content.decode()
    assert Client().get(CODE_PAGE)["Location"] == LOGIN


@pytest.mark.parametrize("change", ["password", "switched off", "signed out"])
def test_what_happens_between_the_steps_counts(person: User, enrolled: Any, change: str) -> None:
    _, key, _ = enrolled
    client = after_password(person.username)
    user = User.objects.get(pk=person.pk)
    if change == "password":
        user.set_password("another long password")
    user.is_active = change != "switched off"
    user.session_version += change == "signed out"
    user.save()
    assert client.post(CODE_PAGE, {"code": code_of(key)})["Location"] == LOGIN
    assert "_auth_user_id" not in client.session


def test_a_session_that_never_showed_a_code_ends(person: User, enrolled: Any) -> None:
    """However it came to be."""
    stranger = Client()
    stranger.force_login(User.objects.get(pk=person.pk), backend="django.contrib.auth.backends.ModelBackend")
    answer = stranger.get("/admin/", follow=True)
    assert "Sign in again" in answer.content.decode() and "_auth_user_id" not in stranger.session


@pytest.mark.django_db(transaction=True)
def test_two_requests_never_use_the_same_code(person: User, enrolled: Any) -> None:
    _, key, codes = enrolled

    def one(code: str) -> Verdict:
        try:
            return second_factor.verify(person, code)
        finally:
            connections.close_all()

    for code in (code_of(key), codes[0]):
        SecondFactor.objects.update(throttling_failure_count=0)
        with ThreadPoolExecutor(4) as pool:
            verdicts = list(pool.map(one, [code] * 4))
        assert sum(v.good for v in verdicts) == 1, verdicts


# -- recovery codes ----------------------------------------------------------------------------------


def test_a_recovery_code_opens_once_and_says_how_many_are_left(person: User, enrolled: Any) -> None:
    _, _, codes = enrolled
    client = after_password(person.username)
    answer = client.post(CODE_PAGE, {"code": codes[3].upper().replace("-", " ")}, follow=True)
    assert "9 are left" in answer.content.decode()
    assert client.get("/admin/").status_code == 200
    entry = AuditEntry.objects.filter(act="signed_in", object_name=person.username).latest("pk")
    assert entry.facts == {"second_factor": "recovery code"}
    assert after_password(person.username).post(CODE_PAGE, {"code": codes[3]}).status_code == 200


def test_new_recovery_codes_make_the_old_ones_worthless(person: User, enrolled: Any) -> None:
    client, _, codes = enrolled
    text = client.post(PAGE, {"act": "codes", "password": "wrong"}).content.decode()
    assert "not your password" in text and second_factor.codes_left(person) == 10
    text = client.post(PAGE, {"act": "codes", "password": PASSWORD}).content.decode()
    assert len(set(re.findall(r"<li>([a-z2-7-]{19})</li>", text)) - set(codes)) == 10
    assert second_factor.verify(person, codes[0]) is Verdict.WRONG


# -- setting up --------------------------------------------------------------------------------------


def test_setting_up_wants_the_password_and_a_code(person: User) -> None:
    client = client_of(person)
    assert "not your password" in client.post(PAGE, {"act": "begin", "password": "wrong"}).content.decode()
    assert not SecondFactor.objects.exists()
    client.post(PAGE, {"act": "begin", "password": PASSWORD})
    page = client.get(PAGE).content.decode()
    assert "data:image/svg+xml" in page
    assert "is wrong" in client.post(PAGE, {"act": "confirm", "code": "000000x"}).content.decode()
    assert second_factor.of(person) is None
    client.post(PAGE, {"act": "cancel"})
    assert "mlc-key" not in client.get(PAGE).content.decode()
    assert client.post(PAGE, {"act": "dance"}).status_code == 404
    assert Client(enforce_csrf_checks=True).post(PAGE, {"act": "begin"}).status_code in (302, 403)


def test_looking_at_the_page_makes_no_key(person: User) -> None:
    client_of(person).get(PAGE)
    assert not SecondFactor.objects.exists()


def test_setting_up_ends_all_other_sessions(person: User) -> None:
    here, there = Client(), Client()
    for client in (here, there):
        attempt(person.username, client=client)
    enrol(here)
    assert here.get("/admin/").status_code == 200
    assert there.get("/admin/").status_code == 302
    assert "second_factor_set_up" in acts(person.username)


def test_codes_and_keys_are_shown_once(enrolled: Any) -> None:
    client, key, codes = enrolled
    page = client.get(PAGE).content.decode()
    assert codes[0] not in page and "data:image/svg" not in page and key not in page


def test_another_phone_replaces_the_first_one_only_with_its_code(person: User, enrolled: Any) -> None:
    client, old, old_codes = enrolled
    client.post(PAGE, {"act": "begin", "password": PASSWORD})
    assert second_factor.verify(person, code_of(old)) is Verdict.APP, "in use until the new one has shown a code"
    clock.offset_s += 30
    new = key_on(client.get(PAGE).content.decode())
    client.post(PAGE, {"act": "confirm", "code": code_of(new)})
    clock.offset_s += 30
    assert client.get("/admin/").status_code == 200
    assert second_factor.verify(person, code_of(old)) is Verdict.WRONG
    SecondFactor.objects.update(throttling_failure_timestamp=None)
    assert second_factor.verify(person, old_codes[0]) is Verdict.WRONG
    SecondFactor.objects.update(throttling_failure_timestamp=None)
    assert second_factor.verify(person, code_of(new)) is Verdict.APP
    assert "second_factor_replaced" in acts(person.username)


def test_turning_off(person: User, enrolled: Any) -> None:
    client, _, _ = enrolled
    client.post(PAGE, {"act": "turn-off", "password": "wrong"})
    assert second_factor.of(person) is not None
    client.post(PAGE, {"act": "turn-off", "password": PASSWORD})
    assert second_factor.of(person) is None and not RecoveryCode.objects.exists()
    assert client.get("/admin/").status_code == 200
    assert attempt(person.username)["Location"] == "/admin/"
    assert "second_factor_turned_off" in acts(person.username)


# -- required, reset ---------------------------------------------------------------------------------


def test_a_tenant_requires_it_of_everybody_who_sees_it(house: House) -> None:
    other = build("omega")
    boss = client_of(house.person("administrator"))
    url = reverse("admin:connector_tenant_do", args=[house.tenant.pk, "require-second-factor"])
    assert client_of(house.person("operator")).post(url).status_code == 403
    assert client_of(other.person("administrator")).post(url).status_code == 404
    assert boss.post(url).status_code == 302
    assert Tenant.objects.get(pk=house.tenant.pk).second_factor_required
    for user in (house.person("viewer"), owner()):
        client = client_of(user)
        for page in ("/admin/", reverse("admin:connector_transfer_changelist"), reverse("admin:account")):
            assert client.get(page)["Location"] == PAGE
        assert client.post(reverse("admin:account_sign_out"))["Location"] == PAGE
        assert house.tenant.name in client.get(PAGE).content.decode()
        assert client.get(reverse("admin:password_change")).status_code == 200
    assert client_of(other.person("viewer")).get("/admin/").status_code == 200
    viewer = client_of(house.person("viewer"))
    enrol(viewer)
    assert viewer.get("/admin/").status_code == 200
    text = viewer.post(PAGE, {"act": "turn-off", "password": PASSWORD}).content.decode()
    assert "replaced, not turned off" in text and second_factor.of(house.person("viewer"))
    entry = AuditEntry.objects.get(act="second_factor_required")
    assert (entry.tenant, entry.actor) == (house.tenant, "user:administrator-alpha")


def test_it_is_no_longer_required(house: House) -> None:
    second_factor.require(house.tenant, True, "test")
    boss = client_of(house.person("administrator"))
    enrol(boss)
    page = reverse("admin:connector_tenant_change", args=[house.tenant.pk])
    assert "2 of 3 have none yet" in boss.get(page).content.decode()
    boss.post(reverse("admin:connector_tenant_do", args=[house.tenant.pk, "waive-second-factor"]))
    assert client_of(house.person("viewer")).get("/admin/").status_code == 200


def test_the_list_of_users_tells_who_has_one(house: House, enrolled: Any) -> None:
    second_factor.require(house.tenant, True, "test")
    boss = client_of(house.person("administrator"))
    enrol(boss)
    text = boss.get(reverse("admin:connector_user_changelist")).content.decode()
    assert text.count("Required, not set up") == 1 and text.count(">On<") == 2


def test_an_administrator_resets_it_for_his_people_only(house: House, person: User, enrolled: Any) -> None:
    client, _, _ = enrolled
    other = build("omega")
    url = reverse("admin:connector_user_do", args=[person.pk, "reset-second-factor"])
    assert client_of(other.person("administrator")).post(url).status_code == 404
    assert client_of(house.person("viewer")).post(url).status_code == 403
    boss = client_of(house.person("administrator"))
    page = reverse("admin:connector_user_change", args=[person.pk])
    assert "Take away the second factor" in boss.get(page).content.decode()
    assert boss.post(url).status_code == 302
    assert second_factor.of(person) is None
    assert client.get("/admin/").status_code == 302, "his sessions have ended"
    assert AuditEntry.objects.get(act="second_factor_reset").actor == "user:administrator-alpha"


def test_the_server_resets_it_for_the_owner() -> None:
    boss = owner()
    client = client_of(boss)
    enrol(client)
    out = StringIO()
    call_command("unlock", boss.username, "--second-factor", "--json", stdout=out)
    assert json.loads(out.getvalue())["second_factor_removed"] is True
    assert attempt(boss.username)["Location"] == "/admin/"


# -- secrets -----------------------------------------------------------------------------------------


def test_key_and_codes_are_not_readable_in_the_database(enrolled: Any) -> None:
    _, key, codes = enrolled
    plain = base64.b32decode(key.replace(" ", "")).hex()
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM connector_secondfactor")
        stored = str(cursor.fetchall())
        cursor.execute("SELECT * FROM connector_recoverycode")
        stored += str(cursor.fetchall())
    stored += str(list(AuditEntry.objects.values()) + list(AuditDetail.objects.values()))
    for secret in (plain, key, key.replace(" ", ""), *codes, codes[0].replace("-", "")):
        assert secret not in stored
    assert SecondFactor.objects.get().key == plain


@pytest.fixture
def use_keys(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(*given: str) -> None:
        settings.FIELD_ENCRYPTION_KEY = list(given)
        monkeypatch.setattr(fields, "CRYPTER", fields.get_crypter())

    return use


def test_keys_are_rotated_and_a_wrong_one_destroys_nothing(person: User, enrolled: Any, use_keys: Any, settings: Any) -> None:
    client, key, codes = enrolled
    old, new = settings.FIELD_ENCRYPTION_KEY[0], Fernet.generate_key().decode()
    use_keys(new)
    answer = after_password(person.username).post(CODE_PAGE, {"code": code_of(key)})
    assert "cannot be opened with the present keys" in answer.content.decode()
    assert second_factor.verify(person, "000000x") is Verdict.WRONG, "counting a failure saves the row"
    SecondFactor.objects.update(throttling_failure_timestamp=None)
    assert second_factor.verify(person, codes[0]) is Verdict.RECOVERY
    use_keys(new, old)
    assert rotation.rotate("test").rotated["second factor"] == 2
    use_keys(new)
    assert second_factor.verify(person, code_of(key)) is Verdict.APP

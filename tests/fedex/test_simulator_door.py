"""The simulated FedEx before any work: log-in and its limits, tokens, paths, quotas (sheet 1 to 4)."""

from __future__ import annotations

import pytest

from tests.fedex.simulator_wire import Wire, codes, rate_body

# -- OAuth: sheet 2 and 3 ------------------------------------------------------------------------------------


def test_token_has_the_four_members_and_the_configured_life(wire: Wire) -> None:
    """Sheet 2: use `expires_in`, never assume 3600."""
    wire.sim.options(expires_in=120)
    assert wire.login().json() == {"access_token": wire.token, "token_type": "bearer", "expires_in": 120, "scope": "CXS"}


def test_token_refuses_bad_secret_json_missing_and_duplicate_parameters(wire: Wire) -> None:
    """Sheet 2, table of errors."""
    bad = wire.login(secret="wrong")
    assert (bad.status_code, codes(bad)) == (401, ["NOT.AUTHORIZED.ERROR"])
    good = {"grant_type": "client_credentials", "client_id": "demo-key", "client_secret": "demo-secret"}
    url = f"{wire.url}/oauth/token"
    pairs = [*good.items(), ("client_id", "demo-key")]
    refused = [
        wire.http.post(url, json=good, timeout=10),
        wire.http.post(url, data=pairs, timeout=10),
        wire.http.post(url, data={"grant_type": "client_credentials", "client_id": "demo-key"}, timeout=10),
        wire.http.post(url, data=good | {"grant_type": "password"}, timeout=10),
        wire.http.post(url, data=good | {"grant_type": "csp_credentials"}, timeout=10),
    ]
    assert [answer.status_code for answer in refused] == [400] * 5


def test_token_for_a_child_account_says_cxs_tp(wire: Wire) -> None:
    """Sheet 2: `child_Key` with a capital K."""
    form = {"grant_type": "csp_credentials", "client_id": "demo-key", "client_secret": "demo-secret"}
    child = {"child_Key": "child", "child_secret": "hush"}
    answer = wire.http.post(f"{wire.url}/oauth/token", data=form | child, timeout=10)
    assert (answer.status_code, answer.json()["scope"]) == (200, "CXS-TP")


def test_burst_of_logins_blocks_the_address_for_ten_minutes_and_again_if_repeated(wire: Wire) -> None:
    """Sheet 3: 3 a second over 5 s; a new violation during the penalty prolongs it."""
    assert [wire.login().status_code for _ in range(15)] == [200] * 13 + [403] * 2
    assert "html" in wire.login().headers["Content-Type"]
    wire.sim.clock_offset_s += 599
    assert wire.login().status_code == 403
    assert {wire.login().status_code for _ in range(14)} == {403}  # the second violation, in the last second
    wire.sim.clock_offset_s += 300
    assert wire.login().status_code == 403
    wire.sim.clock_offset_s += 301
    assert wire.login().status_code == 200
    assert wire.sim.token_requests == 1 + 15 + 1 + 1 + 14 + 1 + 1


def test_one_login_a_second_over_two_minutes_blocks_too(wire: Wire) -> None:
    """Sheet 3: average threshold."""
    statuses = []
    for _ in range(130):
        wire.sim.clock_offset_s += 0.99
        statuses.append(wire.login().status_code)
    assert statuses.index(403) == 118  # with the fixture's own login that is the 120th within two minutes


def test_slow_logins_are_never_punished(wire: Wire) -> None:
    """Sheet 3: below both thresholds; one login in five seconds is our own limit (sheet 20)."""
    for _ in range(60):
        wire.sim.clock_offset_s += 5
        assert wire.login().status_code == 200


# -- The door: sheet 1 to 4 -----------------------------------------------------------------------------------


def test_refused_tokens_come_in_three_shapes(wire: Wire) -> None:
    """Sheet 2: 401 shapes 1 to 3."""
    url = f"{wire.url}/ship/v1/shipments"
    none = wire.http.post(url, json={}, timeout=10)
    assert none.status_code == 401 and codes(none) == ["NOT.AUTHORIZED.ERROR"] and none.json()["transactionId"]
    good, wire.token = wire.token, "invented"
    malformed = wire.create()
    assert (malformed.status_code, malformed.json()) == (401, {"error_description": "Invalid CXS JWT"})
    wire.token = good
    wire.sim.clock_offset_s += 3601
    expired = wire.create()
    assert expired.status_code == 401
    assert expired.json() == {"error": "invalid_request", "error_description": "CXS JWT is expired"}
    wire.sim.options(unauthorized_shape=1)
    assert codes(wire.create()) == ["NOT.AUTHORIZED.ERROR"]
    assert wire.sim.shipments() == []


@pytest.mark.parametrize("shape", [1, 2, 3])
def test_fault_401_once_does_no_work_and_ends(wire: Wire, shape: int) -> None:
    """Sheet 2: a 401 means nothing was executed, so one resend is safe."""
    wire.sim.fault("401_once", "POST /ship", shape=shape)
    first = wire.create()
    assert (first.status_code, "errors" in first.json(), "error" in first.json()) == (401, shape == 1, shape == 2)
    assert wire.create().status_code == 200
    assert wire.sim.creates == 1


def test_unknown_path_wrong_method_and_wrong_type(wire: Wire) -> None:
    """Sheet 18: 404, 405 (cancel by POST), 415."""
    assert codes(wire.call("/ship/v9/shipments", {})) == ["NOT.FOUND.ERROR"]
    by_post = wire.call("/ship/v1/shipments/cancel", {})
    assert (by_post.status_code, by_post.headers["Allow"]) == (405, "PUT")
    header = {"authorization": f"Bearer {wire.token}", "content-type": "text/plain"}
    assert wire.http.post(f"{wire.url}/ship/v1/shipments", data="{}", headers=header, timeout=10).status_code == 415


def test_customer_transaction_id_is_echoed_or_absent(wire: Wire) -> None:
    """Sheet 1 and 4: also on failures; absent key when the header was absent."""
    assert wire.create(x_customer_transaction_id="abc").json()["customerTransactionId"] == "abc"
    assert wire.create({"x": 1}, x_customer_transaction_id="abc").json()["customerTransactionId"] == "abc"
    assert "customerTransactionId" not in wire.create().json()


def test_a_track_project_may_not_ship(wire: Wire) -> None:
    """Sheet 2 and 3: separate projects; a resource 403 is a missing permission."""
    wire.login("track-key", "track-secret")
    refused = wire.create()
    assert (refused.status_code, codes(refused)) == (403, ["FORBIDDEN.ERROR"])
    assert wire.track("794600000010").status_code == 200
    wire.sim.options(split_projects=True)
    wire.login()
    assert wire.track("794600000010").status_code == 403


def test_window_quota_restarts_with_the_next_fixed_window(wire: Wire) -> None:
    """Sheet 3: per project, fixed window, 429 until its end, no Retry-After."""
    wire.sim.options(window_limit=3, window_s=1000)
    answers = [wire.call("/rate/v1/rates/quotes", rate_body()) for _ in range(4)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429]
    assert "10 seconds" in answers[3].json()["errors"][0]["message"] and "Retry-After" not in answers[3].headers
    wire.login("demo-key-2", "demo-secret-2")
    assert wire.track("794600000010").status_code == 200  # another project, another counter
    wire.login()
    wire.sim.clock_offset_s += 1000
    assert wire.track("794600000010").status_code == 200


def test_daily_quotas_last_until_midnight_gmt(wire: Wire) -> None:
    """Sheet 3: organisation and per-capability quotas with their own words."""
    wire.sim.options(track_daily_limit=1)
    assert [wire.track("794600000010").status_code for _ in range(2)] == [200, 429]
    assert "Per project daily quota" in wire.track("794600000010").json()["errors"][0]["message"]
    assert wire.call("/rate/v1/rates/quotes", rate_body()).status_code == 200  # only Track is used up
    wire.sim.options(daily_limit=1)
    assert "Daily transaction quota exceeded" in wire.create().json()["errors"][0]["message"]
    wire.sim.clock_offset_s += 86400
    wire.login()
    assert wire.create().status_code == 200


@pytest.mark.parametrize(("fault", "words"), [("429_window", "10 seconds"), ("429_daily", "GMT")])
def test_fault_429_does_no_work(wire: Wire, fault: str, words: str) -> None:
    """Sheet 3."""
    wire.sim.fault(fault, "POST /ship")
    refused = wire.create()
    assert refused.status_code == 429 and words in refused.json()["errors"][0]["message"]
    assert wire.sim.creates == 0

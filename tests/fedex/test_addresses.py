"""Address Validation: the request, the verdicts of every answer on record, and the simulator's keywords (sheet 15)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import responses

from integrations.base.address_checks import AddressCheck, Premises, Verdict, same_place, with_lost_lines
from integrations.base.errors import ConfigurationError, RateLimited, Rejected, Unavailable
from integrations.base.records import Address, Problem
from integrations.base.testing import context_for
from integrations.fedex import addresses
from integrations.fedex.adapter import Fedex
from integrations.fedex.simulator_addresses import resolve
from integrations.fedex.vendor import VENDOR

BASE = "https://apis-sandbox.fedex.com"
URL = f"{BASE}/address/v1/addresses/resolve"
SPEC = Path(__file__).resolve().parents[2].parent / "shared" / "specs" / "fedex" / "Addresses-Resource.json"
CREDENTIALS = {"client_id": "key-1", "client_secret": "hush-hush", "account_number": "123456789"}
ELM = Address(
    company="R Smith", phone="615", lines=("9 Elm St",), city="Nashville", state="TN", postal_code="37201", country="US"
)
GOOD: dict[str, str] = {
    **{"CountrySupported": "true", "ValidlyFormed": "true", "Matched": "true", "Resolved": "true", "DPV": "true"},
    **{"AddressType": "STANDARDIZED", "InterpolatedStreetAddress": "false", "MultipleMatches": "false", "POBox": "false"},
    **{"SuiteRequiredButMissing": "false", "InvalidSuiteNumber": "false"},
}


def row(reference: str = "A1", *, said: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """One answer as recorded: attributes are texts."""
    return {
        **{"clientReferenceId": reference, "streetLinesToken": ["9 ELM ST"], "city": "NASHVILLE", "stateOrProvinceCode": "TN"},
        **{"postalCode": "37201-1001", "countryCode": "US", "classification": "BUSINESS", "customerMessages": []},
        "attributes": {k: v for k, v in (GOOD | (said or {})).items() if v is not None},
    } | more


def answer(*rows: dict[str, Any], **output: Any) -> dict[str, Any]:
    return {"transactionId": "tx-1", "output": {"resolvedAddresses": list(rows), "alerts": []} | output}


def verdict(written: Address = ELM, **told: Any) -> AddressCheck:
    read = addresses.read(answer(row(**told)), [addresses.question(1, written)])
    assert read is not None
    return read[0]


@pytest.fixture
def fedex():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.post(f"{BASE}/oauth/token", json={"access_token": "tok-1", "token_type": "bearer", "expires_in": 3599})
        yield mock


@pytest.fixture
def carrier() -> Fedex:
    return Fedex(context_for(VENDOR, {"base": BASE}, CREDENTIALS))


def failure(code: str) -> dict[str, Any]:
    return {"transactionId": "tx-9", "errors": [{"code": code, "message": "words"}]}


# -- verdicts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, Verdict.GOOD),
        ({"said": {"Resolved": None, "DPV": None}}, Verdict.GOOD),  # outside the US
        ({"said": {"Resolved": True, "Matched": True, "MultipleMatches": False}}, Verdict.GOOD),  # as in the schema
        ({"said": {"Resolved": "TRUE"}}, Verdict.GOOD),
        ({"said": {"InterpolatedStreetAddress": "true", "DPV": "false"}}, Verdict.GOOD),
        ({"streetLinesToken": ["9 ELM AVE"]}, Verdict.CORRECTED),
        ({"postalCode": "37203-1001"}, Verdict.CORRECTED),
        ({"city": "BRENTWOOD"}, Verdict.CORRECTED),
        ({"streetLinesToken": []}, Verdict.GOOD),
        ({"said": {"MultipleMatches": "true"}}, Verdict.DOUBTFUL),
        ({"said": {"Resolved": "false"}}, Verdict.DOUBTFUL),
        ({"said": {"SuiteRequiredButMissing": "true"}}, Verdict.DOUBTFUL),
        ({"said": {"InvalidSuiteNumber": True}}, Verdict.DOUBTFUL),
        ({"customerMessages": [{"code": "SUITE.NUMBER.REQUIRED", "message": "m"}]}, Verdict.DOUBTFUL),
        ({"customerMessage": [{"code": "PARTIAL.STREET.MATCH", "message": "m"}]}, Verdict.DOUBTFUL),
        ({"countryCode": "CA", "stateOrProvinceCode": "ON", "postalCode": "M5V 2T6"}, Verdict.DOUBTFUL),
        ({"said": {"AddressType": "NORMALIZED", "Matched": "false", "Resolved": "false"}}, Verdict.UNKNOWN),
        ({"attributes": {}}, Verdict.UNKNOWN),
        ({"said": {"AddressType": "RAW"}}, Verdict.NOT_COVERED),
        ({"said": {"CountrySupported": "false"}}, Verdict.NOT_COVERED),
    ],
)
def test_verdicts(told: dict[str, Any], expected: Verdict) -> None:
    check = verdict(**told)
    assert check.verdict == expected
    assert check.verdict == Verdict.GOOD or check.messages or check.proposed, "nothing is doubted without a word"
    assert check.request_id == "tx-1" and check.asked.phone == ""


def test_fedex_own_words_are_kept_under_either_name() -> None:
    for name in ("customerMessages", "customerMessage"):
        check = verdict(
            said={"SuiteRequiredButMissing": "true"}, **{name: [{"code": "SUITE.NUMBER.REQUIRED", "message": "Say it"}]}
        )
        assert check.messages == ("SUITE.NUMBER.REQUIRED: Say it",)


def test_a_post_office_box_is_told_apart() -> None:
    assert verdict(said={"POBox": "true"}).po_box and verdict(postOfficeBox=True).po_box and not verdict().po_box


@pytest.mark.parametrize(("told", "country", "expected"), [("RESIDENTIAL", "US", "residential"), ("MIXED", "US", "mixed"),
    ("BUSINESS", "DE", "unknown"), ("NEW.KIND", "US", "unknown"), (None, "US", "unknown")])  # fmt: skip
def test_homes_and_businesses_count_where_fedex_tells_them_reliably(told: str | None, country: str, expected: str) -> None:
    written = ELM if country == "US" else Address(lines=("Weg 1",), city="Berlin", postal_code="10115", country="DE")
    assert verdict(written, classification=told).premises == Premises(expected)


def test_a_correction_names_the_whole_place() -> None:
    check = verdict(streetLinesToken=["9 ELM AVE"], city="BRENTWOOD", postalCode="37027-1001")
    assert check.proposed == Address(lines=("9 ELM AVE",), city="BRENTWOOD", state="TN", postal_code="37027-1001", country="US")


def test_what_could_not_stand_on_a_label_is_not_proposed() -> None:
    assert verdict(streetLinesToken=["9 ELM AVE " * 20]).proposed is None
    assert verdict(streetLinesToken=["9 ELM AVE"], postalCode="nonsense").proposed is None


def test_a_postal_code_may_come_in_parts_only() -> None:
    parts = {"postalCode": None, "parsedPostalCode": {"base": "37203", "addOn": "1001"}}
    check = verdict(**parts)
    assert check.proposed is not None and check.proposed.postal_code == "37203-1001"


def test_answers_are_told_apart_by_our_references_else_by_their_order() -> None:
    asked = [addresses.question(1, ELM), addresses.question(2, Address(**{**_fields(ELM), "lines": ("7 Oak St",)}))]
    swapped = addresses.read(answer(row("A2", streetLinesToken=["7 OAK ST"]), row("A1")), asked)
    plain = addresses.read(answer(row(""), row("", streetLinesToken=["7 OAK ST"])), asked)
    assert swapped is not None and plain is not None
    assert [c.verdict for c in (*swapped, *plain)] == [Verdict.GOOD] * 4
    twice = addresses.read(answer(row("A1"), row("A1"), row("A2", streetLinesToken=["7 OAK ST"])), asked)
    assert twice is not None and [c.verdict for c in twice] == [Verdict.DOUBTFUL, Verdict.GOOD]
    assert addresses.read(answer(row("A1")), asked) is None, "one is missing, and nobody can tell which"


def _fields(address: Address) -> dict[str, Any]:
    return {name: getattr(address, name) for name in Address.__dataclass_fields__}


@pytest.mark.parametrize(
    "payload", [None, [], {"output": None}, {"output": {"resolvedAddresses": [7]}}, answer({"attributes": 3})]
)
def test_odd_answers_never_crash(payload: object) -> None:
    read = addresses.read(payload, [addresses.question(1, ELM)])
    assert read is None or read[0].verdict == Verdict.UNKNOWN


def test_canned_answers_say_nothing() -> None:
    told = answer(row(streetLinesToken=["ELSEWHERE"]), alerts=[{"code": "VIRTUAL.RESPONSE", "alertType": "NOTE", "message": "m"}])
    [check] = addresses.read(told, [addresses.question(1, ELM)]) or []
    assert (check.verdict, check.proposed) == (Verdict.NOT_COVERED, None)


# -- spelling ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "same"),
    [
        (("9 ELM ST",), True),
        (("9 elm street",), True),
        (("9 Elm St.",), True),
        (("9 Elm", "St"), True),
        (("9 Elm Ave",), False),
        (("90 Elm St",), False),
        (("9 N Elm St",), False),
    ],
)
def test_spelling_is_no_difference(lines: tuple[str, ...], same: bool) -> None:
    assert same_place(ELM, Address(**{**_fields(ELM), "lines": lines, "postal_code": "37201-1001"})) is same


def test_a_correction_loses_no_line() -> None:
    written = Address(**{**_fields(ELM), "lines": ("9 Elm St", "c/o Miller", "Suite 4")})
    fits = with_lost_lines(written, Address(**{**_fields(ELM), "lines": ("9 ELM ST STE 4",)}))
    assert fits is not None and fits.lines == ("9 ELM ST STE 4", "c/o Miller")
    assert with_lost_lines(written, Address(**{**_fields(ELM), "lines": ("9 ELM ST", "FLAT", "REAR")})) is None


# -- the calls ---------------------------------------------------------------------------------------


def test_a_hundred_a_call_and_one_that_cannot_be_printed_is_left_out(fedex, carrier) -> None:
    def reply(request: Any) -> tuple[int, dict[str, str], str]:
        body = json.loads(request.body)
        sizes.append(len(body["addressesToValidate"]))
        return 200, {}, json.dumps(answer(*(row(a["clientReferenceId"]) for a in body["addressesToValidate"])))

    sizes: list[int] = []
    fedex.add_callback(responses.POST, URL, reply)
    wrong = Address(**{**_fields(ELM), "state": "Tennessee"})
    found = carrier.validate_addresses([*[ELM] * 120, wrong, ELM])
    assert sizes == [100, 21] and len(found) == 122
    assert isinstance(found[120], Problem) and isinstance(found[120].error, Rejected)
    assert all(isinstance(c, AddressCheck) and c.verdict == Verdict.GOOD for i, c in enumerate(found) if i != 120)


def test_the_request_holds_the_place_and_nobody_s_name(fedex, carrier) -> None:
    call = fedex.post(URL, json=answer(row()))
    carrier.validate_addresses([ELM])
    body = json.loads(call.calls[0].request.body)
    assert body == carrier.describe_address_check(ELM)
    assert body == {
        "addressesToValidate": [
            {
                "address": {
                    **{"streetLines": ["9 Elm St"], "city": "Nashville", "stateOrProvinceCode": "TN"},
                    **{"postalCode": "37201", "countryCode": "US"},
                },
                "clientReferenceId": "A1",
            }
        ]
    }
    assert carrier.address_call == f"POST {URL}"


def test_one_address_that_is_not_found_does_not_spoil_the_others(fedex, carrier) -> None:
    def reply(request: Any) -> tuple[int, dict[str, str], str]:
        asked = json.loads(request.body)["addressesToValidate"]
        calls.append(len(asked))
        if any("Nowhere" in a["address"]["streetLines"][0] for a in asked):
            return 400, {}, json.dumps(failure("STANDARDIZED.ADDRESS.NOTFOUND"))
        return 200, {}, json.dumps(answer(*(row(a["clientReferenceId"]) for a in asked)))

    calls: list[int] = []
    fedex.add_callback(responses.POST, URL, reply)
    nowhere = Address(**{**_fields(ELM), "lines": ("1 Nowhere St",)})
    found = carrier.validate_addresses([ELM, ELM, nowhere, ELM])
    assert [c.verdict.value for c in found if isinstance(c, AddressCheck)] == ["good", "good", "unknown", "good"]
    assert calls == [4, 2, 2, 1, 1]
    assert isinstance(found[2], AddressCheck) and "STANDARDIZED.ADDRESS.NOTFOUND" in found[2].messages[0]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (503, failure("SERVICE.UNAVAILABLE.ERROR"), Unavailable),
        (200, {"output": {}}, Unavailable),
        (200, answer(), Unavailable),
        (429, failure("TOO.MANY.REQUESTS"), RateLimited),
        (403, failure("FORBIDDEN.ERROR"), ConfigurationError),
    ],
)
def test_no_answer_is_no_verdict(fedex, carrier, status: int, body: dict[str, Any], error: type[Exception]) -> None:
    fedex.post(URL, status=status, json=body)
    with pytest.raises(error) as caught:
        carrier.validate_addresses([ELM])
    if isinstance(caught.value, ConfigurationError):
        assert caught.value.scope == "integration", "labels can be bought without it"


# -- the simulator -----------------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["recorded", "schema"])
@pytest.mark.parametrize(
    ("street", "country", "expected"),
    [
        ("9 Elm Street", "US", Verdict.GOOD),
        ("9 Guess Street", "US", Verdict.GOOD),
        ("9 Misspelt Street", "US", Verdict.CORRECTED),
        ("9 Tower Street", "US", Verdict.DOUBTFUL),
        ("9 Elm Street Suite 999", "US", Verdict.DOUBTFUL),
        ("9 Several Street", "US", Verdict.DOUBTFUL),
        ("9 Unknown Street", "US", Verdict.UNKNOWN),
        ("9 Elm Street", "IS", Verdict.NOT_COVERED),
        ("PO Box 9", "US", Verdict.GOOD),
    ],
)
def test_the_simulator_answers_by_keyword(street: str, country: str, expected: Verdict, names: str) -> None:
    written = Address(**{**_fields(ELM), "lines": (street,), "country": country})
    asked = addresses.question(1, written)
    told = resolve(addresses.build([asked])["addressesToValidate"][0], names=names)  # type: ignore[index]
    [check] = addresses.read(answer(told), [asked]) or []
    assert check.verdict == expected and check.po_box == ("PO Box" in street)


def test_the_simulator_keeps_to_the_official_schema() -> None:
    if not SPEC.exists():
        pytest.skip("FedEx's official description is not at hand")
    known = json.loads(SPEC.read_text())["components"]["schemas"]["ResolvedAddress"]["properties"]
    asked = addresses.build([addresses.question(1, ELM)])["addressesToValidate"][0]  # type: ignore[index]
    told = resolve(asked, names="schema")
    assert set(told) <= set(known)

"""No secret in any spelling, no label byte, and everything else exactly as it was."""

import base64
import hashlib
import json
import time
from urllib.parse import quote, quote_plus

import pytest

from integrations.base.redact import MASK, RUNTIME_SECRETS, STORED_CHARS, Redactor

SECRET = "p&ss wörd/+\"'=9"


def redactor(**named):
    return Redactor([SECRET, "abc"], ["session_key"], ["encodedLabel", "image"], identities=["shop-7"], **named)


def lower_hex(text: str) -> str:
    return "".join(c.lower() if i >= 1 and "%" in text[max(0, i - 2) : i] else c for i, c in enumerate(text))


@pytest.mark.parametrize(
    "spelling",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        lower_hex(quote(SECRET, safe="")),
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        json.dumps(SECRET)[1:-1].replace("/", "\\/"),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
        base64.b64encode(f"shop-7:{SECRET}".encode()).decode(),
        "p&amp;ss wörd/+&quot;&#x27;=9",
    ],
)
def test_a_secret_is_found_in_every_spelling(spelling):
    assert redactor().text(f"before <{spelling}> after") == f"before <{MASK}> after"
    assert redactor().raw(f"before <{spelling}> after") == f"before <{MASK}> after"


def test_short_values_are_left_alone():
    assert redactor().text("abc abcd") == "abc abcd"


def test_raw_answers_keep_what_only_looks_like_a_short_secret():
    short = Redactor(["4711"])
    assert short.text("794711000001") == f"79{MASK}000001"
    assert short.raw("794711000001") == "794711000001"


def test_a_longer_secret_is_masked_whole_when_it_holds_a_shorter_one():
    assert Redactor(["secret", "secret-and-more"]).text("x secret-and-more y") == f"x {MASK} y"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"access_token": "t.t", "expires_in": 3599}', '{"access_token": "[redacted]", "expires_in": 3599}'),
        ('{"a":{"b":[{"Session_KEY":1.50},2.10]}}', '{"a":{"b":[{"Session_KEY":"[redacted]"},2.10]}}'),
        ('{"session_key": {"x": [1, {"y": "}"}]}, "z": 1.00}', '{"session_key": "[redacted]", "z": 1.00}'),
        ('{"session_key" : null , "z":1}', '{"session_key" : "[redacted]" , "z":1}'),
        ('{"refresh_token":"a\\"b\\\\","z":1}', '{"refresh_token":"[redacted]","z":1}'),
        ('{"id_token": "cut off in the midd', '{"id_token": "[redacted]"'),
        (
            '{"text":"{\\"client_secret\\":\\"in a string\\",\\"z\\":1}"}',
            '{"text":"{\\"client_secret\\":"[redacted]",\\"z\\":1}"}',
        ),
        ('{"not_session_key_": "kept", "session": "kept"}', '{"not_session_key_": "kept", "session": "kept"}'),
        ('"session_key":', '"session_key":"[redacted]"'),
    ],
)
def test_declared_members_are_masked_in_place(body, expected):
    assert redactor().body(body.encode(), "application/json") == expected


def test_form_members_are_masked():
    body = b"grant_type=client_credentials&client_secret=a%20b+c&SESSION_KEY=&scope=x"
    masked = "grant_type=client_credentials&client_secret=[redacted]&SESSION_KEY=[redacted]&scope=x"
    assert redactor().body(body, "application/x-www-form-urlencoded") == masked


def test_urls_lose_declared_query_values_and_known_secrets():
    url = f"https://x.example/a?session_key=1&b={quote(SECRET, safe='')}&my_session_key_x=2"
    assert redactor().url(url) == f"https://x.example/a?session_key={MASK}&b={MASK}&my_session_key_x=2"


def test_secret_headers_are_masked_and_the_others_searched():
    names = [
        "Authorization",
        "authorization",
        "Cookie",
        "Set-Cookie",
        "X-API-Key",
        "api-key",
        "Proxy-Authorization",
        "Session_Key",
        "X-XSRF-TOKEN",
    ]
    assert set(redactor().headers({n: "v" for n in names}).values()) == {MASK}
    assert redactor().headers({"X-Note": f"hi {SECRET}", "ETag": 'W/"1"'}) == {"X-Note": f"hi {MASK}", "ETag": 'W/"1"'}


def test_label_bytes_become_a_note_with_their_digest():
    label = base64.b64encode(b"^XA^XZ" * 1000).decode()
    body = json.dumps({"pieces": [{"encodedLabel": label, "n": 1}, {"encodedLabel": "", "image": ["kept"]}]})
    stored = json.loads(redactor().body(body.encode(), "application/json"))
    digest = hashlib.sha256(label.encode()).hexdigest()
    assert stored["pieces"][0] == {"encodedLabel": f"[{len(label)} bytes, sha256 {digest}]", "n": 1}
    assert stored["pieces"][1]["image"][0].startswith("[4 bytes, sha256 "), "a list that begins with one, too"


def test_a_label_in_an_answer_that_was_cut_off_is_no_exception():
    assert "XYZXYZ" not in redactor().body(b'{"encodedLabel":"' + b"XYZ" * 1000, "application/json")


def test_bodies_are_capped_with_a_note_and_no_secret_is_halved_by_the_cut():
    body = "x" * (STORED_CHARS - 5) + SECRET + "y" * 1000
    stored = redactor().body(body.encode())
    assert stored.endswith(f"[cut here: {len(body)} characters in all]")
    assert "p&ss" not in stored
    assert len(stored) < STORED_CHARS + 100


def test_binary_bodies_become_a_note():
    content = b"%PDF-1.4\xff\xfe\x00"
    digest = hashlib.sha256(content).hexdigest()
    assert redactor().body(content, "application/pdf") == f"[{len(content)} bytes application/pdf, sha256 {digest}]"
    assert redactor().body(b"gr\xfc\xdfe", "text/html") == "grüße"
    assert redactor().body(None) == redactor().body(b"") == ""


@pytest.mark.parametrize("label", [b"^XA^FO50,50^FDSHIP TO^FS^XZ", b"%PDF-1.4 plain"])
def test_what_is_sent_as_a_file_is_never_kept_as_text(label):
    kept = Redactor().body(label, "application/octet-stream")
    assert kept == f"[{len(label)} bytes application/octet-stream, sha256 {hashlib.sha256(label).hexdigest()}]"


def test_tokens_are_known_from_when_they_are_added_and_the_oldest_forgotten():
    known = redactor()
    assert known.text("token-0000") == "token-0000"
    for n in range(RUNTIME_SECRETS + 1):
        known.add(f"token-{n:04}")
    assert known.text("token-0001 token-0016") == f"{MASK} {MASK}"
    assert known.text(f"token-0000 {SECRET}") == f"token-0000 {MASK}"


def test_the_time_does_not_grow_with_the_square_of_the_length():
    """Milliseconds for these megabytes, hours if each sign had others looked at: no machine is so slow."""
    label = base64.b64encode(bytes(range(256)) * 3000).decode()
    body = json.dumps({"encodedLabel": label, "access_token": "t"}).encode()
    hostile = b'{"access_token":{' * 60_000 + b'"encodedLabel":"\\"' * 20_000
    known = redactor()
    begun = time.perf_counter()
    known.body(body, "application/json")
    known.raw(body.decode())
    known.body(hostile, "application/json")
    assert time.perf_counter() - begun < 30

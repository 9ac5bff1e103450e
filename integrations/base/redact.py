"""Secrets and label bytes leave every text before it is stored: by name (declared keys) and by value (known secrets).

Names alone are not enough, since vendors echo what they were sent in error texts, under names of their own and
in other spellings. Bodies keep their exact digits and layout: they are cut in place, never parsed and written
anew, so that a stored exchange stays evidence.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]
from urllib.parse import quote, quote_plus

MASK = "[redacted]"
STORED_CHARS = 64 * 1024
"""Characters of a body that are kept."""
MIN_SECRET_CHARS = 4
MIN_RAW_SECRET_CHARS = 8
"""Shorter values are left alone in raw answers: four characters also occur by chance within a label's base64."""
RUNTIME_SECRETS = 16
"""How many values found at run time (tokens) are remembered; older ones have long expired."""

_LOOK_AT_CHARS = 4 * STORED_CHARS
ANTI_FORGERY_HEADERS = frozenset({"x-xsrf-token"})
"""Static headers that some services want beside the login (IFS sheet 3). They open nothing alone, but are masked all the same."""

_ALWAYS_HEADERS = ANTI_FORGERY_HEADERS | {"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key"}
_ALWAYS_KEYS = (
    "access_token",
    "accessToken",
    "refresh_token",
    "refreshToken",
    "id_token",
    "idToken",
    "client_secret",
    "clientSecret",
    "client_assertion",
    "password",
)
_ESCAPED_STRING = re.compile(r'(\\+")(.*?)\1', re.S)
_BARE = re.compile(r"[^\s,}\]]*")
_DECODER = json.JSONDecoder()


def _spellings(value: str) -> set[str]:
    """Every form in which `value` may come back: plain, URL-encoded, JSON- and HTML-escaped, base64."""
    raw = value.encode("utf-8", "surrogatepass")
    forms = {value, html.escape(value), json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    forms |= {form.replace("/", "\\/") for form in list(forms)}
    for encoded in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        forms |= {encoded, re.sub(r"%[0-9A-F]{2}", lambda m: m.group().lower(), encoded)}
    for coded in (base64.b64encode(raw), base64.urlsafe_b64encode(raw)):
        text = coded.decode("ascii")
        forms |= {text, text.rstrip("="), quote(text, safe="")}
    return {form for form in forms if len(form) >= MIN_SECRET_CHARS}


def _value_end(text: str, start: int) -> int:
    """Where the JSON value that begins at `start` ends; the end of the text if it is cut off or broken."""
    if start >= len(text):
        return start
    try:
        if text[start] == '"':
            end: int = scanstring(text, start + 1, False)[1]
            return end
        if text[start] in "{[":
            return _DECODER.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return len(text)
    if text[start] == "\\":  # JSON within a JSON string
        escaped = _ESCAPED_STRING.match(text, start)
        return escaped.end() if escaped else len(text)
    bare = _BARE.match(text, start)
    return bare.end() if bare else start


def secret_headers(extra: Mapping[str, str] | None) -> list[str]:
    """The values among a connection's static headers that are masked wherever they turn up."""
    return [value for name, value in (extra or {}).items() if name.lower() in ANTI_FORGERY_HEADERS]


class Redactor:
    """Takes secrets and label bytes out of texts, bodies, headers and URLs of one connection. Thread-safe.

    `secrets` are values, `redact_keys` names of JSON or form members (any nesting, any case) and of headers,
    `bulky_keys` names of JSON members that hold base64, or a list that begins with it.
    `identities` are public login names: "name:secret" is
    then also known in base64, as HTTP Basic sends it.
    """

    def __init__(
        self,
        secrets: Iterable[str] = (),
        redact_keys: Iterable[str] = (),
        bulky_keys: Iterable[str] = (),
        *,
        identities: Iterable[str] = (),
    ) -> None:
        values = [s for s in secrets if s]
        pairs = [f"{name}:{value}" for name in identities if name for value in values]
        self._lock = threading.Lock()
        self._fixed = self._forms([*values, *pairs])
        self._runtime: deque[tuple[str, frozenset[str]]] = deque(maxlen=RUNTIME_SECRETS)
        self._known: tuple[str, ...] = ()
        self._arrange()
        keys = sorted({*redact_keys, *_ALWAYS_KEYS})
        names = "|".join(re.escape(k) for k in keys)
        self._headers = _ALWAYS_HEADERS | {k.lower() for k in keys}
        self._json_key = re.compile(rf'"(?:{names})\\*"\s*:\s*', re.I)
        self._form_key = re.compile(rf"(?:^|(?<=[&?]))({names})=[^&\s\"'<>\\#]*", re.I)
        bulky = "|".join(re.escape(k) for k in sorted(set(bulky_keys)))
        self._bulky_key = re.compile(rf'"(?:{bulky})"\s*:\s*(?:\[\s*)?(?=")', re.I) if bulky else None

    @staticmethod
    def _forms(values: Iterable[str]) -> frozenset[str]:
        return frozenset(form for value in values if len(value) >= MIN_SECRET_CHARS for form in _spellings(value))

    def _arrange(self) -> None:
        # Longest first: a short form may be part of a longer one and would leave its rest standing.
        known = self._fixed.union(*(forms for _, forms in self._runtime))
        self._known = tuple(sorted(known, key=lambda form: (-len(form), form)))

    def add(self, value: str) -> None:
        """Know one more secret from now on, such as a token that was just obtained."""
        if len(value) < MIN_SECRET_CHARS or any(value == known for known, _ in tuple(self._runtime)):
            return
        with self._lock:
            self._runtime.append((value, self._forms([value])))
            self._arrange()

    def text(self, text: str) -> str:
        """`text` with every known secret replaced."""
        return self._replace(text, MIN_SECRET_CHARS)

    def raw(self, text: str) -> str:
        """A raw answer without secrets but with its label bytes, still fit to be parsed again."""
        return self._replace(text, MIN_RAW_SECRET_CHARS)

    def _replace(self, text: str, shortest: int) -> str:
        # A search per form beats one big alternation: str.find skips through a megabyte of label in a fraction of a ms.
        for form in self._known:
            if len(form) < shortest:
                break
            if form in text:
                text = text.replace(form, MASK)
        return text

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Headers with the secret ones masked, and known values masked in all others."""
        return {name: MASK if name.lower() in self._headers else self.text(str(value)) for name, value in headers.items()}

    def url(self, url: str) -> str:
        """A URL with the values of declared query keys and all known secrets masked."""
        return self.text(self._form_key.sub(rf"\1={MASK}", url))

    def body(self, content: bytes | str | None, content_type: str = "") -> str:
        """A request or answer body as it may be stored: no secrets, no label bytes, at most `STORED_CHARS` characters.

        Binary content becomes a note with its size and SHA-256.
        """
        if not content:
            return ""
        if isinstance(content, bytes):
            try:
                text = content.decode("utf-8")
            except UnicodeDecodeError:
                text = "" if _is_binary(content_type) else content.decode("latin-1")
            # A label may be plain text (printer commands, small PDFs): what is sent as a file is never kept as text.
            if not text or "\x00" in text or content_type.lower().startswith("application/octet-stream"):
                return f"[{len(content)} bytes {content_type or 'of unknown type'}, sha256 {hashlib.sha256(content).hexdigest()}]"
        else:
            text = content
        full = len(text)
        text = self._cut_bulky(text)
        # More than is stored is looked at, so that no secret is halved by the cut before it is recognised.
        shortened = len(text) > STORED_CHARS
        text = self._mask_json(text[:_LOOK_AT_CHARS])
        text = self.text(self._form_key.sub(rf"\1={MASK}", text))
        if shortened or len(text) > STORED_CHARS:
            return f"{text[:STORED_CHARS]}\n[cut here: {full} characters in all]"
        return text

    def _cut_bulky(self, text: str) -> str:
        if self._bulky_key is None:
            return text
        parts: list[str] = []
        done = 0
        while match := self._bulky_key.search(text, done):
            start, end = match.end(), _value_end(text, match.end())
            value = text[start + 1 : end - 1].encode("utf-8", "replace")
            parts += [text[done:start], f'"[{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()}]"']
            done = end
        return "".join([*parts, text[done:]])

    def _mask_json(self, text: str) -> str:
        parts: list[str] = []
        done = 0
        while match := self._json_key.search(text, done):
            parts += [text[done : match.end()], f'"{MASK}"']
            done = _value_end(text, match.end())
        return "".join([*parts, text[done:]])


def _is_binary(content_type: str) -> bool:
    """Whether bytes of this type that are not UTF-8 are kept as a note only, rather than read as Latin-1 text."""
    kind = content_type.lower()
    return not (kind.startswith("text/") or any(word in kind for word in ("json", "xml", "urlencoded", "charset")))

"""What is wrong with a configuration, and where: every error names its place in the document.

The words are for a person who has the file before him; values of credentials are never repeated.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ConfigError:
    """One thing that is wrong: where (`connections[0].urls.base`), and what, in a sentence."""

    path: str
    message: str


class InvalidConfiguration(Exception):
    """What was given is not valid; nothing was changed. `errors` names every place."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        super().__init__("; ".join(f"{e.path}: {e.message}" if e.path else e.message for e in errors))
        self.errors = list(errors)


@dataclass(slots=True)
class Findings:
    """What is wrong so far."""

    errors: list[ConfigError] = field(default_factory=list)

    def add(self, path: str, message: str) -> None:
        self.errors.append(ConfigError(path, message))

    def stop_if_any(self) -> None:
        """Raise InvalidConfiguration when something was found."""
        if self.errors:
            raise InvalidConfiguration(self.errors)


def nearest(word: str, known: Collection[str]) -> str:
    """ "; did you mean …" or "; known are …", for the end of a message."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; known are {', '.join(known)}" if known else ""


def joined(path: str, key: str) -> str:
    """The path of `key` below `path`."""
    return f"{path}.{key}" if path else key

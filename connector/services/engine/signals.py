"""How a run ends other than by reaching its end. Raised by the engine or by a flow's own checks, caught by the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class RunEnds(Exception):
    """Base: the run stops here, for a reason that is no error of a vendor."""

    def __init__(self, message: str, code: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.remedy = remedy


class Skipped(RunEnds):
    """Not ours, nothing to do: the transfer ends as skipped with the reason. `also` runs in the commit that ends it."""

    def __init__(self, message: str, code: str, remedy: str = "", *, also: Sequence[Callable[[], None]] = ()) -> None:
        super().__init__(message, code, remedy)
        self.also = also


class Cancelled(RunEnds):
    """No longer wanted (not ready any more, cancelled at the source): ends as cancelled, having bought nothing."""


class Held(RunEnds):
    """A brake is on: back to waiting with the reason, uncounted, woken on release."""


class NeedsApproval(RunEnds):
    """Above a ceiling: a person has to agree before this is bought. Nothing was sent."""


class InDoubt(RunEnds):
    """A send's outcome is unknown. `look_at` is when to look again (None: only a person can tell)."""

    def __init__(self, message: str, code: str, remedy: str = "", *, look_in_s: float | None = None) -> None:
        super().__init__(message, code, remedy)
        self.look_in_s = look_in_s


class AskAgain(RunEnds):
    """Accepted by the vendor, result to come: waiting, with the next ask in `in_s` seconds."""

    def __init__(self, message: str, code: str, *, in_s: float) -> None:
        super().__init__(message, code)
        self.in_s = in_s


class StaleRead(Exception):
    """What was read is too old to act on: start again from the first read, uncounted."""


class LeaseLost(Exception):
    """Another process has this transfer now: stop quietly."""


class Stuck(RunEnds):
    """A saved result cannot be read: a person must look; it never counts as not done."""


__all__ = ["AskAgain", "Cancelled", "Held", "InDoubt", "LeaseLost", "NeedsApproval", "RunEnds", "Skipped", "StaleRead", "Stuck"]

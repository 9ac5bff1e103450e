"""From what ended a run to the transfer's next state: the error class alone decides (ENGINE 3)."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction

from connector.models import Connection, Transfer
from connector.services import audit, clock, rows
from connector.services.engine import pauses
from connector.services.engine.run import Run
from connector.services.engine.signals import (
    AskAgain,
    Cancelled,
    Held,
    InDoubt,
    LeaseLost,
    NeedsApproval,
    RunEnds,
    Skipped,
    Stuck,
)
from connector.services.rows import Moment
from integrations import registry
from integrations.base.drill import boundary
from integrations.base.errors import (
    ConfigurationError,
    Conflict,
    IntegrationError,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
)
from integrations.base.vendor import Role

logger = logging.getLogger(__name__)

HELD_S = 86400.0


def finish(
    run: Run,
    state: str = Transfer.State.DONE,
    *,
    code: str = "",
    message: str = "",
    remedy: str = "",
    also: Sequence[Callable[[], None]] = (),
) -> None:
    """The transfer has come to an end; the record takes over the version that was handled."""
    changes: dict[str, Any] = {}
    if run.document_version is not None:
        changes |= {"version_seen": run.document_version, "version_handled": run.document_version}
    wrote = run.owes_commit
    _settle(
        run,
        audit.Draft(state, {"code": code} if code else {}, obj=run.transfer),
        record_changes=changes,
        state=state,
        **({"attention": run.attention} if run.attention else {}),
        finished_at=Moment(),
        code=code,
        message=message,
        remedy=remedy,
        error=None,
        attempts=0,
        decision=None,
        also=run.finishers if state == Transfer.State.DONE else also,
    )
    if wrote:
        boundary("write_committed")
    boundary("finished")


def _settle(
    run: Run,
    *drafts: audit.Draft,
    record_changes: dict[str, Any] | None = None,
    also: Sequence[Callable[[], None]] = (),
    **values: Any,
) -> None:
    """Leave `running` in one commit, if it is still ours; `also` runs in the same commit. Raises LeaseLost."""
    boundary("saving")
    with transaction.atomic():
        mine = {"pk": run.transfer.pk, "epoch": run.transfer.epoch, "state": "running"}
        freed = {"owner": None, "owner_process": "", "lease_until": None, "step": run.step, "updated_at": Moment()}
        if not rows.update(Transfer, mine, freed | values):
            raise LeaseLost
        run.flush(*drafts, **(record_changes or {}))
        for more in also:
            more()
    run.transfer.state = values["state"]


def wait(
    run: Run, seconds: float, *, code: str, message: str, remedy: str = "", error: dict[str, Any] | None = None, **more: Any
) -> None:
    """Back to waiting (in doubt, while a send is open), due in `seconds`."""
    _settle(
        run,
        audit.Draft("waits", {"code": code, "seconds": round(seconds)}, obj=run.transfer),
        state=Transfer.State.IN_DOUBT if run.in_doubt else Transfer.State.WAITING,
        due_at=Moment(seconds),
        code=code[:60],
        message=message,
        remedy=remedy,
        error=error,
        **more,
    )


def backoff_s(attempt: int) -> float:
    """Seconds before attempt number `attempt` + 1: 30 s × 2ⁿ with full jitter, capped (ENGINE 3)."""
    ceiling = min(settings.ENGINE["RETRY_BASE_S"] * 2**attempt, settings.ENGINE["RETRY_CAP_S"])
    return float(ceiling * random.uniform(0.1, 1.0))


def fail(run: Run, error: IntegrationError) -> None:
    """Needs a person."""
    told = error.as_dict()
    run.fail_step(told)
    _settle(
        run,
        audit.Draft("failed", {"code": error.code, "step": run.step}, obj=run.transfer),
        state=Transfer.State.FAILED,
        code=error.code[:60],
        message=error.message,
        remedy=error.remedy,
        error=told,
    )


def ended(run: Run, end: RunEnds) -> None:
    """A run that ended by a signal."""
    if isinstance(end, Skipped):
        finish(run, Transfer.State.SKIPPED, code=end.code, message=end.message, remedy=end.remedy, also=end.also)
    elif isinstance(end, Cancelled):
        finish(run, Transfer.State.CANCELLED, code=end.code, message=end.message, remedy=end.remedy)
    elif isinstance(end, Held):
        wait(run, HELD_S, code=end.code, message=end.message, remedy=end.remedy)
        if not run.braked():  # released while we were writing that down: nobody else would wake it
            Transfer.objects.filter(pk=run.transfer.pk, epoch=run.transfer.epoch, state="waiting").update(due_at=clock.at())
    elif isinstance(end, NeedsApproval):
        _settle(
            run,
            audit.Draft("needs_approval", {"code": end.code}, obj=run.transfer),
            state=Transfer.State.NEEDS_APPROVAL,
            code=end.code,
            message=end.message,
            remedy=end.remedy,
            error=None,
        )
    elif isinstance(end, AskAgain):
        wait(run, end.in_s, code=end.code, message=end.message)
    elif isinstance(end, InDoubt):
        _settle(
            run,
            state=Transfer.State.IN_DOUBT,
            due_at=Moment(end.look_in_s or HELD_S),
            code=end.code,
            message=end.message,
            remedy=end.remedy,
            error=None,
        )
    elif isinstance(end, Stuck):
        fail(run, Rejected(end.message, code=end.code, remedy=end.remedy))
    else:
        raise end


def errored(run: Run, error: IntegrationError, probe: Any = None) -> None:
    """A run that ended by an error of a vendor or on the way to it. `probe` is the pause it went first for."""
    connection = run.calling or run.job.target
    told = error.as_dict()
    if isinstance(error, ConfigurationError):
        # Companies and sites are entered at the ERP, whoever noticed that one is wrong: that is where it is mended.
        at_fault = _erp(run) if error.scope in ("company", "site") else connection
        pauses.pause(run.job.integration, at_fault, error, run.step)
        if error.scope in ("connection", "integration"):
            run.job.halted.set()
        run.fail_step(told)
        wait(run, 0, code=error.code, message=error.message, remedy=error.remedy, error=told)
    elif isinstance(error, RateLimited):
        run.fail_step(told)
        seconds = error.retry_after_s * random.uniform(1.0, 1.1) + 0.01
        wait(run, seconds, code=error.code, message=error.message, remedy=error.remedy, error=told)
    elif isinstance(error, Rejected):
        fail(run, error)
    elif isinstance(error, Unavailable | Conflict | OutcomeUnknown):
        _again_later(run, error, connection, probe)
    else:
        fail(run, error)


def _erp(run: Run) -> Connection:
    """The end whose company codes and sites these are."""
    ends = (run.job.source, run.job.target)
    return next((end for end in ends if Role.ERP in registry.get(end.vendor).roles), run.job.source)


def _again_later(run: Run, error: IntegrationError, connection: Connection, probe: Any) -> None:
    told = error.as_dict()
    rests = probe is not None
    if isinstance(error, Unavailable | OutcomeUnknown):
        run.job.flaky.add(connection.pk)
        rests = pauses.count_unavailable(connection, run.transfer.pk, run.transfer.tenant_id) or rests
        if rests:
            run.job.halted.set()
    attempts = run.transfer.attempts + (0 if rests else 1)
    if attempts >= settings.ENGINE["RETRY_MAX"]:
        fail(run, error)
        return
    run.fail_step(told)
    seconds = 0.0 if rests else backoff_s(attempts - 1)
    wait(run, seconds, code=error.code, message=error.message, remedy=error.remedy, error=told, attempts=attempts)


def crashed(run: Run, error: Exception) -> None:
    """A fault of ours: this record fails, the others go on. The text may hold anything, so only its kind is kept."""
    logger.error("transfer %s: %s", run.transfer.pk, type(error).__name__, exc_info=error)
    attempts = run.transfer.attempts + 1
    if run.in_doubt or (isinstance(error, OperationalError | InterfaceError) and attempts < settings.ENGINE["RETRY_MAX"]):
        wait(
            run,
            backoff_s(min(attempts - 1, 10)),
            code="internal_error",
            message=f"ml-connector itself failed on this record ({type(error).__name__}).",
            remedy="It is tried again by itself." + (" A request to the carrier may have done its work." if run.in_doubt else ""),
            attempts=attempts,
        )
        return
    fail(
        run,
        Rejected(
            f"ml-connector itself failed on this record ({type(error).__name__}).",
            code="internal_error",
            remedy="Nothing was bought in this attempt unless a label is shown. Replay it; if it fails again, report its number.",
        ),
    )

"""Mail: one message, to each address alone, and in words why one did not go."""

from __future__ import annotations

import logging
import smtplib
from collections.abc import Sequence

from django.conf import settings
from django.core import mail

from integrations.base.redact import Redactor

logger = logging.getLogger(__name__)


class Unreachable(Exception):
    """There is no mail server to talk to. The message says why, without secrets."""


def prints_only() -> bool:
    """Whether mail is printed to the log, because no mail server is set."""
    return str(settings.EMAIL_BACKEND).endswith(".console.EmailBackend")


def send(addresses: Sequence[str], subject: str, text: str) -> list[str]:
    """Send to each address alone: one that is refused must not keep the others from being told. Says which were, and why.

    Raises Unreachable. Opens a connection of its own; never call it inside a transaction.
    """
    redactor = Redactor([settings.EMAIL_HOST_PASSWORD] if settings.EMAIL_HOST_PASSWORD else [])
    faults: list[str] = []
    try:
        server = mail.get_connection()
        server.open()
    except (OSError, smtplib.SMTPException) as error:
        raise Unreachable(redactor.text(f"The mail server cannot be reached: {_smtp_text(error)}")[:500]) from error
    try:
        for address in addresses:
            try:
                mail.EmailMessage(
                    " ".join(subject.split()),
                    text,
                    to=[address],
                    connection=server,
                    headers={"Auto-Submitted": "auto-generated"},
                ).send()
            except (OSError, smtplib.SMTPException, ValueError) as error:
                faults.append(redactor.text(f"{address}: {_smtp_text(error)}"))
    finally:
        try:
            server.close()
        except (OSError, smtplib.SMTPException):
            logger.info("the mail server closed before we did")
    return faults


def _smtp_text(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "; ".join(f"{status} {_text(reason)}" for status, reason in error.recipients.values())
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_text(error.smtp_error)}"
    return str(error) or type(error).__name__


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

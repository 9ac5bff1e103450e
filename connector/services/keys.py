"""Do the configured keys open what was stored? Asked before anything is sent (ENGINE drills, DESIGN 11)."""

from __future__ import annotations

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.db import DatabaseError
from encrypted_model_fields import fields

from connector.models import Installation

WORD = "ml-connector"
REMEDY = "Put the key that was in use before back into FIELD_ENCRYPTION_KEY (several may stand there, separated by commas)."


def installation() -> Installation:
    """The installation's row, made with a key check on first use."""
    found, created = Installation.objects.get_or_create(pk=1)
    if created or not found.key_check:
        found.key_check = fields.encrypt_str(WORD).decode()
        Installation.objects.filter(pk=1, key_check="").update(key_check=found.key_check)
    return found


def problem() -> str:
    """One sentence when the present keys do not open this installation's secrets; empty when all is well.

    A database without tables or without the row is new: nothing can be unreadable.
    """
    try:
        stored = Installation.objects.filter(pk=1).values_list("key_check", flat=True).first()
    except DatabaseError:
        return ""
    if not stored:
        return ""
    try:
        fields.decrypt_str(stored)
    except InvalidToken:
        count = len(settings.FIELD_ENCRYPTION_KEY)
        keys = "1 key" if count == 1 else f"{count} keys"
        return f"FIELD_ENCRYPTION_KEY ({keys}) does not open this installation's secrets. Nothing is sent."
    return ""

"""Re-encrypt every secret with the first key, so that an older key can be taken away (INTERFACE, `rotate_keys`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.apps import apps
from django.conf import settings
from django.db.models import Model, TextField
from django.db.models.functions import Cast
from encrypted_model_fields import fields

from connector.models import Installation, TokenRow
from connector.services import audit, keys

RAW: TextField[Any, Any] = TextField()


@dataclass(slots=True)
class Rotation:
    """How many values of each table were encrypted anew, stood under the first key already, or open with no key."""

    rotated: dict[str, int] = field(default_factory=dict)
    already: int = 0
    unreadable: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {"re_encrypted": self.rotated, "already": self.already, "unreadable": self.unreadable}


def rotate(actor: str) -> Rotation:
    """Go over all encrypted columns. May run beside workers and may be stopped and run again: each value is moved alone."""
    told = Rotation()
    keys.installation()
    for model, name in encrypted_columns():
        for pk, raw in model._default_manager.annotate(raw=Cast(name, RAW)).values_list("pk", "raw").order_by("pk").iterator():
            _value(model, name, pk, raw, told)
    if told.rotated or told.unreadable:
        audit.append(None, audit.Draft("keys_rotated", told.as_dict(), actor=actor))
    return told


def encrypted_columns() -> list[tuple[type[Model], str]]:
    """Every column of ours that holds ciphertext."""
    found: list[tuple[type[Model], str]] = [
        (model, column.name)
        for model in apps.get_app_config("connector").get_models()
        for column in model._meta.concrete_fields
        if isinstance(column, fields.EncryptedMixin)
    ]
    return [*found, (Installation, "key_check")]


def _value(model: type[Model], name: str, pk: Any, raw: str | None, told: Rotation) -> None:
    if not raw:
        return
    stored = raw.encode()
    try:
        Fernet(settings.FIELD_ENCRYPTION_KEY[0]).decrypt(stored)
    except InvalidToken:
        pass
    else:
        told.already += 1
        return
    rows = model._default_manager.annotate(raw=Cast(name, RAW)).filter(pk=pk, raw=raw)
    try:
        plain = fields.decrypt_str(raw)
    except InvalidToken:
        if model is TokenRow:  # worth nothing: a new one is asked for
            rows.update(**{name: ""})
        else:
            told.unreadable.append(f"{model._meta.verbose_name} {pk}")
        return
    # Only if it is still what was read: whoever changed it meanwhile wrote it with the first key.
    encrypts = isinstance(model._meta.get_field(name), fields.EncryptedMixin)
    if rows.update(**{name: plain if encrypts else fields.encrypt_str(plain).decode()}):
        label = str(model._meta.verbose_name)
        told.rotated[label] = told.rotated.get(label, 0) + 1

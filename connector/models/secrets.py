"""Rows that hold secrets: one encrypted column with a JSON object, written and never shown."""

from __future__ import annotations

import json
from typing import Any

from django.db import models
from encrypted_model_fields.fields import EncryptedTextField


class UnreadableSecret(Exception):
    """The stored secret cannot be opened with any configured key: never send it, never save it again."""


class SecretHolder(models.Model):
    """Base of a row with secrets. `secrets_text` holds a JSON object, encrypted; such a row has a `name`."""

    secrets_text = EncryptedTextField(default="{}", editable=False)

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Refuse to encrypt a ciphertext a second time."""
        fields = kwargs.get("update_fields")
        if (fields is None or "secrets_text" in fields) and not self.secrets_readable:
            if fields is None and self.pk:
                kwargs["update_fields"] = [f.name for f in self._meta.concrete_fields if f.name not in ("id", "secrets_text")]
            else:
                self.secrets()
        super().save(*args, **kwargs)

    @property
    def secrets_readable(self) -> bool:
        """Whether the present keys open this row's secrets."""
        try:
            self.secrets()
        except UnreadableSecret:
            return False
        return True

    def secrets(self) -> dict[str, str]:
        """The decrypted secrets. Raises UnreadableSecret when no key fits.

        The encrypted field hands out the ciphertext as if it were the value when no key fits; it starts
        with Fernet's version byte and is not a JSON object.
        """
        text = self.secrets_text or "{}"
        if not text.startswith("{"):
            name = getattr(self, "name", self.pk)
            raise UnreadableSecret(f"The secrets of “{name}” cannot be read with the present FIELD_ENCRYPTION_KEY.")
        found: dict[str, str] = json.loads(text)
        return found

    def set_secrets(self, values: dict[str, str]) -> None:
        """Replace all secrets (not saved yet)."""
        self.secrets_text = json.dumps(values, sort_keys=True)

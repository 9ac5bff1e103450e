"""The second factor of a person: an app that shows codes (TOTP, RFC 6238), and codes on paper for the day it is lost."""

from __future__ import annotations

from binascii import Error as NotHex
from binascii import unhexlify

from django.db import models
from django_otp.models import Device, ThrottlingMixin, TimestampMixin
from encrypted_model_fields.fields import EncryptedTextField

from connector.models.connections import UnreadableSecret
from connector.models.tenants import User


class SecondFactor(TimestampMixin, ThrottlingMixin, Device):  # type: ignore[misc]
    """At most one app per person. django-otp's own table would keep the key readable; here it is encrypted.

    `key` counts once `confirmed`. `pending_key` is what an app is being set up with; what was in use stays in use until a
    code of the new one was typed. Never `save()` without `update_fields`: a key that cannot be opened would be encrypted again.
    """

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="second_factor")
    name = models.CharField(max_length=64, blank=True, default="")
    confirmed = models.BooleanField(default=False)
    key = EncryptedTextField(default="", editable=False)
    pending_key = EncryptedTextField(default="", editable=False)
    last_t = models.BigIntegerField(default=-1, editable=False)
    """The time step of the last code that was taken: a code is good once."""

    class Meta:
        verbose_name = "second factor"

    def __str__(self) -> str:
        return f"Second factor of {self.user}"

    def get_throttle_factor(self) -> float:
        """1, 2, 4, 8 ... seconds after wrong codes."""
        return 1

    @staticmethod
    def opened(key: str) -> bytes:
        """The bytes of a stored key. Raises UnreadableSecret.

        The field hands out the ciphertext as if it were the value when no key fits; that is no hex.
        """
        try:
            return unhexlify(key)
        except (NotHex, ValueError) as error:
            raise UnreadableSecret("The second factor cannot be opened with the present keys.") from error


class RecoveryCode(models.Model):
    """A code on paper, good once. Only its digest is kept; it has 80 random bits, so nobody tries them all."""

    factor = models.ForeignKey(SecondFactor, on_delete=models.CASCADE, related_name="recovery_codes")
    digest = models.CharField(max_length=64)
    used_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["factor", "digest"], name="recovery_code_once")]

    def __str__(self) -> str:
        return f"Recovery code {self.pk}"

"""`stop_buying on|off [--tenant S] [--integration S]`: the brake on all purchases. Look-ups and write-backs go on."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from connector.management.output import JsonCommand
from connector.models import Integration, Tenant
from connector.services import switches
from connector.services.configuration import findings

ACTOR = "command line"


class Command(JsonCommand):
    """For the installation, or for one tenant, or for one integration."""

    help = "Stop all buying, or allow it again."

    def arguments(self, parser: CommandParser) -> None:
        """The switch and its scope."""
        parser.add_argument("switch", choices=("on", "off"), help="on: nothing is bought; off: buying goes on.")
        parser.add_argument("--tenant", help="Only this tenant (slug).")
        parser.add_argument("--integration", help="Only this integration (slug).")
        parser.add_argument("--reason", default="", help="Kept in the audit and shown beside what waits.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Find the scope and switch."""
        level, obj = self._scope(options["tenant"], options["integration"])
        try:
            changed = switches.stop_buying(level, obj, options["switch"] == "on", ACTOR, options["reason"])
        except findings.InvalidConfiguration as error:
            self.refuse(error.errors)
        name = obj.slug if obj else None
        words = "is stopped" if options["switch"] == "on" else "is allowed"
        at = f"{level} {name}" if name else "this installation"
        payload = {"level": level, "name": name, "stop_buying": options["switch"] == "on", "changed": changed}
        self.finish(payload, text=f"Buying {words} for {at}{'' if changed else ' (as before)'}.")

    def _scope(self, tenant_slug: str | None, integration_slug: str | None) -> tuple[switches.Level, Tenant | Integration | None]:
        tenant = Tenant.objects.filter(slug=tenant_slug).first() if tenant_slug is not None else None
        if tenant_slug is not None and tenant is None:
            self.refuse([findings.ConfigError("tenant", f'no tenant "{tenant_slug}"')])
        if integration_slug is None:
            return ("tenant", tenant) if tenant else ("installation", None)
        integration = Integration.objects.filter(slug=integration_slug).first()
        if integration is None:
            self.refuse([findings.ConfigError("integration", f'no integration "{integration_slug}"')])
        if tenant is not None and integration.tenant_id != tenant.pk:
            self.refuse(
                [findings.ConfigError("integration", f'"{integration_slug}" does not belong to the tenant "{tenant_slug}"')]
            )
        return "integration", integration

"""`verify_audit`: check every audit chain; exit 1 when something does not fit."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from connector.management.output import NEEDS_A_PERSON, WELL, JsonCommand
from connector.models import AuditEntry, AuditSeal
from connector.services import audit, seals


class Command(JsonCommand):
    """Changes nothing; what it finds is for a person to judge."""

    help = "Check the audit chains: nothing changed, nothing missing."

    def handle(self, *args: Any, **options: Any) -> None:
        """Check and report."""
        findings = [*audit.verify(), *seals.verify()]
        chains = AuditEntry.objects.values("chain").distinct().count()
        entries = AuditEntry.objects.count()
        lines = [f"{f.chain}{'' if f.sequence is None else f' entry {f.sequence}'}: {f.message}" for f in findings]
        told = f"{entries} entries in {chains} chains: {f'{len(findings)} finding(s)' if findings else 'all fit'}."
        sealed = AuditSeal.objects.count()
        told += f" {sealed} seals." if sealed else " No seals: AUDIT_KEY is empty or nothing has been sealed yet."
        payload = {"chains": chains, "entries": entries, "seals": sealed, "findings": [asdict(f) for f in findings]}
        self.finish(payload, NEEDS_A_PERSON if findings else WELL, "\n".join([*lines, told]))

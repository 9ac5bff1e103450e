"""`retention`: erase exchanges and details older than EXCHANGE_RETENTION_DAYS, posts older than WEBHOOK_RETENTION_DAYS."""

from __future__ import annotations

import getpass
from typing import Any

from django.core.management.base import CommandParser

from connector.management.output import NEEDS_A_PERSON, WELL, JsonCommand
from connector.services import retention


class Command(JsonCommand):
    """What the workers do once a day by themselves, now and to the end. May be stopped and run again."""

    help = (
        "Erase exchanges and details of audit entries that are older than EXCHANGE_RETENTION_DAYS,"
        " and webhook posts that are older than WEBHOOK_RETENTION_DAYS."
    )

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count what would go, erase nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit 1 when something old does not fit its digest: it was kept, and a person should look."""
        dry = options["dry_run"]
        told = retention.erase(dry_run=dry, actor=f"command:{getpass.getuser()}")
        verb = "would be erased" if dry else "erased"
        if told.before is None:
            text = "EXCHANGE_RETENTION_DAYS is 0: everything is kept."
        else:
            text = (
                f"From before {told.before:%Y-%m-%d %H:%M} UTC: {told.exchanges} exchanges and {told.details} details {verb}."
                " Those of unfinished work are kept."
            )
        if told.posts_before is not None:
            text += f"\nFrom before {told.posts_before:%Y-%m-%d %H:%M} UTC: {told.posts} webhook posts {verb}."
        if told.altered:
            text += f"\nKept, for they were changed after they were recorded: {', '.join(told.altered)}. See verify_audit."
        self.finish(told.as_dict() | {"dry_run": dry}, NEEDS_A_PERSON if told.altered else WELL, text)

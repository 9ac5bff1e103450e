"""Django application: start-up checks, drills, the admin site."""

from __future__ import annotations

import sys

from django.apps import AppConfig
from django.conf import settings
from django.contrib.admin.apps import AdminConfig
from django.db.models.signals import post_migrate


class ConsoleConfig(AdminConfig):
    """`django.contrib.admin` with our site as the default one."""

    default_site = "connector.site.ConsoleSite"


class ConnectorConfig(AppConfig):
    """Arms drills under DEBUG and connects the worker hooks."""

    name = "connector"
    verbose_name = "ml-connector"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import what registers itself; nothing here touches the database."""
        from connector import checks, queues, triggers, workers  # noqa: F401 (both register on import)
        from connector.services import heartbeat, sign_in  # noqa: F401 (listens to sign-ins)
        from integrations.base import drill

        post_migrate.connect(heartbeat.ensure, sender=self)
        post_migrate.connect(triggers.ensure, sender=self)
        drill.armed = bool(settings.DEBUG)
        if "qcluster" in sys.argv:
            workers.prepare_cluster()
            queues.use_in_clusters()

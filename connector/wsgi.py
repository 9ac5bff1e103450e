"""WSGI entry point for gunicorn."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "connector.settings")
application = get_wsgi_application()

from django.db import connections  # noqa: E402  (needs the settings)

# The server's few threads keep their connections for a minute, on SQLite as on PostgreSQL: to open the file and set it
# up costs more than to take in a webhook post.
connections.settings["default"]["CONN_MAX_AGE"] = 60

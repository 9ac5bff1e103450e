"""Settings for tests: generated keys, loopback allowed; the database comes from TEST_DATABASE_URL."""

import os

os.environ.setdefault("SECRET_KEY", "tests-only-" + "x" * 40)
os.environ.setdefault("FIELD_ENCRYPTION_KEY", "dGVzdC1vbmx5LWtleS0tLS0tLS0tLS0tLS0tLS0tLS0=")
os.environ.setdefault("AUDIT_KEY", "tests-only-audit-key")
os.environ.setdefault("DEBUG", "1")
os.environ.setdefault("ALLOW_PRIVATE_HOSTS", "127.0.0.1,localhost")
os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL", "sqlite:///build/test.sqlite3")
os.environ["REDIS_URL"] = ""

from connector.settings import *  # noqa: E402, F403
from connector.settings import BASE_DIR, DATABASES  # noqa: E402

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    (BASE_DIR / "build").mkdir(exist_ok=True)
    # A file, not memory: threads and processes must see the same database.
    DATABASES["default"]["TEST"] = {"NAME": str(BASE_DIR / "build" / f"pytest-{os.getpid()}.sqlite3")}
    DATABASES["default"]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
else:
    DATABASES["default"]["TEST"] = {"NAME": f"test_mlc_{os.getpid()}"}
    DATABASES["default"]["CONN_MAX_AGE"] = 0

# An empty folder instead of whitenoise's warning about a missing one.
STATIC_ROOT = BASE_DIR / "build" / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)

"""All settings. Everything that differs between installations comes from the environment (or `.env`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse_lazy

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
if (BASE_DIR / ".env").exists():
    environ.Env.read_env(str(BASE_DIR / ".env"))


def secret(name: str) -> str:
    """A secret from the environment; absent is an error that says where it comes from."""
    value: str = env.str(name, default="")
    if not value:
        raise ImproperlyConfigured(
            f"{name} is not set. `make run` writes a .env with generated keys; elsewhere set it in the environment."
        )
    return value


# -- Environment -------------------------------------------------------------------------------------

DEBUG: bool = env.bool("DEBUG", default=False)
SECRET_KEY = secret("SECRET_KEY")
FIELD_ENCRYPTION_KEY: list[str] = [k.strip() for k in secret("FIELD_ENCRYPTION_KEY").split(",") if k.strip()]
AUDIT_KEY: str = env.str("AUDIT_KEY", default="")
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"] if DEBUG else [])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])
ALLOW_PRIVATE_HOSTS: list[str] = [h.strip() for h in env.list("ALLOW_PRIVATE_HOSTS", default=[]) if h.strip()]
REDIS_URL: str = env.str("REDIS_URL", default="")
SIMULATOR_STATE_DIR = Path(env.str("SIMULATOR_STATE_DIR", default=str(BASE_DIR / "simulator-state")))

# -- Application -------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_filters",
    "django_q",
    "connector.apps.ConnectorConfig",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "connector.middleware.TenantTimezoneMiddleware",
]

ROOT_URLCONF = "connector.urls"
WSGI_APPLICATION = "connector.wsgi.application"
AUTH_USER_MODEL = "connector.User"
LOGIN_URL = "admin:login"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
FILTERS_VERBOSE_LOOKUPS: dict[str, str] = {}

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# -- Database ----------------------------------------------------------------------------------------


def database() -> dict[str, Any]:
    """The one database. SQLite gets WAL and full fsync: an intent that a power cut forgets would buy twice."""
    made: dict[str, Any] = env.db_url("DATABASE_URL", default=f"sqlite:///{BASE_DIR / 'db.sqlite3'}")
    if made["ENGINE"].endswith("sqlite3"):
        made["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 30,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-16000;",
        }
    else:
        # Workers replace this by a pool of their own after the fork (connector.workers).
        made["CONN_MAX_AGE"] = 60
        made["CONN_HEALTH_CHECKS"] = True
    return made


DATABASES = {"default": database()}

CACHES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
}

# -- Work queue (ENGINE 4): the database is the truth, django-q2 only wakes it ------------------------

WORKER_PROCESSES: int = env.int("WORKER_PROCESSES", default=2)
WORKER_THREADS: int = env.int("WORKER_THREADS", default=8)

Q_CLUSTER: dict[str, Any] = {
    "name": "ml-connector",
    "label": "Queue",
    "workers": WORKER_PROCESSES,
    "timeout": 600,
    "retry": 900,
    "max_attempts": 1,
    "ack_failures": True,
    "catch_up": False,
    "save_limit": 100,
    "queue_limit": max(2, WORKER_PROCESSES),
    "bulk": 1,
    "poll": 0.2,
    "recycle": 500,
}
Q_CLUSTER |= {"redis": REDIS_URL} if REDIS_URL else {"orm": "default"}

# -- Engine (ENGINE.md): capitals there, settings here; tests use small ones --------------------------

ENGINE: dict[str, Any] = {
    "LEASE_S": env.float("ENGINE_LEASE_S", default=150.0),
    "MARGIN_S": env.float("ENGINE_MARGIN_S", default=30.0),
    "HEARTBEAT_S": env.float("ENGINE_HEARTBEAT_S", default=20.0),
    "GROUP": 20,
    "SLICE_S": env.float("ENGINE_SLICE_S", default=20.0),
    "FRESH_S": 60.0,
    "RETRY_BASE_S": env.float("ENGINE_RETRY_BASE_S", default=30.0),
    "RETRY_CAP_S": env.float("ENGINE_RETRY_CAP_S", default=900.0),
    "RETRY_MAX": 10,
    "REST_AFTER": 5,
    "REST_BASE_S": env.float("ENGINE_REST_BASE_S", default=30.0),
    "REST_CAP_S": 900.0,
    "REFUSAL_S": 60.0,
    "SWEEP_EVERY_S": 86400.0,
}

# -- Web ---------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True
FORMAT_MODULE_PATH = "connector.formats"
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = False

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("TRUST_X_FORWARDED_PROTO", default=False) else None
if not DEBUG:
    SESSION_COOKIE_SECURE = env.bool("SECURE_COOKIES", default=True)
    CSRF_COOKIE_SECURE = SESSION_COOKIE_SECURE
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=False)
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=0)

# unfold's Alpine build evaluates expressions ('unsafe-eval') and sets style attributes; no inline scripts, no CDN.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'", "'unsafe-eval'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
    # django-q2 logs task names and results; ours are ids only. urllib3 would log URLs at DEBUG.
    "loggers": {"urllib3": {"level": "WARNING"}, "django-q": {"level": "WARNING"}},
}

# -- Console -----------------------------------------------------------------------------------------


def _page(title: str, icon: str, name: str, permission: str = "") -> dict[str, Any]:
    """One entry of the sidebar."""
    entry: dict[str, Any] = {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{name}")}
    return entry | ({"permission": permission} if permission else {})


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "ml-connector",
    "SITE_HEADER": "ml-connector",
    "SITE_SYMBOL": "local_shipping",
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "ENVIRONMENT": "connector.dashboard.environment",
    "DASHBOARD_CALLBACK": "connector.dashboard.dashboard",
    "STYLES": [lambda request: static("connector/console.css")],
    "SIDEBAR": {
        "show_search": False,
        "navigation": [
            {
                "title": "Work",
                "items": [
                    _page("Dashboard", "dashboard", "index"),
                    _page("Transfers", "sync_alt", "connector_transfer_changelist"),
                    _page("Shipments", "local_shipping", "connector_shipment_changelist"),
                ],
            },
            {
                "title": "Set-up",
                "items": [
                    _page("Integrations", "hub", "connector_integration_changelist"),
                    _page("Connections", "cable", "connector_connection_changelist"),
                    _page("Tenants", "apartment", "connector_tenant_changelist"),
                    _page("Users", "group", "connector_user_changelist", "connector.dashboard.can_administer"),
                ],
            },
            {
                "title": "Evidence",
                "items": [
                    _page("Audit", "history", "connector_auditentry_changelist"),
                    _page("Queue", "queue", "django_q_ormq_changelist", "connector.dashboard.is_owner"),
                    _page("Failed tasks", "error", "django_q_failure_changelist", "connector.dashboard.is_owner"),
                ],
            },
        ],
    },
}

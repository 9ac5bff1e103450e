"""All settings. Everything that differs between installations comes from the environment (or `.env`)."""

from __future__ import annotations

import datetime as dt
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
# Fields of one form: 600 sites of a connection with their addresses, and what else is in it.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 15_000
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])
ALLOW_PRIVATE_HOSTS: list[str] = [h.strip() for h in env.list("ALLOW_PRIVATE_HOSTS", default=[]) if h.strip()]
REDIS_URL: str = env.str("REDIS_URL", default="")
EXCHANGE_RETENTION_DAYS: int = env.int("EXCHANGE_RETENTION_DAYS", default=400)
if EXCHANGE_RETENTION_DAYS < 0:
    raise ImproperlyConfigured("EXCHANGE_RETENTION_DAYS is a number of days; 0 keeps everything.")
WEBHOOK_RETENTION_DAYS: int = env.int("WEBHOOK_RETENTION_DAYS", default=400)
if WEBHOOK_RETENTION_DAYS < 0:
    raise ImproperlyConfigured("WEBHOOK_RETENTION_DAYS is a number of days; 0 keeps everything.")
METRICS_TOKEN: str = env.str("METRICS_TOKEN", default="").strip()
SIMULATOR_STATE_DIR = Path(env.str("SIMULATOR_STATE_DIR", default=str(BASE_DIR / "simulator-state")))

# -- Application -------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "connector.apps.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_filters",
    "django_q",
    "axes",
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
    "connector.middleware.PermissionsPolicyMiddleware",
    # Before the next two, which look for the session.
    "connector.middleware.TextOnlyMiddleware",
    "connector.middleware.TenantTimezoneMiddleware",
    "connector.middleware.SessionRulesMiddleware",
    # The innermost: it answers instead of a page when a sign-in is refused for too many failures.
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "connector.urls"
WSGI_APPLICATION = "connector.wsgi.application"
AUTH_USER_MODEL = "connector.User"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
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

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# -- Sign-in (services/sign_in.py) ---------------------------------------------------------------------

# How many proxies in front add to X-Forwarded-For; 0: the header is not believed.
TRUST_X_FORWARDED_FOR: int = env.int("TRUST_X_FORWARDED_FOR", default=0)
SIGN_IN_ATTEMPTS: int = env.int("SIGN_IN_ATTEMPTS", default=5)
SIGN_IN_REST_MINUTES: int = env.int("SIGN_IN_REST_MINUTES", default=15)
SESSION_IDLE_MINUTES: int = env.int("SESSION_IDLE_MINUTES", default=60)

AXES_FAILURE_LIMIT = SIGN_IN_ATTEMPTS
AXES_COOLOFF_TIME = dt.timedelta(minutes=SIGN_IN_REST_MINUTES)
# Name and address together. By name alone a stranger could shut a person out; by address alone, behind a proxy, everybody.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
# Trying on does not make it longer: who keeps knocking cannot keep a door shut for ever.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "connector.services.sign_in.client_address"
AXES_USERNAME_CALLABLE = "connector.services.sign_in.counted_name"
AXES_LOCKOUT_CALLABLE = "connector.views.locked_out"
# Who signed in stands in our audit. People type passwords into the wrong field: nothing typed is kept.
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_SENSITIVE_PARAMETERS = ["username", "code"]

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

# -- Alerts ------------------------------------------------------------------------------------------

PUBLIC_URL: str = env.str("PUBLIC_URL", default="")
_mail: dict[str, Any] = env.email_url("EMAIL_URL", default="consolemail://")
EMAIL_BACKEND: str = _mail["EMAIL_BACKEND"]
EMAIL_HOST: str = _mail.get("EMAIL_HOST") or "localhost"
EMAIL_PORT: int = _mail.get("EMAIL_PORT") or 25
EMAIL_HOST_USER: str = _mail.get("EMAIL_HOST_USER") or ""
EMAIL_HOST_PASSWORD: str = _mail.get("EMAIL_HOST_PASSWORD") or ""
EMAIL_USE_TLS: bool = _mail.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL: bool = _mail.get("EMAIL_USE_SSL", False)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL: str = env.str("MAIL_FROM", default="ml-connector@localhost")

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
# Whoever asks these from inside (probes of a platform, Prometheus) speaks plain http.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
# HSTS for all subdomains and in the browsers' built-in list bind a whole domain; that is not for one console on it to decide.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

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

LOG_FORMAT: str = env.str("LOG_FORMAT", default="plain")
if LOG_FORMAT not in ("plain", "json"):
    raise ImproperlyConfigured("LOG_FORMAT is plain or json.")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    # Both take out secrets by value.
    "formatters": {
        "plain": {"()": "connector.services.logs.PlainLines", "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s"},
        "json": {"()": "connector.services.logs.JsonLines"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
    # django-q2 logs task names and results; ours are ids only. urllib3 would log URLs at DEBUG. Refused sign-ins are
    # logged by services/sign_in.py.
    "loggers": {"urllib3": {"level": "WARNING"}, "django-q": {"level": "WARNING"}, "axes": {"level": "ERROR"}},
}

# -- Console -----------------------------------------------------------------------------------------


def _page(
    title: str, icon: str, name: str, permission: str = "", *, at: tuple[str, ...] = (), but: tuple[str, ...] = ()
) -> dict[str, Any]:
    """One entry of the sidebar. `at`, `but`: where among the console's addresses it is the present one, if not below its own."""
    entry: dict[str, Any] = {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{name}")}
    if at:
        entry["active"] = lambda request: (
            any(part in request.path for part in at) and not any(part in request.path for part in but)
        )
    return entry | ({"permission": permission} if permission else {})


_CAUSES = ("/transfer/causes/", "/transfer/cause/")
_BESIDE_SHIPMENTS = ("/shipment/deadlines/", "/shipment/costs/")
_RECONCILIATION = ("/reconciliationfinding/", "/reconciliationrun/")


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "ml-connector",
    "SITE_HEADER": "ml-connector",
    "SITE_SYMBOL": "local_shipping",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("connector/favicon.svg")},
    ],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "ENVIRONMENT": "connector.dashboard.environment",
    "DASHBOARD_CALLBACK": "connector.dashboard.dashboard",
    "STYLES": [lambda request: static("connector/console.css")],
    "ACCOUNT": {
        "navigation": [
            {"title": "My account", "link": reverse_lazy("admin:account")},
            {"title": "Change password", "link": reverse_lazy("admin:password_change")},
        ]
    },
    "SIDEBAR": {
        "show_search": False,
        "navigation": [
            {
                "title": "Work",
                "items": [
                    _page("Dashboard", "dashboard", "index"),
                    _page("Needs attention", "notification_important", "connector_causes", at=_CAUSES),
                    _page("Transfers", "sync_alt", "connector_transfer_changelist", at=("/connector/transfer/",), but=_CAUSES),
                    _page(
                        *("Shipments", "local_shipping", "connector_shipment_changelist"),
                        at=("/connector/shipment/",),
                        but=_BESIDE_SHIPMENTS,
                    ),
                    _page("Deadlines", "alarm", "connector_deadlines"),
                    _page("Month end", "receipt_long", "connector_costs"),
                    _page("Reconciliation", "balance", "connector_findings", at=_RECONCILIATION),
                    _page("Carrier invoices", "request_quote", "connector_invoicefile_changelist"),
                    _page("Alerts", "notifications", "connector_alert_changelist"),
                    _page("Budgets", "speed", "connector_budgets"),
                ],
            },
            {
                "title": "Set-up",
                "items": [
                    _page("Integrations", "hub", "connector_integration_changelist"),
                    _page("Connections", "cable", "connector_connection_changelist"),
                    _page("Alert channels", "campaign", "connector_alertchannel_changelist"),
                    _page("Tenants", "apartment", "connector_tenant_changelist"),
                    _page("Simulators", "science", "connector_simulators", "connector.dashboard.has_simulators"),
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

"""FedEx on the box: where it runs, what it wants to know, how fast it may be asked. Facts: sheet 1, 2, 3."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from integrations.base.vendor import COMMON_SETTINGS, Credential, Environment, Limit, Role, SettingError, SettingField, Vendor
from integrations.fedex.codes import SERVICE_TYPES

LOCALE = re.compile(r"[a-z]{2}_[A-Z]{2}")

SETUP_HELP = """\
1. Sign in at developer.fedex.com with the FedEx user that owns the shipping account and create an organisation.
2. Create a project of the kind "Ship, Rate & Other APIs", add your 9-digit account number to it, and add the APIs Ship and Rate
   (and Address Validation, if addresses are to be checked before labels are bought).
   The project page shows an API Key and a Secret Key: enter them here as API key and Secret key.
3. Create a second project of the kind "Track API" and enter its keys as Track API key and Track secret key. Leave them empty only
   if your first project offers Track as well. Track must be enabled: when the answer to a purchase is lost on its way, the
   shipment is looked up through Track under our reference, and nothing else at FedEx can answer that question.
4. Test keys work only with the environment "Sandbox", production keys only with "Production". A project moves to
   production on its own page; FedEx may ask for sample labels to be certified first.
5. The account must be allowed for this project: FedEx refuses an account that belongs to another customer.
Every connection of this installation shares one internet address with FedEx's login. After too many logins FedEx closes it for
ten minutes for everybody; therefore a login is kept as long as it lives, and a ping uses it too."""


def check_settings(settings: Mapping[str, Any]) -> list[SettingError]:
    """What is wrong with the merged settings of a FedEx connection; empty when all is well."""
    wrong = [SettingError(key, "unknown setting") for key in settings if key not in COMMON_SETTINGS | {"locale"}]
    locale = settings.get("locale")
    if not isinstance(locale, str) or not LOCALE.fullmatch(locale):
        wrong.append(SettingError("locale", 'must be a language and a country such as "en_US"'))
    return wrong


INVOICE_COLUMNS = {
    "tracking_number": ("Express or Ground Tracking ID", "Tracking Number", "Tracking ID", "Ground Tracking Number"),
    "amount": ("Net Charge Amount", "Net Charge", "Shipment Net Charge"),
    "currency": ("Currency Code", "Invoice Currency Code", "Currency"),
    "invoice_number": ("Invoice Number",),
    "invoice_date": ("Invoice Date",),
    "account": ("Bill to Account Number", "Bill-to Account Number", "Account Number"),
    "charge": ("Charge Description",),
}
"""Headings seen in files of FedEx Billing Online. The sheet knows no invoice format: a proposal, the user chooses."""

VENDOR = Vendor(
    slug="fedex",
    label="FedEx",
    roles=frozenset({Role.CARRIER}),
    adapter="integrations.fedex.adapter.Fedex",
    services=SERVICE_TYPES,
    # On the other federal holidays FedEx collects and delivers.
    rests_on={
        "US": frozenset(
            ("New Year's Day", "Memorial Day", "Independence Day", "Labor Day", "Thanksgiving Day", "Christmas Day"),
        )
    },
    simulator="integrations.fedex.simulator.FedexSimulator",
    credentials=(
        Credential("client_id", "API key", help="Of the project with Ship and Rate."),
        Credential("client_secret", "Secret key", secret=True),
        Credential("account_number", "Account number", masked=True, help="The 9-digit shipping account that pays."),
        Credential("track_client_id", "Track API key", required=False, help="Of the separate Track project, where there is one."),
        Credential("track_client_secret", "Track secret key", secret=True, required=False),
        Credential(
            "webhook_secret", "Webhook security token", secret=True, required=False, help="As set in the webhook project."
        ),
    ),
    url_keys=("base",),
    environments=(
        Environment("production", "Production", {"base": "https://apis.fedex.com"}),
        Environment("sandbox", "Sandbox", {"base": "https://apis-sandbox.fedex.com"}),
        Environment("simulator", "Simulator", {"base": "http://127.0.0.1:8900/fedex"}),
        Environment("custom", "Custom", {}),
    ),
    limits=(
        # Stricter than FedEx's two thresholds, because a penalty hits the whole host for ten minutes (sheet 3, 20).
        Limit("token", "host", 1, 5),
        Limit("calls", "credential", 1400, 10),
        Limit("track", "credential", 100_000, 86_400),
        # FedEx tells Track's default only (sheet 3); a quota of another size is a setting of the connection.
        Limit("address", "credential", 100_000, 86_400),
    ),
    max_parallel=8,
    settings_defaults={"locale": "en_US"},
    setting_fields=(SettingField("locale", "Language of FedEx's messages", help="Language and country, such as en_US."),),
    check_settings=check_settings,
    bulky_keys=("encodedLabel", "image", "documents", "document"),
    redact_keys=("client_secret", "access_token", "child_secret", "child_Key"),
    invoice_columns=INVOICE_COLUMNS,
    account_credential="account_number",
    docs="https://developer.fedex.com/api/en-us/catalog.html",
    setup_help=SETUP_HELP,
)

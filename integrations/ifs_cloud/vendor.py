"""IFS Cloud: the label on the box. Names of projections, sets and fields are in `profile_defaults.py`."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from integrations.base.vendor import Credential, Environment, InDoubt, Limit, Role, Timeouts, Vendor
from integrations.ifs_cloud.profile_checks import check_settings
from integrations.ifs_cloud.profile_defaults import DEFAULTS
from integrations.ifs_cloud.setting_fields import SETTING_FIELDS

SETUP_HELP = """\
What an IFS administrator prepares, once per tenant:

1. IAM client (Solution Manager, Users and Permissions, Identity and Access Manager, IAM Clients). Its id has at most
   20 characters. Switch "Service Accounts" on; it must not be public. Client id and secret go into this connection.
2. Service user. The client's service account needs a user in IFS of its own, so that IFS shows who wrote.
3. Permission set. Grant the service user every projection named in the profile: for shipping ShipmentHandling,
   HandlingUnitsHandling, SitesHandling and CustomerHandling. A read-only role is enough for reading; writing the tracking
   number needs a permission set that may update shipments. Freight cost on orders needs CustomerOrderHandling with the
   right to add and update customer order charges. Labels in IFS need CreateAndImportDocument and
   DocReferenceObjectAttachmentHandling (documents) or MediaLibraryAttachmentHandling (media library). Where customer or
   purchase orders ship themselves: CustomerOrdersHandling and CustomerOrderHandling, or PurchaseOrderHandling,
   SupplierHandling and the entity service PurchaseOrderLineEntity.
4. Allowed Companies. Add every company code entered here to the service user's Allowed Companies.
5. Sites. Allow every site entered here for the service user. IFS hides what is not allowed instead of refusing it:
   a missing company or site looks like an empty list.

Realm: the IAM realm has a name of its own and is often not the subdomain (host acme, realm acme1). It stands in the
token address: .../auth/realms/<realm>/protocol/openid-connect/token.
Address: the tenant's subdomain (acme), or the full address of your own host, without the part from /main on.
"""

_PASTED_PATH = re.compile(r"/(main|int|b2b)/ifsapplications(/.*)?$|/auth/realms(/.*)?$")


def normalise_url(key: str, entered: str) -> str:
    """The base URL for what an operator entered: a bare subdomain, a host, or a full address.

    "acme" becomes "https://acme.ifs.cloud"; a path prefix stays; what was pasted after it from a browser
    ("/main/ifsapplications/...") is cut off. Raises ValueError for what cannot be a base address.
    """
    text = entered.strip()
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?", text) and text.lower() != "localhost":
        return f"https://{text.lower()}.ifs.cloud"
    if "://" not in text:
        text = f"https://{text}"
    parts = urlsplit(text)
    if parts.scheme.lower() not in ("https", "http"):
        raise ValueError(f"An address begins with https://, not {parts.scheme}://.")
    if not parts.hostname or re.search(r"\s", text):
        raise ValueError("This is no address: enter the tenant's subdomain (acme) or the full address (https://acme.ifs.cloud).")
    if parts.username or parts.password:
        raise ValueError("User name and password do not belong into the address.")
    path = _PASTED_PATH.sub("", parts.path).rstrip("/")
    # `port` raises ValueError itself for a port that is no number; an IPv6 host needs its brackets back.
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = f":{parts.port}" if parts.port is not None else ""
    return f"{parts.scheme.lower()}://{host}{port}{path}"


VENDOR = Vendor(
    slug="ifs_cloud",
    label="IFS Cloud",
    roles=frozenset({Role.ERP}),
    adapter="integrations.ifs_cloud.adapter.IfsCloud",
    simulator="integrations.ifs_cloud.simulator.IfsCloudSimulator",
    credentials=(
        Credential("client_id", "Client id", help="The IAM client's id, at most 20 characters."),
        Credential("client_secret", "Client secret", secret=True, help="The IAM client's secret."),
    ),
    url_keys=("base",),
    environments=(
        # Every tenant has a host of its own: there is no address that could be offered for production.
        Environment("production", "Production", {}),
        Environment("simulator", "Simulator", {"base": "http://127.0.0.1:8900/ifs_cloud"}),
        Environment("custom", "Custom", {}),
    ),
    limits=(
        # IFS publishes no limit (sheet 6, status 429); these are the sheet's cautious defaults.
        Limit("calls", "connection", 10, 1.0),
        # Tokens live three minutes by default (sheet 3); this only stops a client that goes round in circles.
        Limit("token", "credential", 5, 10.0),
    ),
    timeouts=Timeouts(connect_s=10.0, read_s=60.0, total_s=60.0),
    # A charge is looked up where it would stand, in IFS's own database: five minutes after the request must have ended,
    # not finding it is proof (sheet 5.1 has no other protection against posting twice).
    in_doubt=InDoubt(resend_after_s=300),
    max_parallel=4,
    settings_defaults=DEFAULTS,
    setting_fields=SETTING_FIELDS,
    check_settings=check_settings,
    normalise_url=normalise_url,
    redact_keys=("client_secret", "access_token", "refresh_token", "id_token", "session_state"),
    docs="https://docs.ifs.com/",
    setup_help=SETUP_HELP,
)

"""People and rows for tests of the console: two tenants with everything, and one person per role and tenant."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.test import Client

from connector.models import (
    Alert,
    AlertChannel,
    Backfill,
    Connection,
    Effect,
    EffectSend,
    Exchange,
    Integration,
    InvoiceFile,
    InvoiceLine,
    Label,
    Membership,
    Package,
    Pause,
    Proof,
    RateQuote,
    ReconciliationFinding,
    ReconciliationRun,
    Reference,
    Shipment,
    SourceRecord,
    Step,
    Tenant,
    Transfer,
    User,
)
from connector.models.tenants import Role
from connector.services import audit
from connector.services.configuration import importing
from tests.world import document

NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)


@dataclass
class House:
    """One tenant with its rows; every text carries `mark`, so that a leak can be seen."""

    mark: str
    tenant: Tenant
    integration: Integration
    source: Connection
    target: Connection
    transfers: dict[str, Transfer] = field(default_factory=dict)
    shipment: Any = None
    backfill: Any = None
    package: Any = None
    alert: Any = None
    channel: Any = None
    comparison: Any = None
    finding: Any = None
    invoice: Any = None

    @property
    def call(self) -> Exchange:
        """A call of the failed transfer."""
        return Exchange.objects.filter(transfer=self.transfers["failed"]).order_by("pk")[0]

    def person(self, role: str) -> User:
        return User.objects.get(username=f"{role}-{self.tenant.slug}")


def client_of(user: User, **options: Any) -> Client:
    """Signed in as somebody."""
    client = Client(**options)
    client.force_login(user)
    return client


def owner() -> User:
    """The installation owner."""
    return User.objects.filter(is_superuser=True).first() or User.objects.create_superuser(
        "owner", password="long enough for tests"
    )


def build(slug: str) -> House:
    """A tenant with connections, an integration, transfers in every state, a shipment with a label, a pause and people."""
    doc = document("http://127.0.0.1:9", slug)
    doc["connections"][0]["credentials"]["client_secret"] = f"secret-of-{slug}-ifs"
    importing.apply(doc, "test")
    tenant = Tenant.objects.get(slug=slug)
    integration = Integration.objects.get(slug=f"{slug}-ifs-fedex")
    mark = f"mark-{slug}"
    house = House(mark, tenant, integration, integration.source, integration.target)
    for number, state in enumerate(Transfer.State.values):
        house.transfers[state] = transfer(house, number, state)
    bought(house)
    house.backfill = Backfill.objects.create(
        tenant=tenant,
        integration=integration,
        flow="ship",
        date_from="2026-01-01",
        date_to="2026-01-31",
        reason=f"{mark} reason",
        created_by="test",
        created_at=NOW,
    )
    house.alert = Alert.objects.create(
        tenant=tenant,
        cause="failed",
        group_key=f"failed:{mark}:integration:{integration.pk}",
        title=f"{mark} title",
        first_at=NOW,
        last_at=NOW,
    )
    house.channel = AlertChannel(tenant=tenant, kind="webhook", name=f"{mark} channel", enabled=False, since=NOW, created_at=NOW)
    house.channel.host = f"{slug}.example.com"
    house.channel.set_secrets({"url": f"https://{slug}.example.com/url-secret-of-{slug}", "secret": f"secret-of-{slug}"})
    house.channel.save()
    compared(house)
    house.invoice = InvoiceFile.objects.create(
        tenant=tenant,
        carrier=integration.target,
        name=f"{mark} invoice",
        sha256="0" * 64,
        encoding="utf-8",
        delimiter=",",
        header=["Tracking ID", "Net Charge"],
        state="ready",
        rows=1,
        created_by="test",
        created_at=NOW,
    )
    InvoiceLine.objects.create(
        tenant=tenant,
        file=house.invoice,
        carrier=integration.target,
        row=1,
        cells=[f"{mark} cell", "13.00"],
        invoice_number="I-1",
        tracking_number=house.shipment.master_tracking_number,
        amount=Decimal("13.00"),
        currency="USD",
        shipment=house.shipment,
        state="held",
        note=f"{mark} note",
    )
    Pause.objects.create(
        tenant=tenant,
        scope="connection",
        connection=integration.target,
        code="x",
        message=f"{mark} paused",
        remedy="mend",
        since=NOW,
    )
    for role in Role.values:
        user = User.objects.create_user(f"{role}-{slug}", password="long enough for tests", is_staff=True)
        Membership.objects.create(tenant=tenant, user=user, role=role)
    audit.append(tenant, audit.Draft("ping", {"mark": mark}, obj=integration.source))
    return house


def compared(house: House) -> None:
    """A comparison that is done, and what it found."""
    house.comparison = ReconciliationRun.objects.create(
        tenant=house.tenant,
        integration=house.integration,
        asked_by=f"{house.mark} person",
        since=NOW.date(),
        state="done",
        compared=1,
        call_limit=10,
        due_at=NOW,
        started_at=NOW,
        ended_at=NOW,
    )
    house.finding = ReconciliationFinding.objects.create(
        tenant=house.tenant,
        integration=house.integration,
        kind="erp_extra",
        subject="document:shipment:1",
        remedy="known",
        source_key=f"shipment:{house.mark}1",
        number="794600000015",
        ours=f"{house.mark} ours",
        erp="<script>alert(1)</script>",
        first_seen_at=NOW,
        last_seen_at=NOW,
    )


def transfer(house: House, number: int, state: str) -> Transfer:
    """One record with one transfer in a state."""
    record = SourceRecord.objects.create(
        tenant=house.tenant,
        integration=house.integration,
        flow="ship",
        source_key=f"shipment:{house.mark}{number}",
        document_kind="shipment",
        company_code="10",
        site="S1",
        revision=1,
        first_seen_at=NOW,
        last_seen_at=NOW,
    )
    made = Transfer.objects.create(
        tenant=house.tenant,
        integration=house.integration,
        record=record,
        flow="ship",
        source_key=record.source_key,
        state=state,
        message=f"{house.mark} message",
        remedy="do this",
        code="unmapped_service" if state == "failed" else "",
        due_at=NOW,
        created_at=NOW,
        updated_at=NOW,
    )
    Step.objects.create(
        tenant=house.tenant,
        transfer=made,
        record=record,
        name="read",
        kind="read",
        state="done",
        result={"mark": house.mark},
        started_at=NOW,
    )
    Exchange.objects.create(
        tenant=house.tenant,
        connection=house.source,
        transfer=made,
        operation="read",
        method="GET",
        url=f"http://x/{house.mark}",
        response_body="<script>alert(1)</script>",
        status=200,
        started_at=NOW,
        digest="0" * 64,
    )
    return made


def bought(house: House) -> None:
    """A shipment with package, label and references on the done transfer; an open send on the one in doubt."""
    done = house.transfers["done"]
    house.shipment = Shipment.objects.create(
        tenant=house.tenant,
        integration=house.integration,
        record=done.record,
        transfer=done,
        carrier=house.target,
        source_key=done.source_key,
        document_number=f"{house.mark}-doc",
        master_tracking_number=f"79460000{house.tenant.pk:04d}",
        service="FEDEX_GROUND",
        recipient_name=f"{house.mark} recipient",
        cost=Decimal("12.34"),
        currency="USD",
        cost_kind="rated",
        ship_date=NOW.date(),
        created_at=NOW,
    )
    house.package = Package.objects.create(
        tenant=house.tenant,
        shipment=house.shipment,
        carrier=house.target,
        sequence=1,
        tracking_number=house.shipment.master_tracking_number,
    )
    Label.objects.create(
        tenant=house.tenant,
        package=house.package,
        media_type="application/pdf",
        data=b"%PDF-1.4 x",
        sha256="0" * 64,
        size=10,
        created_at=NOW,
    )
    Proof.objects.create(
        tenant=house.tenant,
        package=house.package,
        media_type="application/pdf",
        data=b"%PDF-1.4 signed",
        sha256="0" * 64,
        size=15,
        created_at=NOW,
    )
    Reference.objects.create(
        tenant=house.tenant,
        shipment=house.shipment,
        kind="order",
        value=f"C-{house.mark}",
        normalised=f"C{house.mark}".upper().replace("-", ""),
    )
    RateQuote.objects.create(
        tenant=house.tenant,
        integration=house.integration,
        record=done.record,
        transfer=done,
        carrier=house.target,
        to_buy=True,
        state="answered",
        offers=[{"service": "FEDEX_GROUND", "cost": {"amount": "12.34", "currency": "USD"}, "rate_type": "account"}],
        alerts=[f"{house.mark} alert"],
        wished="FEDEX_GROUND",
        rule="fixed",
        chosen="FEDEX_GROUND",
        reason=f"{house.mark} reason",
        amount=Decimal("12.34"),
        currency="USD",
        created_at=NOW,
    )
    doubt = house.transfers["in_doubt"]
    effect = Effect.objects.create(
        tenant=house.tenant,
        record=doubt.record,
        transfer=doubt,
        kind="label",
        buys=True,
        source_connection=house.source,
        document_key=doubt.source_key,
        created_at=NOW,
    )
    EffectSend.objects.create(
        tenant=house.tenant,
        effect=effect,
        transfer=doubt,
        connection=house.target,
        reference=f"ML{house.tenant.pk:012d}",
        sent_at=NOW,
        deadline_at=NOW,
        outcome="unknown",
        unknown_since=NOW,
    )

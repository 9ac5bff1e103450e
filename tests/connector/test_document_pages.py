"""The pages of a document: what belongs together is linked, what a person should see is said, what he typed is kept."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from django.urls import reverse

from connector.models import AuditEntry, ReconciliationFinding, Shipment, Step, Transfer
from connector.services import clock
from tests.connector.admin_support import NOW, House, build, client_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    return build("alpha")


def page(house: House, name: str, pk: int, role: str = "operator") -> str:
    answer = client_of(house.person(role)).get(reverse(f"admin:connector_{name}_change", args=[pk]))
    assert answer.status_code == 200
    return answer.content.decode()


def do(house: House, name: str, pk: int, act: str, **told: str) -> str:
    url = reverse(f"admin:connector_{name}_do", args=[pk, act])
    return client_of(house.person("operator")).post(url, told, follow=True).content.decode()


@pytest.mark.parametrize("name", ["shipment", "transfer"])
def test_findings_and_invoice_lines_stand_on_the_documents_pages(house: House, name: str) -> None:
    shipment = house.shipment
    ReconciliationFinding.objects.update(record=shipment.record, number="795511112222")
    text = page(house, name, shipment.pk if name == "shipment" else shipment.transfer_id)
    finding = reverse("admin:connector_reconciliationfinding_change", args=[house.finding.pk])
    invoice = reverse("admin:connector_invoicefile_change", args=[house.invoice.pk])
    assert finding in text and "795511112222" in text and f"{invoice}?state=held" in text and f"{house.mark} note" in text
    ReconciliationFinding.objects.update(state="closed")
    assert finding not in page(house, name, shipment.pk if name == "shipment" else shipment.transfer_id)


def test_a_shipment_leads_to_what_else_ships_for_its_order(house: House) -> None:
    order = house.shipment.references.get(kind="order").value
    text = page(house, "shipment", house.shipment.pk)
    assert f'<a href="{reverse("admin:connector_find")}?q={order}">{order}</a>' in text


def test_a_shipment_says_why_somebody_should_look_and_takes_the_answer(house: House) -> None:
    """It said only “look at it as said above”, and above stood nothing."""
    shipment = house.shipment
    Transfer.objects.filter(pk=shipment.transfer_id).update(attention="label_missing")
    text = page(house, "shipment", shipment.pk, "viewer")
    assert "its label file was lost" in text and "I have looked at it</button>" not in text
    assert "I have looked at it</button>" in page(house, "shipment", shipment.pk)
    back = do(house, "transfer", shipment.transfer_id, "looked", back="shipment", reason="printed at the depot")
    assert "Marked as looked at" in back and 'id="attention"' not in back and shipment.master_tracking_number in back
    assert AuditEntry.objects.get(act="looked_at").facts["reason"] == "printed at the depot"


def test_the_history_does_not_say_written_where_no_field_took_the_number(house: House) -> None:
    shipment = house.shipment
    Shipment.objects.update(written_at=NOW)
    rows = reverse("admin:connector_shipment_changelist")

    def cell() -> str:
        text = client_of(house.person("viewer")).get(rows).content.decode()
        [told] = re.findall(r'<td class="field-written_at[^>]*>([^<]*)<', text)
        return str(told).strip()

    step = {"tenant": house.tenant, "record": shipment.record, "name": "write tracking", "kind": "write", "state": "done"}
    Step.objects.create(transfer=shipment.transfer, result={"skipped": ["tracking_field"]}, started_at=NOW, **step)
    assert cell() == "no field for the number"
    later = {"transfer": shipment.transfer, "started_at": NOW, "generation": 2}
    Step.objects.create(result={"written": ["AirwayBillNo"], "skipped": ["quote_field"]}, **later, **step)
    assert cell() == "written", "the last time counts"


def test_what_was_typed_is_there_again_after_a_refusal(house: House) -> None:
    doubt = house.transfers["in_doubt"]
    text = do(house, "transfer", doubt.pk, "made", number="7946-?", reason="seen <at> the depot")
    assert 'value="7946-?"' in text and "seen &lt;at&gt; the depot</textarea>" in text
    assert "seen &lt;at&gt;" not in page(house, "transfer", doubt.pk), "told once"


def test_what_was_typed_for_one_row_is_not_shown_on_another(house: House) -> None:
    client = client_of(house.person("operator"))
    doubt, failed = house.transfers["in_doubt"], house.transfers["failed"]
    url = reverse("admin:connector_transfer_do", args=[doubt.pk, "made"])
    client.post(url, {"number": "7946-?", "reason": "typed here"})
    assert "typed here" not in client.get(reverse("admin:connector_transfer_change", args=[failed.pk])).content.decode()
    assert "typed here" in client.get(reverse("admin:connector_transfer_change", args=[doubt.pk])).content.decode()


def test_the_audit_names_documents_in_words_and_leads_to_them(house: House) -> None:
    client = client_of(house.person("operator"))
    failed = house.transfers["failed"]
    Transfer.objects.filter(pk=failed.pk).update(source_key="customer_order:S10023/2")
    do(house, "transfer", failed.pk, "replay")
    entry = AuditEntry.objects.get(act="replay")
    named = f"Customer order S10023, delivery 2 (transfer {failed.pk})"
    assert named in client.get(reverse("admin:connector_auditentry_changelist")).content.decode()
    text = client.get(reverse("admin:connector_auditentry_change", args=[entry.pk])).content.decode()
    assert f'<a href="{reverse("admin:connector_transfer_change", args=[failed.pk])}">{named}</a>' in text


def test_a_list_tells_since_when_overdue_work_waits(house: House) -> None:
    """While a connection is paused its documents are overdue; “due” with a time that has passed says nothing."""
    client = client_of(house.person("viewer"))
    rows = f"{reverse('admin:connector_transfer_changelist')}?state__exact=waiting&show=all"
    waiting = Transfer.objects.filter(pk=house.transfers["waiting"].pk)
    for due, words in (
        (clock.now() - dt.timedelta(hours=1), "due since <time"),
        (clock.now() + dt.timedelta(hours=1), "due <time"),
    ):
        waiting.update(due_at=due)
        text = client.get(rows).content.decode()
        assert words in text, words


def test_a_pause_without_a_name_is_told_without_a_gap(house: House) -> None:
    text = page(house, "connection", house.target.pk)
    assert "Connection: mark-alpha paused" in text

"""Freight cost on a shipment's page: what it was, what it is, and a form to correct it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from connector.admin.base import actor_of
from connector.models import FreightCharge, Shipment
from connector.services import costs, freight
from connector.services.shipments import NotPossible


class CorrectionForm(forms.Form):
    """What the carrier charges in all; the currency only where it is not known yet."""

    amount = forms.DecimalField(label="Cost", min_value=0, max_value=costs.LARGEST, max_digits=9, decimal_places=2)
    currency = forms.CharField(label="Currency", max_length=3, required=False)

    def clean_currency(self) -> str:
        return str(self.cleaned_data["currency"]).strip().upper()


def cost_context(shipment: Shipment) -> dict[str, Any]:
    """What a shipment's page shows of its cost."""
    charges = freight.of(shipment)
    posted = [charge for charge in charges if charge.state in (FreightCharge.State.POSTED, FreightCharge.State.LEFT)]
    rated = shipment.cost if shipment.cost_kind == Shipment.CostKind.RATED else shipment.rated_cost
    return {
        "freight_charges": charges,
        "from_order": any(charge.from_order for charge in charges),
        "cost_changes": costs.history(shipment),
        "rated_cost": rated,
        "posted_cost": sum((c.amount for c in posted), Decimal(0)) if posted else None,
        "posted_currency": posted[0].currency if len({c.currency for c in posted}) == 1 else "",
    }


class CostPages:
    """The page that corrects a cost; mixed into the shipments' admin."""

    admin_site: Any
    page: Any
    row: Any
    may: Any

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.correct_view)
        return [path("<int:shipment_id>/cost/", view, name="connector_shipment_cost"), *super().get_urls()]  # type: ignore[misc]

    def correct_view(self, request: HttpRequest, shipment_id: int) -> HttpResponseBase:
        """GET: what a new cost would mean. POST: correct it."""
        shipment: Shipment = self.row(request, str(shipment_id))
        if not self.may(request, "operate", shipment):
            raise PermissionDenied
        given = request.POST if request.method == "POST" else request.GET if "amount" in request.GET else None
        form = CorrectionForm(given)
        shown: dict[str, Any] = {}
        if form.is_bound and form.is_valid():
            amount, currency = form.cleaned_data["amount"], form.cleaned_data["currency"]
            try:
                if request.method == "POST":
                    reason = request.POST.get("reason", "")
                    change = costs.correct(shipment, amount, actor=actor_of(request), reason=reason, currency=currency)
                    messages.success(request, f"The cost is {change.after} {change.currency} now. {change.get_state_display()}.")
                    return HttpResponseRedirect(reverse("admin:connector_shipment_change", args=[shipment.pk]))
                shipment.currency = shipment.currency or currency
                costs.check(shipment, amount)
                difference = amount - shipment.cost if shipment.cost is not None else None
                shown = {"amount": amount, "parts": costs.preview(shipment, amount)}
                shown |= {"difference": abs(difference), "less": difference < 0} if difference is not None else {}
            except NotPossible as error:
                messages.error(request, str(error))
        charges = freight.of(shipment)
        response: HttpResponseBase = self.page(
            request,
            "connector/cost.html",
            shipment,
            title=f"Correct the cost of {shipment}",
            form=form,
            charges=charges,
            **shown,
        )
        return response

"""Prices before buying in the console: what was quoted for a document, a button that asks, and the rules that choose."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from connector import asked
from connector.admin.base import TenantAdmin, actor_of
from connector.forms.fields import choice_words
from connector.models import Integration, Shipment, Transfer
from connector.services import quotes, rate_rules
from connector.services.configuration.findings import InvalidConfiguration
from connector.services.shipments import NotPossible
from connector.services.transfers import PRICES
from integrations import registry
from integrations.base.rates import ceiling_of
from integrations.flows.table import KINDS, Option


def quote_context(transfer: Transfer, shipment: Shipment | None = None) -> dict[str, Any]:
    """What a document's page (its shipment's, where one is given) shows of its quotes, and of the one that waits for approval."""
    rows = quotes.of_record(transfer.record_id)
    waits = quotes.to_approve(transfer, rows) if transfer.state == "needs_approval" and transfer.code in PRICES else None
    return {
        "quotes": quotes.shown(rows),
        "quotes_of": transfer,
        "quotes_at": shipment,
        "asking": quotes.asking(rows),
        "may_ask": transfer.flow == "ship",
        "to_approve": waits,
        "rules": quotes.rules_of(transfer.integration) if waits else None,
    }


def ask_for(transfer: Transfer, actor: str) -> str:
    """Have a worker ask for prices. Raises NotPossible."""
    quotes.ask(transfer, actor=actor)
    return "Prices are asked for; nothing is bought. They appear below."


class QuotePages:
    """The table of quotes as a part of its own, for the page that waits for an answer; mixed into the transfers' admin."""

    admin_site: Any
    page: Any
    row: Any

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.quotes_view)
        return [path("<int:transfer_id>/quotes/", view, name="connector_transfer_quotes"), *super().get_urls()]  # type: ignore[misc]

    def quotes_view(self, request: HttpRequest, transfer_id: int) -> HttpResponseBase:
        """Only the table: the page swaps it in."""
        transfer = self.row(request, str(transfer_id))
        wanted = asked.number(request.GET.get("shipment", ""))
        shipment = Shipment.objects.filter(pk=wanted, record=transfer.record_id).first() if wanted is not None else None
        context = quote_context(transfer, shipment)
        response: HttpResponseBase = self.page(request, "connector/quotes.html", transfer, **context)
        return response

    def do_quote(self, request: HttpRequest, obj: Transfer) -> str:
        return ask_for(obj, actor_of(request))


class RulesForm(forms.Form):
    """The options that make the rules, named as in the configuration file."""

    rates = forms.BooleanField(required=False)
    rate_rule = forms.ChoiceField()
    rate_services = forms.CharField(required=False, max_length=1000)
    cost_ceiling = forms.CharField(required=False, max_length=30)

    def __init__(self, *args: Any, integration: Integration, **told: Any) -> None:
        super().__init__(*args, **told)
        self.known = registry.get(integration.target.vendor).services
        table: dict[str, Option] = {option.name: option for option in KINDS[integration.kind].options}
        for name, field in self.fields.items():
            field.label, field.help_text = table[name].label, table[name].help
        self.fields["rate_rule"].choices = [(c, choice_words(c)) for c in table["rate_rule"].choices]  # type: ignore[attr-defined]
        self.fields["rate_services"].help_text += " Separated by commas."

    def clean_rate_services(self) -> list[str]:
        told = self.cleaned_data["rate_services"].replace(",", " ").upper().split()
        strange = [name for name in told if self.known and name not in self.known]
        if strange:
            raise forms.ValidationError(f"The carrier has no service {', '.join(strange)}.")
        return list(dict.fromkeys(told))

    def clean_cost_ceiling(self) -> str:
        text = " ".join(self.cleaned_data["cost_ceiling"].upper().split())
        try:
            ceiling_of(text)
        except ValueError as error:
            raise forms.ValidationError("Enter an amount and its currency, such as 150.00 USD.") from error
        return text

    @classmethod
    def shown(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Options as the form's fields hold them."""
        return options | {
            "rate_services": ", ".join(options["rate_services"] or []),
            "cost_ceiling": options["cost_ceiling"] or "",
        }


class RatePages(TenantAdmin):
    """The page of an integration's rules; mixed into the integrations' admin."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.rates_view)
        return [path("<int:pk>/rates/", view, name="connector_integration_rates"), *super().get_urls()]

    def rates_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """GET: what rules would choose of what was quoted last. POST: put them in force."""
        obj: Integration = self.row(request, str(pk))
        if request.method == "POST" and not self.may(request, "operate", obj):
            raise PermissionDenied
        now = rate_rules.in_force(obj)
        given = request.POST if request.method == "POST" else request.GET if "rate_rule" in request.GET else None
        form = RulesForm(given, integration=obj, initial=RulesForm.shown(now))
        options = form.cleaned_data if form.is_bound and form.is_valid() else now
        if request.method == "POST" and form.is_valid() and self._saved(request, obj, options):
            return HttpResponseRedirect(reverse("admin:connector_integration_rates", args=[obj.pk]))
        found = rate_rules.tried(obj, quotes.rules_of(obj, dict(options)))
        return self.page(
            request,
            "connector/rates.html",
            obj,
            title=f"Prices before buying: {obj}",
            form=form,
            kept=RulesForm.shown(dict(options)),
            base=rate_rules.mark(obj),
            now=now,
            changed=RulesForm.shown(dict(options)) != RulesForm.shown(now),
            found=found,
            totals=rate_rules.totals(found),
            stopped=sum(one.offer is None for one in found),
            asks=sum(one.asks for one in found),
            other=sum(one.offer is not None and not one.same for one in found),
            history=rate_rules.history(obj),
        )

    def _saved(self, request: HttpRequest, obj: Integration, options: dict[str, Any]) -> bool:
        told = request.POST
        try:
            rate_rules.save(obj, options, actor=actor_of(request), reason=told.get("reason", ""), base=told.get("base", ""))
        except (NotPossible, InvalidConfiguration) as error:
            messages.error(request, str(error))
            return False
        messages.success(request, "Saved. It holds from the next document on.")
        return True


__all__ = ["QuotePages", "RatePages", "ask_for", "quote_context"]

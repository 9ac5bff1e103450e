"""Ping of an IFS tenant, layer by layer: login, gateway, companies and sites, rights, the profile against `$metadata`."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from integrations.base.context import Company
from integrations.base.errors import ConfigurationError, IntegrationError
from integrations.base.records import PingLayer
from integrations.ifs_cloud import learning, mapping, uses
from integrations.ifs_cloud.answers import PERMISSION_REMEDY, Row
from integrations.ifs_cloud.odata import Metadata, compare
from integrations.ifs_cloud.order_profile import ORDER_KINDS
from integrations.ifs_cloud.reading import GROUP, Reading
from integrations.ifs_cloud.targets import Target


class Pinging(Reading):
    """The part of the `Erp` role that checks the connection."""

    def ping(self) -> Iterator[PingLayer]:
        """Token, gateway, each company code with its sites, the right to read, the profile against `$metadata`.

        Reads only. After a failed token or gateway nothing else can be told: the rest is `not_checked`.
        """
        profile = self.profile
        kinds = [kind for kind in (mapping.SHIPMENT, *ORDER_KINDS) if kind in self.context.documents()] or [mapping.SHIPMENT]
        # Customers' addresses are read for shipments and orders alike.
        sets = list({target.path: (target, used) for kind in kinds for target, used in uses.uses_of(profile, kind)}.values())
        known = {target.path for target, _ in sets}
        abroad = [(target, used) for target, used in uses.uses_abroad(profile) if target.path not in known]
        first = profile.shipment.header if mapping.SHIPMENT in kinds else sets[0][0]
        described: dict[str, Metadata] = {}

        def gateway() -> PingLayer:
            described[first.service] = self.client.metadata(first)
            return PingLayer("gateway", "ok", f"{first.service} answers at {self.context.urls['base']}.")

        def token() -> PingLayer:
            self.client.tokens.token(self.client.fetch_token)
            return PingLayer("token", "ok", f'The realm "{profile.realm}" gives tokens.')

        fatal: list[tuple[str, Callable[[], PingLayer]]] = [("token", token), ("gateway", gateway)]
        others: list[tuple[str, Callable[[], PingLayer]]] = [
            *((f"company {company.code}", _bound(self._ping_company, company)) for company in self.context.companies),
            *((f"{_plural(target)}: read", _bound(self._ping_read, target)) for target, _ in sets),
            *((f"{_plural(target)}: profile", _bound(self._ping_profile, target, used, described)) for target, used in sets),
            *((f"{_plural(target)}: read", _bound(self._ping_abroad, target, used, described)) for target, used in abroad),
        ]
        going = True
        for name, check in fatal:
            layer = _checked(name, check) if going else PingLayer(name, "not_checked")
            going = going and layer.state == "ok"
            yield layer
        if not self.context.companies:
            others.insert(0, ("companies", _no_companies))
        for name, check in others:
            yield _checked(name, check) if going else PingLayer(name, "not_checked")

    def _ping_company(self, company: Company) -> PingLayer:
        profile, name = self.profile, f"company {company.code}"
        where = compare(profile.site_company_field, "eq", company.code)
        fields = [profile.site_company_field, profile.site_field]
        pages = self.client.pages(profile.sites, operation="ping: sites", where=where, select=fields, orderby=fields)
        listed = sorted({mapping.text(row, profile.site_field) for rows in pages for row in rows} - {""})
        if not listed:
            return PingLayer(
                name,
                "failed",
                f"IFS lists no site for company {company.code}: there is no such company, or the service user may not see it.",
                "Check the company code; if it is right, add it to the service user's Allowed Companies and sites.",
            )
        missing = [site.code for site in company.sites if site.code not in listed]
        shown = ", ".join(listed[:20]) + (" ..." if len(listed) > 20 else "")
        if missing:
            return PingLayer(
                name,
                "failed",
                f"Company {company.code} has no site {', '.join(missing)} that the service user may see. Sites found: {shown}.",
                "Correct the site code here, or allow the site for the service user in IFS.",
            )
        if not company.sites:
            remedy = f"Enter the sites to ship from. Found: {shown}."
            return PingLayer(name, "warning", f"No site of company {company.code} is entered, so nothing is read for it.", remedy)
        return PingLayer(name, "ok", f"Sites {', '.join(site.code for site in company.sites)} are visible.")

    def _ping_read(self, target: Target) -> PingLayer:
        shipment, name = self.profile.shipment, f"{_plural(target)}: read"
        if target is shipment.header and self._company_of:
            # The very query of the poll, so that a wrong state literal or date type shows here and not at night.
            sites = sorted(self._company_of)[:GROUP]
            try:
                rows = self._probe_list(target, sites)
            except ConfigurationError as error:
                if not self._falls_back(error):
                    raise
                rows = self._probe_list(target, sites)
            header = self._named.header
            if differ := learning.differences(
                "shipment", self.profile.state_literal, header.namespace, self._named, self.profile.shipment
            ):
                return PingLayer(name, "warning", f"{_BY_TYPES} {differ}.", _BY_TYPES_REMEDY)
            seen = "one is ready now" if rows else "none is ready now, or the service user may not see the site's shipments"
            return PingLayer(name, "ok", f"The query for ready shipments is accepted; {seen}.")
        if target.path in self._orders and target is self._orders[target.path].order.header and self._company_of:
            rows = self._orders[target.path].probe(sorted(self._company_of)[:GROUP], self.context.now().date())
            seen = "one may be ready now" if rows else "none is ready now, or the service user may not see the site's orders"
            as_named, now = self.profile.documents[target.path], self._orders[target.path].order
            named, asked = as_named.listed, now.listed
            if asked != named:
                told = f"{named.service} lacks a field that a list asks for; {asked.service} is asked after each refusal; {seen}."
                remedy = f"Name {asked.service} in {target.path}.list_service: one call less for each list."
                return PingLayer(name, "warning", told, remedy)
            if differ := learning.differences(target.path, self.profile.state_literal, named.namespace, as_named, now):
                return PingLayer(name, "warning", f"{_BY_TYPES} {differ}.", _BY_TYPES_REMEDY)
            return PingLayer(name, "ok", f"The query for ready {_plural(target)} is accepted; {seen}.")
        rows = self.client.probe(target, operation=f"ping: {name}")
        seen = "" if rows else " It shows no row at present; a missing permission for company or site looks the same."
        return PingLayer(name, "ok", f"{target.set} may be read.{seen}")

    def _probe_list(self, target: Target, sites: Sequence[str]) -> list[Row]:
        where = mapping.list_clause(self.profile, sites, self.context.now().date(), self._poll)
        select = mapping.list_fields(self.profile.shipment, self._poll)
        return self.client.probe(target, operation="ping: shipments: read", where=where, select=select)

    def _ping_profile(self, target: Target, used: Sequence[uses.Use], described: dict[str, Metadata]) -> PingLayer:
        name = f"{_plural(target)}: profile"
        if target.service not in described:
            described[target.service] = self.client.metadata(target)
        metadata = described[target.service]
        if target.set not in metadata.sets:
            near = _nearest(target.set, metadata.sets)
            return PingLayer(name, "failed", f'{target.service} has no set "{target.set}".{near}', f"Correct {target.path}.set.")
        properties = metadata.properties(target.set)
        if not properties:
            return PingLayer(
                name, "warning", f"IFS does not describe the fields of {target.set}.", "Compare the field names by hand."
            )
        missing = [use for use in used if use.name not in properties]
        wrong = [f"{use.setting}: no field {use.name}{_nearest(use.name, properties, ' (', ')')}" for use in missing]
        needed = any(use.needed for use in missing)
        if target.path in self._orders and target is self._orders[target.path].order.header:
            wrong_states = self._orders[target.path].wrong_types(metadata, properties)
            wrong += wrong_states
            needed = needed or bool(wrong_states)
        if target is self.profile.shipment.header:
            wrong_types = self._wrong_types(metadata, properties)
            wrong += wrong_types
            needed = needed or bool(wrong_types)
            stamp = self._poll.stamp_field
            if stamp and stamp not in properties:
                wrong.append(f"shipment.poll.stamp_field: no field {stamp}; the date window is used instead")
        if not wrong:
            return PingLayer(name, "ok", f"All {len(used)} fields of {target.set} that the profile names exist.")
        remedy = "Correct these settings, or set a field to null where the tenant has none (then it is neither read nor written)."
        return PingLayer(name, "failed" if needed else "warning", "; ".join(wrong) + ".", remedy)

    def _ping_abroad(self, target: Target, used: Sequence[uses.Use], described: dict[str, Metadata]) -> PingLayer:
        """Right to read and profile of a set that only parcels abroad need: without it the rest works, so it only warns."""
        name = f"{_plural(target)}: read"
        found = _checked(name, _bound(self._ping_read, target))
        if found.state == "ok":
            found = dataclasses.replace(_checked(name, _bound(self._ping_profile, target, used, described)), layer=name)
        if found.state == "ok":
            return PingLayer(name, "ok", f"{target.set} may be read, for customs data of shipments abroad.")
        message = f"Needed only for shipments across borders: {found.message}"
        return PingLayer(name, "warning", message, found.remedy)

    def _wrong_types(self, metadata: Metadata, properties: dict[str, str]) -> list[str]:
        """Settings of the shipment that would make IFS refuse our literals: date type, state type, unknown states."""
        shipment, poll = self.profile.shipment, self.profile.shipment.poll
        wrong = []
        date_type = properties.get(poll.date_field, "")
        expected = {"date": "Edm.Date", "datetime": "Edm.DateTimeOffset"}[poll.date_type]
        if date_type.startswith("Edm.Date") and date_type != expected:
            wrong.append(f"shipment.poll.date_type: {poll.date_field} is {date_type}, not {expected}")
        state_type = properties.get(shipment.state_field, "")
        if (
            self.profile.state_literal == "enum"
            and state_type
            and state_type not in (shipment.state_enum, f"{shipment.header.namespace}.{shipment.state_enum}")
        ):
            told = "string" if state_type == "Edm.String" else state_type
            wrong.append(f"shipment.state_enum or state_literal: {shipment.state_field} is of type {told}")
        known = metadata.enums.get(state_type, ())
        for state in shipment.ready_states + shipment.cancelled_states:
            if known and state not in known:
                wrong.append(f"a state {state} does not exist; IFS has {', '.join(known)}")
        return wrong


_BY_TYPES = "IFS refuses the literals of the profile; those that its own description asks for are used instead:"
_BY_TYPES_REMEDY = "Correct these settings: a refused call and a look at the description less each hour."


def _checked(name: str, check: Callable[[], PingLayer]) -> PingLayer:
    """What a check found, or why it could not be made."""
    try:
        return check()
    except IntegrationError as error:
        remedy = error.remedy or (PERMISSION_REMEDY if error.code == "forbidden" else "Try again in a few minutes.")
        return PingLayer(name, "failed", error.message, remedy)


def _no_companies() -> PingLayer:
    return PingLayer("companies", "warning", "No company code is entered, so nothing is read.", "Enter company codes and sites.")


def _bound(check: Callable[..., PingLayer], *arguments: Any) -> Callable[[], PingLayer]:
    return lambda: check(*arguments)


def _plural(target: Target) -> str:
    """The words under which a set of the profile stands in a ping."""
    return {
        "shipment": "shipments",
        "shipment.lines": "shipment lines",
        "handling_unit": "handling units",
        "customer_address": "customer addresses",
        "customer_order": "customer orders",
        "shipment.poll.history": "history log",
        "customer_order.lines": "customer order lines",
        "purchase_order": "purchase orders",
        "purchase_order.lines": "purchase order lines",
        "supplier_address": "supplier addresses",
    }[target.path]


def _nearest(name: str, known: Iterable[str], before: str = " ", after: str = ".") -> str:
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"{before}nearest: {', '.join(near)}{after}" if near else ""

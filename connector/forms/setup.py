"""The forms of connections and integrations, grown from manifests and the flow table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django import forms

from connector.forms.fields import (
    JsonField,
    ListField,
    option_field,
    option_initial,
    options_entered,
    schedule_entered,
    schedule_fields,
    schedule_initial,
    schedule_places,
)
from connector.forms.meanwhile import Rows
from connector.forms.setting_fields import field_name, setting_field, settings_entered, settings_with_fields
from connector.models import CompanyCode, Connection, Integration, Tenant
from connector.services.configuration.findings import ConfigError
from integrations.base.vendor import SettingField, Vendor
from integrations.flows.table import OPTION_TOPICS, Kind


@dataclass(slots=True)
class Section:
    """A group of fields under a title; `open` when one of them has an error or something is set there."""

    title: str
    names: list[str]
    fields: list[forms.BoundField] | None = None
    open: bool = False


def sections_of(form: forms.Form, groups: list[Section]) -> list[Section]:
    """The fields that stand in no group first, without a title; then the groups that have fields."""
    grouped = {name for group in groups for name in group.names}
    made = [Section("", [name for name in form.fields if name not in grouped], open=True), *groups]
    for group in made:
        group.fields = [form[name] for name in group.names if name in form.fields]
        group.open = group.open or any(field.errors for field in group.fields)
    return [group for group in made if group.fields]


class ConnectionForm(forms.Form):
    """Grown from the vendor's manifest. Secrets are written, never shown; empty keeps what is stored."""

    name = forms.CharField(max_length=200)

    def __init__(self, *args: Any, vendor: Vendor, existing: Connection | None, may_move: bool, **kwargs: Any) -> None:
        self.vendor = vendor
        self.existing = existing
        super().__init__(*args, **kwargs)
        if existing is None:
            self.fields["slug"] = forms.SlugField(max_length=60, help_text="Short name for scripts; it cannot be changed later.")
        self.fields["environment"] = forms.ChoiceField(
            choices=[(e.key, e.label) for e in vendor.environments],
            disabled=not may_move,
            help_text="" if may_move else "Only an administrator changes where a connection points.",
        )
        for key in vendor.url_keys:
            self.fields[f"url_{key}"] = forms.CharField(
                label=f"URL ({key})" if len(vendor.url_keys) > 1 else "URL",
                required=False,
                disabled=not may_move,
                help_text="Empty: the environment's own. A new host asks for the secrets again.",
            )
        self._credentials()
        for setting in self.settings:
            self.fields[field_name(setting)] = setting_field(vendor, setting)
        self.fields["settings"] = JsonField(
            kind=dict, label="More settings", help_text="For experts, as JSON: only what differs from the defaults."
        )

    @property
    def settings(self) -> tuple[SettingField, ...]:
        """What has a field of its own."""
        return settings_with_fields(self.vendor)

    def _credentials(self) -> None:
        readable = self.existing.secrets_readable if self.existing else True
        stored = {
            **(self.existing.plain if self.existing else {}),
            **(self.existing.secrets() if self.existing and readable else {}),
        }
        self.unseen = {f"credential_{c.key}": str(stored.get(c.key, "")) for c in self.vendor.credentials}
        for credential in self.vendor.credentials:
            has = bool(stored.get(credential.key))
            if credential.secret:
                state = "set" if has else "not set"
                if not readable:
                    state = "unreadable with the present keys"
                widget: forms.Widget = forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"})
                told = f"{state}. " + ("Empty keeps it." if has or not readable else "")
            else:
                widget = forms.TextInput(attrs={"autocomplete": "off"})
                shown = str(stored.get(credential.key, ""))
                told = (f"…{shown[-4:]}. " if credential.masked else f"{shown}. ") + "Empty keeps it." if has else "not set."
            self.fields[f"credential_{credential.key}"] = forms.CharField(
                label=credential.label,
                required=False,
                widget=widget,
                strip=not credential.secret,
                help_text=f"{told} {credential.help}".strip(),
            )
            if has and not credential.required:
                self.fields[f"remove_{credential.key}"] = forms.BooleanField(label=f"Remove {credential.label}", required=False)

    def clean(self) -> dict[str, Any]:
        told: dict[str, Any] = super().clean() or {}
        if (more := told.get("settings")) is not None:
            whole, doubled = settings_entered(self.vendor, more, told)
            for key in doubled:
                self.add_error("settings", f"{key} has a field of its own above; remove it here.")
            told["settings"] = whole
        return told

    @property
    def sections(self) -> list[Section]:
        """The fields in groups."""
        topics: dict[str, list[str]] = {}
        for setting in sorted(self.settings, key=lambda one: bool(one.topic)):
            topics.setdefault(setting.topic or "Settings", []).append(field_name(setting))
        groups = [Section(title, names) for title, names in topics.items()]
        return sections_of(self, [*groups, Section("More settings", ["settings"])])

    @property
    def error_places(self) -> dict[str, str]:
        """Paths of the configuration service to fields of this form, the deeper ones first."""
        found = {f"credentials.{c.key}": f"credential_{c.key}" for c in self.vendor.credentials}
        found |= {f"urls.{key}": f"url_{key}" for key in self.vendor.url_keys}
        found |= {f"settings.{s.key}": field_name(s) for s in self.settings}
        return found | {name: name for name in ("slug", "name", "environment", "settings")}


class CompanyForm(forms.Form):
    """One company code."""

    code = forms.CharField(max_length=40, label="Company code")
    name = forms.CharField(max_length=200, required=False)
    cost_center = forms.CharField(max_length=40, required=False, label="Cost centre")
    freight_account = forms.CharField(max_length=40, required=False, label="Freight account")


class SiteForm(forms.Form):
    """One site of a company code, with the address that parcels are sent from."""

    company = forms.CharField(max_length=40, label="Company code")
    code = forms.CharField(max_length=40, label="Site")
    timezone = forms.CharField(max_length=64, required=False, label="Time zone", help_text="Empty: the tenant's.")
    cut_off = forms.TimeField(
        required=False,
        label="Cut-off",
        help_text="When the carrier collects.",
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
    )
    address_company = forms.CharField(max_length=200, required=False, label="Sender: company")
    address_name = forms.CharField(max_length=200, required=False, label="Person")
    address_phone = forms.CharField(max_length=200, required=False, label="Phone")
    address_email = forms.CharField(max_length=200, required=False, label="E-mail")
    address_lines = forms.CharField(
        required=False, label="Street", widget=forms.Textarea(attrs={"rows": 2}), help_text="Up to three lines."
    )
    address_postal_code = forms.CharField(max_length=200, required=False, label="Postal code")
    address_city = forms.CharField(max_length=200, required=False, label="City")
    address_state = forms.CharField(max_length=200, required=False, label="State")
    address_country = forms.CharField(max_length=2, required=False, label="Country", help_text="Two letters, such as US.")


ADDRESS_PARTS = ("company", "name", "phone", "email", "postal_code", "city", "state", "country")


class WholeRows(forms.BaseFormSet):  # type: ignore[type-arg]
    """Rows that are not sent are rows to be removed: what was shown must all have come, and be what is there now."""

    def clean(self) -> None:
        shown, sent = self.initial_form_count(), self.management_form.cleaned_data["TOTAL_FORMS"]
        if shown != len(self.initial or ()):
            raise forms.ValidationError(
                "Nothing was saved: somebody has added or removed rows while you had this page open. Open it again."
            )
        if (sent or 0) < shown:
            raise forms.ValidationError("Nothing was saved: some rows did not arrive. Open the page again.")


ROWS: dict[str, Any] = {"formset": WholeRows, "can_delete": True, "extra": 1, "max_num": 500, "absolute_max": 600}
Companies = forms.formset_factory(CompanyForm, **ROWS)
Sites = forms.formset_factory(SiteForm, **ROWS)


class CompanyRows:
    """The company codes and sites of a connection as two lists of rows, and as the block of the configuration file."""

    def __init__(self, data: Any, given: list[dict[str, Any]]) -> None:
        self._form_of: dict[str, forms.Form] = {}
        self.companies: Any = Companies(data, prefix="companies", initial=[{**row} for row in given])
        sites = [self._shown(row["code"], site) for row in given for site in row.get("sites", ())]
        self.sites: Any = Sites(data, prefix="sites", initial=sites)

    @staticmethod
    def _shown(company: str, site: Any) -> dict[str, Any]:
        site = {"code": site} if isinstance(site, str) else site
        address = site.get("address") or {}
        shown = {f"address_{part}": address.get(part, "") for part in ADDRESS_PARTS}
        shown["address_lines"] = "\n".join(address.get("lines", ()))
        return shown | {"company": company, **{k: site[k] for k in ("code", "timezone", "cut_off") if site.get(k)}}

    @property
    def lists(self) -> tuple[Rows, ...]:
        """The lists of rows, for comparing what two people did to them."""
        return Rows(self.companies, ("code",), "company code"), Rows(self.sites, ("company", "code"), "site")

    def is_valid(self) -> bool:
        """Whether each row can be read; the service judges what they say together."""
        valid = [self.companies.is_valid(), self.sites.is_valid()]
        if all(valid):
            known = {row.cleaned_data["code"] for row in self._kept(self.companies)}
            for row in self._kept(self.sites):
                if row.cleaned_data["company"] not in known:
                    row.add_error("company", "There is no such company code above.")
                    valid.append(False)
        return all(valid)

    @property
    def wrong(self) -> bool:
        """Whether some row has an error."""
        return any(row.errors for rows in (self.companies, self.sites) if rows.is_bound for row in rows)

    @staticmethod
    def _kept(rows: Any) -> list[forms.Form]:
        return [row for row in rows if row.has_changed() or row.initial if not row.cleaned_data.get("DELETE")]

    def entered(self) -> list[dict[str, Any]]:
        """The block `company_codes`."""
        made: dict[str, dict[str, Any]] = {}
        rows: list[dict[str, Any]] = []
        self._form_of.clear()
        for form in self._kept(self.companies):
            told = form.cleaned_data
            row = {"code": told["code"], "sites": []} | {
                k: told[k] for k in ("name", "cost_center", "freight_account") if told[k]
            }
            self._form_of[f"company_codes[{len(rows)}]"] = form
            rows.append(row)
            made.setdefault(told["code"], row)
        for form in self._kept(self.sites):
            told = form.cleaned_data
            address: dict[str, Any] = {part: told[f"address_{part}"] for part in ADDRESS_PARTS if told[f"address_{part}"]}
            if lines := [line.strip() for line in told["address_lines"].splitlines() if line.strip()]:
                address["lines"] = lines
            site: dict[str, Any] = {"code": told["code"], "address": address or None}
            if told["timezone"]:
                site["timezone"] = told["timezone"]
            if told["cut_off"]:
                site["cut_off"] = f"{told['cut_off']:%H:%M}"
            company = made[told["company"]]
            place = f"company_codes[{rows.index(company)}].sites[{len(company['sites'])}]"
            self._form_of[place] = form
            company["sites"].append(site)
        return rows

    def place_errors(self, errors: Iterable[ConfigError]) -> list[ConfigError]:
        """Put each error at its row; returns those that concern no row."""
        left = []
        for error in errors:
            place = max(
                (p for p in self._form_of if error.path == p or error.path.startswith((p + ".", p + "["))), key=len, default=""
            )
            if not place:
                left.append(error)
                continue
            form = self._form_of[place]
            below = error.path.removeprefix(place).lstrip(".").partition("[")[0]
            field = below.replace("address.", "address_")
            form.add_error(field if field in form.fields else None, error.message)
        return left


class IntegrationForm(forms.Form):
    """Two connections of one tenant and what may be set; new ones start switched off."""

    name = forms.CharField(max_length=200)

    def __init__(self, *args: Any, kind: Kind, tenant: Tenant, existing: Integration | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if existing is None:
            self.fields["slug"] = forms.SlugField(max_length=60, help_text="Short name for scripts; it cannot be changed later.")
        for end, vendor in (("source", kind.source), ("target", kind.target)):
            self.fields[end] = forms.ModelChoiceField(
                queryset=Connection.objects.filter(tenant=tenant, vendor=vendor), to_field_name="slug", empty_label=None
            )
        self.kind = kind
        self.flows = [flow for flow in kind.flows if flow.available]
        self.before = existing
        known = ", ".join(
            CompanyCode.objects.filter(connection__tenant=tenant, connection__vendor=kind.source).values_list("code", flat=True)
        )
        self.fields["company_codes"] = ListField(
            label="Company codes", help_text=f"Empty: all of the source connection{f' ({known})' if known else ''}."
        )
        self.fields["start_from"] = forms.DateTimeField(
            required=False,
            widget=forms.DateTimeInput(attrs={"type": "text", "placeholder": "2026-01-31 00:00"}),
            help_text="Empty: from now on; what stands ready today is not shipped. Otherwise documents dated not before it are.",
        )
        for flow in self.flows:
            self.fields |= schedule_fields(flow)
        for option in kind.options:
            self.fields[f"option_{option.name}"] = option_field(option)

    def clean(self) -> dict[str, Any]:
        told: dict[str, Any] = super().clean() or {}
        for flow in self.flows:
            every, daily = (told.get(f"schedule_{flow.name}_{part}") for part in ("every", "daily"))
            if every is not None and daily:
                self.add_error(f"schedule_{flow.name}_daily", "Enter minutes or times, not both: empty one of the two.")
        if self.errors:
            return told
        stored = self.before.schedule if self.before else {}
        start, before = told.get("start_from"), self.before.start_from if self.before else None
        if start is not None and before is not None and start == before.replace(microsecond=0):
            told["start_from"] = before  # the field shows whole seconds: what nobody touched stays as it is
        shown = {flow.name for flow in self.flows}
        told["schedule"] = {name: block for name, block in stored.items() if name not in shown}
        told["schedule"] |= {flow.name: block for flow in self.flows if (block := schedule_entered(flow, told))}
        told["options"] = options_entered(self.kind.options, told, self.before.options if self.before else {})
        return told

    @property
    def sections(self) -> list[Section]:
        """The fields in groups: schedules by flow, options by topic; options that no topic names come last."""
        groups = [
            Section(f"When: {flow.label}", [name for name in self.fields if name.startswith(f"schedule_{flow.name}_")])
            for flow in self.flows
        ]
        topics = {title: [f"option_{name}" for name in names] for title, names in OPTION_TOPICS.items()}
        named = {name for names in topics.values() for name in names}
        topics["More"] = [f"option_{o.name}" for o in self.kind.options if f"option_{o.name}" not in named]
        groups += [Section(title, names) for title, names in topics.items()]
        return sections_of(self, groups)

    @property
    def error_places(self) -> dict[str, str]:
        """Paths of the configuration service to fields of this form, the deeper ones first."""
        found = {f"options.{o.name}": f"option_{o.name}" for o in self.kind.options}
        for flow in self.flows:
            found |= schedule_places(flow)
        return found | {name: name for name in ("slug", "name", "source", "target", "company_codes", "start_from")}


def integration_initial(kind: Kind, existing: Integration | None) -> dict[str, Any]:
    """What the form shows."""
    options = existing.options if existing else {}
    schedule = existing.schedule if existing else {}
    found = {f"option_{o.name}": option_initial(o, options) for o in kind.options}
    for flow in kind.flows:
        found |= schedule_initial(flow, schedule.get(flow.name, {}))
    if existing is not None:
        found |= {name: getattr(existing, name) for name in ("name", "company_codes", "start_from")}
        found |= {"source": existing.source.slug, "target": existing.target.slug}
    return found

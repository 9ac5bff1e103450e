"""Forms of the console. They parse; the services validate and say which field is wrong."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.password_validation import validate_password

from connector.models import AlertChannel, User
from connector.models.alerts import Cause
from connector.models.tenants import Role, Tenant
from integrations import registry
from integrations.flows.table import KINDS


class VendorForm(forms.Form):
    """The first question of a new connection."""

    vendor = forms.ChoiceField(help_text="It cannot be changed later.")
    tenant = forms.ModelChoiceField(queryset=Tenant.objects.none())

    def __init__(self, *args: Any, tenants: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["vendor"].choices = [(slug, registry.get(slug).label) for slug in registry.slugs()]  # type: ignore[attr-defined]
        self.fields["tenant"].queryset = tenants  # type: ignore[attr-defined]


class KindForm(forms.Form):
    """The first question of a new integration."""

    kind = forms.ChoiceField(help_text="It cannot be changed later.")
    tenant = forms.ModelChoiceField(queryset=Tenant.objects.none())

    def __init__(self, *args: Any, tenants: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["kind"].choices = [(k.slug, k.label) for k in KINDS.values() if k.available]  # type: ignore[attr-defined]
        self.fields["tenant"].queryset = tenants  # type: ignore[attr-defined]


class TenantForm(forms.Form):
    """A customer organisation."""

    name = forms.CharField(max_length=200)
    timezone = forms.CharField(
        max_length=64, initial="UTC", help_text="Such as America/Chicago; times and schedules are in this zone."
    )

    def __init__(self, *args: Any, existing: Tenant | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if existing is None:
            self.fields["slug"] = forms.SlugField(max_length=60, help_text="Short name for scripts; it cannot be changed later.")

    error_places = {"slug": "slug", "name": "name", "timezone": "timezone"}


class CodeForm(forms.Form):
    """One code of the app, or one on paper."""

    code = forms.CharField(
        max_length=40,
        widget=forms.TextInput(
            attrs={
                "autocomplete": "one-time-code",
                "inputmode": "text",
                "autofocus": "",
                "class": "mlc-input",
                "spellcheck": "false",
            }
        ),
    )


class PasswordForm(forms.Form):
    """The password once more, before something about the sign-in changes: an open session alone is not enough."""

    password = forms.CharField(
        strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "class": "mlc-input"})
    )


class UserForm(forms.Form):
    """A person and the role at one tenant. `tenants` and `roles` are what the editor may give."""

    username = forms.CharField(max_length=150, validators=[User.username_validator])
    first_name = forms.CharField(max_length=150, required=False)
    last_name = forms.CharField(max_length=150, required=False)
    email = forms.EmailField(required=False)
    password = forms.CharField(required=False, strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}))
    is_active = forms.BooleanField(required=False, initial=True, label="May sign in")

    def __init__(self, *args: Any, existing: User | None, tenants: Any, roles: list[Role], owner: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.existing = existing
        if existing is not None:
            self.fields["username"].disabled = True
            self.fields["password"].help_text = "Empty keeps it."
        else:
            self.fields["password"].required = True
        self.tenants = list(tenants)
        for tenant in self.tenants:
            self.fields[f"role_{tenant.pk}"] = forms.ChoiceField(
                label=f"Role at {tenant.name}", required=False, choices=[("", "none"), *((r.value, r.label) for r in roles)]
            )
        if owner:
            self.fields["is_superuser"] = forms.BooleanField(required=False, label="Installation owner: everything, every tenant")

    def clean_username(self) -> str:
        name: str = self.cleaned_data["username"]
        if self.existing is None and User.objects.filter(username__iexact=name).exists():
            raise forms.ValidationError("This name is taken.")
        return name

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if password:
            validate_password(password, self.existing or User(username=self.data.get("username", "")))
        return password

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or {}
        if not found.get("is_superuser") and not any(found.get(f"role_{t.pk}") for t in self.tenants):
            raise forms.ValidationError("Give a role at one tenant at least.")
        return found


class ChannelKindForm(forms.Form):
    """The first question of a new alert channel. Only the installation's owner may leave the tenant out."""

    kind = forms.ChoiceField(choices=AlertChannel.Kind.choices, help_text="It cannot be changed later.")
    tenant = forms.ModelChoiceField(queryset=Tenant.objects.none())

    def __init__(self, *args: Any, tenants: Any, owner: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = forms.ModelChoiceField(queryset=tenants, empty_label="The whole installation" if owner else None)
        field.required = not owner
        self.fields["tenant"] = field


class ChannelForm(forms.Form):
    """Where alerts go, which, and when not. URL and secret are written, never shown."""

    name = forms.CharField(max_length=100)

    def __init__(self, *args: Any, kind: str, whose: str, zone: str, existing: AlertChannel | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].help_text = f"Hears of {whose}."
        if kind == AlertChannel.Kind.MAIL:
            self.fields["addresses"] = forms.CharField(
                label="E-mail addresses", widget=forms.Textarea(attrs={"rows": 3}), help_text="One in each line."
            )
        else:
            self._webhook(existing)
        self.fields["causes"] = forms.MultipleChoiceField(
            label="Tell of",
            choices=Cause.choices,
            initial=list(Cause.values),
            widget=forms.CheckboxSelectMultiple(attrs={"class": "mlc-choices"}),
        )
        told = (
            f"Time zone {zone}. Empty: none. In quiet hours only “Stands still” and “In doubt” are told; the rest follows after."
        )
        for name, label, help_text in (("quiet_from", "Quiet hours from", ""), ("quiet_until", "Quiet hours until", told)):
            self.fields[name] = forms.TimeField(
                label=label, required=False, widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"), help_text=help_text
            )

    def _webhook(self, existing: AlertChannel | None) -> None:
        stored: dict[str, str] = {}
        readable = existing is None or existing.secrets_readable
        if existing is not None and readable:
            stored = existing.secrets()
        keep = "" if existing is None else f"It points at {existing.host} and is not shown. Empty keeps it."
        if not readable:
            keep = "Unreadable with the present keys. Enter it again."
        hidden = {"autocomplete": "new-password", "spellcheck": "false"}
        self.fields["url"] = forms.CharField(
            label="URL",
            required=existing is None,
            max_length=1000,
            widget=forms.PasswordInput(render_value=False, attrs=hidden),
            help_text=keep or "https. The address that Slack, Teams or Mattermost gave you, or your own receiver's.",
        )
        has = bool(stored.get("secret"))
        self.fields["secret"] = forms.CharField(
            label="Signing secret",
            required=False,
            strip=False,
            max_length=200,
            widget=forms.PasswordInput(render_value=False, attrs=hidden),
            help_text=("Set. Empty keeps it. " if has else "") + "For a receiver of your own; chat tools need none.",
        )
        if has:
            self.fields["remove_secret"] = forms.BooleanField(label="Remove the signing secret", required=False)

    def clean_addresses(self) -> list[str]:
        text: str = self.cleaned_data["addresses"]
        return [part for part in text.replace(",", " ").replace(";", " ").split() if part]

    error_places = {name: name for name in ("name", "addresses", "url", "secret", "causes", "quiet_from", "quiet_until")}

"""Settings of a connection that have a field of their own; the rest stays JSON, and nothing stored gets lost between the two."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from django import forms

from connector.forms.fields import UNSET, ListField
from integrations.base.vendor import SettingField, Vendor

NULL = "-"
"""How null is entered where a field has a default that is something else."""
ABSENT = object()

PARALLEL = SettingField(
    "max_parallel",
    "Calls at a time",
    "integer",
    "By all workers together, as the vendor's contract allows.",
    minimum=1,
    maximum=64,
)


def settings_with_fields(vendor: Vendor) -> tuple[SettingField, ...]:
    """What has a field of its own."""
    return (*vendor.setting_fields, PARALLEL)


def field_name(setting: SettingField) -> str:
    """The name of its field in the form."""
    return f"setting_{setting.key.replace('.', '__')}"


def setting_field(vendor: Vendor, setting: SettingField) -> forms.Field:
    """The field of one setting; empty keeps the vendor's default."""
    default: Any = vendor.max_parallel if setting is PARALLEL else _at(vendor.settings_defaults, setting.key)
    default = None if default is ABSENT else default
    told: dict[str, Any] = {"label": setting.label, "required": False, "help_text": _help(setting)}
    if setting.kind == "integer":
        widget = forms.NumberInput(attrs={"placeholder": str(default)})
        return forms.IntegerField(min_value=setting.minimum, max_value=setting.maximum, widget=widget, **told)
    if setting.kind == "choice":
        return forms.ChoiceField(choices=[(UNSET, f"{default} (the default)"), *((c, c) for c in setting.choices)], **told)
    if setting.kind == "list":
        return ListField(widget=forms.TextInput(attrs={"placeholder": ", ".join(default or ())}), **told)
    return forms.CharField(max_length=500, widget=forms.TextInput(attrs={"placeholder": str(default or "")}), **told)


def _help(setting: SettingField) -> str:
    return f"{setting.help} A dash ({NULL}): {setting.unset}.".strip() if setting.unset else setting.help


def settings_initial(vendor: Vendor, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the form shows for stored settings: those that a field of their own can show there, the others as JSON."""
    rest: dict[str, Any] = copy.deepcopy(dict(settings))
    found: dict[str, Any] = {}
    for setting in settings_with_fields(vendor):
        value = _at(rest, setting.key)
        if value is None and setting.unset:
            found[field_name(setting)] = NULL
        elif _can_show(setting, value):
            found[field_name(setting)] = value
        else:
            continue
        _take(rest, setting.key.split("."))
    return found | {"settings": rest}


def _can_show(setting: SettingField, value: Any) -> bool:
    """Whether the field gives back exactly this value when nobody touches it."""
    if setting.kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if setting.kind == "list":
        return isinstance(value, list) and bool(value) and ListField().clean(ListField().prepare_value(value)) == value
    if not isinstance(value, str) or not value or value != value.strip() or value == NULL:
        return False
    return setting.kind == "text" or value in setting.choices


def settings_entered(vendor: Vendor, rest: Mapping[str, Any], told: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The whole settings from the JSON and the fields, and the paths where the two contradict each other."""
    whole: dict[str, Any] = copy.deepcopy(dict(rest))
    doubled = []
    for setting in settings_with_fields(vendor):
        value = told.get(field_name(setting))
        if value in (None, UNSET, []):
            continue
        value = None if value == NULL and setting.unset else value
        there = _at(whole, setting.key)
        if there is not ABSENT and there != value or not _put(whole, setting.key.split("."), value):
            doubled.append(setting.key)
    return whole, doubled


def _at(settings: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(settings, Mapping) or key not in settings:
            return ABSENT
        settings = settings[key]
    return settings


def _put(block: dict[str, Any], keys: list[str], value: Any) -> bool:
    """False where something else stands in the way."""
    for key in keys[:-1]:
        if not isinstance(below := block.setdefault(key, {}), dict):
            return False
        block = below
    block[keys[-1]] = value
    return True


def _take(block: dict[str, Any], keys: list[str]) -> None:
    """Remove a value, and the blocks that this leaves empty."""
    if len(keys) > 1:
        _take(block[keys[0]], keys[1:])
    if len(keys) == 1 or not block[keys[0]]:
        del block[keys[0]]

"""Fields that grow from tables: options, schedules, settings; and errors of the services at the field they belong to."""

from __future__ import annotations

import calendar
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from django import forms

from connector import words
from connector.services.configuration.findings import ConfigError
from connector.services.configuration.reading import check_plain, read_json
from integrations.flows.table import FlowDef, Option

UNSET = ""
HOURS_A_DAY = 24
WRONG_SHOWN = 5
EVERY_DAY = tuple(range(7))


class JsonField(forms.CharField):
    """JSON as text; the error names line and column. Empty keeps `empty_value`."""

    def __init__(self, *, kind: type, **options: Any) -> None:
        self.kind = kind
        options.setdefault("required", False)
        super().__init__(widget=forms.Textarea(attrs={"class": "mlc-json", "rows": 8, "spellcheck": "false"}), **options)

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text.strip():
            return self.kind()
        try:
            found = read_json(text)
        except ValueError as error:
            raise forms.ValidationError(f"This is not JSON: {error}") from error
        except RecursionError as error:
            raise forms.ValidationError("This is nested too deeply.") from error
        if wrong := check_plain(found).errors:
            raise forms.ValidationError(
                [f"{one.path}: {one.message}" if one.path else one.message for one in wrong[:WRONG_SHOWN]]
            )
        if not isinstance(found, self.kind):
            wanted = "an object in { }" if self.kind is dict else "a list in [ ]"
            raise forms.ValidationError(f"Enter {wanted}.")
        return found


class ListField(forms.CharField):
    """Several short values in one line, parted by commas or blanks."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("required", False)
        super().__init__(**options)

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(str(one) for one in value) if isinstance(value, list | tuple) else value

    def clean(self, value: Any) -> Any:
        return [part for part in re.split(r"[,;\s]+", super().clean(value)) if part]


class ChosenField(forms.MultipleChoiceField):
    """Some of a few, as check boxes. `kind` makes values of the strings that a browser sends."""

    def __init__(self, *, kind: type = str, **options: Any) -> None:
        self.kind = kind
        options.setdefault("required", False)
        super().__init__(widget=forms.CheckboxSelectMultiple(attrs={"class": "mlc-choices"}), **options)

    def clean(self, value: Any) -> Any:
        return [self.kind(one) for one in super().clean(value)]


def choice_words(value: str) -> str:
    """A choice as people read it: the vendors' own codes stay as they are, ours are put in words."""
    return words.words(value) if value.islower() else value


# -- options of an integration -----------------------------------------------------------------------


def option_field(option: Option) -> forms.Field:
    """The field of one option. Left unset, the option has its default, also one that a later release changes."""
    told: dict[str, Any] = {"label": option.label, "required": False, "help_text": _help(option)}
    default = _said(option.default)
    if option.kind == "choice":
        return forms.ChoiceField(choices=[(UNSET, default), *((c, choice_words(c)) for c in option.choices)], **told)
    if option.kind == "boolean":
        return forms.TypedChoiceField(
            choices=[(UNSET, default), ("true", "Yes"), ("false", "No")],
            coerce=lambda text: text == "true",
            empty_value=None,
            **told,
        )
    if option.kind == "integer":
        widget = forms.NumberInput(attrs={"placeholder": "" if option.default is None else str(option.default)})
        return forms.IntegerField(min_value=option.minimum, widget=widget, **told)
    if option.kind == "list" and option.choices:
        return ChosenField(choices=[(c, choice_words(c)) for c in option.choices], initial=list(option.default or ()), **told)
    if option.kind == "list":
        return ListField(**told)
    hint = option.default or option.example
    return forms.CharField(max_length=300, widget=forms.TextInput(attrs={"placeholder": hint}), **told)


def option_initial(option: Option, given: Mapping[str, Any]) -> Any:
    """What the field of an option shows for the stored options."""
    value = given.get(option.name, given.get(option.formerly) if option.formerly else None)
    if value is None:
        return list(option.default or ()) if option.kind == "list" and option.choices else UNSET
    if isinstance(value, bool):
        return "true" if value else "false"
    return value


def options_entered(options: Iterable[Option], told: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The options to store; a list that is the default is stored only where it was before."""
    made: dict[str, Any] = {}
    for option in options:
        value = told[f"option_{option.name}"]
        if value in (UNSET, None) or (option.kind == "list" and not option.choices and not value):
            continue
        if option.kind == "list" and option.choices and option.name not in before and set(value) == set(option.default or ()):
            continue
        made[option.name] = value
    return made


def _help(option: Option) -> str:
    if option.kind in ("text", "integer") and option.default is not None and option.help:
        return f"{option.help} Empty: {option.default}."
    if option.kind in ("text", "integer") and option.default is not None:
        return f"Empty: {option.default}."
    return option.help


def _said(default: Any) -> str:
    if default is None:
        return "Not set"
    if isinstance(default, bool):
        return f"{'Yes' if default else 'No'} (the default)"
    return f"{choice_words(str(default))} (the default)"


# -- schedules ---------------------------------------------------------------------------------------


def schedule_fields(flow: FlowDef) -> dict[str, forms.Field]:
    """The fields of one flow's schedule by name."""
    start = f"schedule_{flow.name}"
    hours = [(UNSET, "–"), *((str(h), f"{h:02}:00") for h in range(HOURS_A_DAY + 1))]
    return {
        f"{start}_every": forms.IntegerField(
            label=f"{flow.label}: every … minutes",
            required=False,
            widget=forms.NumberInput(attrs={"placeholder": str(flow.every_minutes), "min": 1, "max": 1440}),
            help_text=f"Empty: every {flow.every_minutes} minutes, or at the times below.",
        ),
        f"{start}_daily": ListField(label=f"{flow.label}: daily at", help_text="Instead: times such as 06:00, 14:30."),
        f"{start}_days": ChosenField(
            kind=int,
            label=f"{flow.label}: on",
            choices=[(str(day), calendar.day_name[day]) for day in EVERY_DAY],
            initial=[str(day) for day in EVERY_DAY],
        ),
        f"{start}_from": forms.ChoiceField(label=f"{flow.label}: not before", required=False, choices=hours[:-1]),
        f"{start}_until": forms.ChoiceField(
            label=f"{flow.label}: not after",
            required=False,
            choices=[hours[0], *hours[2:]],
            help_text="In the tenant's time zone. Outside these hours nothing is fetched; what was fetched is carried on.",
        ),
    }


def schedule_initial(flow: FlowDef, given: Mapping[str, Any]) -> dict[str, Any]:
    """What those fields show for a stored schedule block."""
    start = f"schedule_{flow.name}"
    first, last = given.get("hours", (UNSET, UNSET))
    return {
        f"{start}_every": given.get("every_minutes"),
        f"{start}_daily": given.get("daily_at", []),
        f"{start}_days": [str(day) for day in given.get("weekdays", EVERY_DAY)],
        f"{start}_from": str(first),
        f"{start}_until": str(last),
    }


def schedule_entered(flow: FlowDef, told: Mapping[str, Any]) -> dict[str, Any]:
    """The schedule block that was entered; empty: the flow's own."""
    every, daily, days, first, last = (
        told.get(f"schedule_{flow.name}_{part}") for part in ("every", "daily", "days", "from", "until")
    )
    made: dict[str, Any] = {}
    if every is not None:
        made["every_minutes"] = every
    if daily:
        made["daily_at"] = daily
    if days is not None and set(days) != set(EVERY_DAY):
        made["weekdays"] = sorted(days)
    if first or last:
        made["hours"] = [int(first or 0), int(last or HOURS_A_DAY)]
    return made


def schedule_places(flow: FlowDef) -> dict[str, str]:
    """Paths of the configuration service to these fields."""
    path, start = f"schedule.{flow.name}", f"schedule_{flow.name}"
    parts = {"every_minutes": "every", "daily_at": "daily", "weekdays": "days", "hours": "from"}
    return {f"{path}.{key}": f"{start}_{part}" for key, part in parts.items()} | {path: f"{start}_every"}


# -- errors --------------------------------------------------------------------------------------------


def place_errors(form: forms.Form, errors: Iterable[ConfigError], names: dict[str, str]) -> None:
    """Put each error at the field that its path begins with, the deepest one; what fits nowhere goes on top."""
    for error in errors:
        prefix = next((p for p in names if error.path == p or error.path.startswith((p + ".", p + "["))), "")
        field = names.get(prefix)
        # A place within a field of several values says nothing that the message does not.
        below = "" if error.path == prefix or re.fullmatch(r"\[\d+\]", error.path[len(prefix) :]) else error.path
        message = f"{below}: {error.message}" if below else error.message
        if field not in form.fields:
            form.add_error(None, message)
        elif message not in form.errors.get(field, ()):
            form.add_error(field, message)

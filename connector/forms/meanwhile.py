"""Two people have one form open: what the other changed stays, and what both changed is shown with both values.

A page carries what it showed (`Seen.text`, a hidden field). When it comes back, each field is compared three ways: as
shown, as entered, as stored now. What the form does not show (a secret) is compared by a keyed digest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.utils.crypto import salted_hmac

SEEN = "seen"
SHOWN_CAP = 1000
"""Characters of a value in a message."""
NOTHING = "nothing"

Values = dict[str, list[str]]
"""What a browser sends by name; a field that is sent empty is left out."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A list of rows in a form. `key` names the fields that tell one row from another."""

    formset: Any
    key: tuple[str, ...]
    noun: str

    def stored(self) -> list[tuple[list[str], Values]]:
        """The rows that are stored now, each with its key."""
        found = []
        for form in self.formset.initial_forms:
            values = {name.removeprefix(f"{form.prefix}-"): value for name, value in sent(form).items()}
            found.append((self.key_of(values), values))
        return found

    def key_of(self, values: Values) -> list[str]:
        """What the row is called."""
        return [" ".join(values.get(name, ())) for name in self.key]

    def named(self, key: Sequence[str]) -> str:
        """The row in words."""
        return f"{self.noun} {', '.join(key)}"


@dataclass(slots=True)
class Seen:
    """A form as it would be shown now: unbound, with what is stored. `unseen` are stored values that it never shows."""

    form: forms.Form
    rows: Sequence[Rows] = ()
    unseen: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """For the hidden field of the page."""
        rows = {one.formset.prefix: one.stored() for one in self.rows}
        return json.dumps({"fields": sent(self.form), "rows": rows, "marks": self.marks()}, ensure_ascii=False)

    def marks(self) -> dict[str, str]:
        """Tell one stored value from another without telling it."""
        return {name: salted_hmac("connector.forms.meanwhile", value).hexdigest() for name, value in self.unseen.items() if value}


@dataclass(slots=True)
class Merged:
    """What to bind a form to. `kept` names what somebody else changed and stays, `conflicts` what both changed."""

    data: Any
    kept: list[str] = field(default_factory=list)
    conflicts: dict[str, str] = field(default_factory=dict)

    def tell(self, form: forms.Form, rows: Sequence[Rows] = ()) -> bool:
        """Put each conflict at its field or row; True when there are some, and nothing may be saved."""
        for name, message in self.conflicts.items():
            place, at = form, name
            for row in (row for one in rows for row in one.formset if name.startswith(f"{row.prefix}-")):
                place, at = row, name.removeprefix(f"{row.prefix}-")
            place.add_error(at if at in place.fields else None, message)
        return bool(self.conflicts)

    @property
    def news(self) -> str:
        """One sentence for the person who saved; empty when nobody else was at it."""
        return f"Somebody else changed this meanwhile, and that stays: {', '.join(self.kept)}." if self.kept else ""


def sent(form: forms.BaseForm) -> Values:
    """What a browser sends for the form as it is first shown, when nobody touches it."""
    found = {bound.html_name: _first_shown(bound) for bound in form if not bound.field.disabled and bound.name != "DELETE"}
    return {name: values for name, values in found.items() if values}


def merge(data: Any, now: Seen) -> Merged:
    """Bring together what was shown, what came back and what is stored.

    A post that does not tell what it saw (a script's) is taken as it is.
    """
    told = _seen(data.get(SEEN, ""))
    if told is None:
        return Merged(data)
    fields, marks, rows = told
    merged = Merged(data.copy())
    stored = sent(now.form)
    for bound in now.form:
        name = bound.html_name
        if bound.field.disabled:
            continue
        chosen = _choose(fields.get(name, []), _told(data, name), stored.get(name, []))
        _take(merged, name, str(bound.label), chosen, bound)
    for name, mark in (dict.fromkeys(now.unseen, "") | now.marks()).items():
        if mark != marks.get(name, "") and (_told(data, name) or _told(data, _removing(name))):
            merged.conflicts[name] = (
                "Somebody else changed this while you had the page open. Enter yours again and save to put it in its place."
            )
    for one in now.rows:
        _merge_rows(merged, data, one, rows.get(one.formset.prefix, []))
    return merged


def _seen(text: str) -> tuple[Values, dict[str, str], dict[str, list[tuple[list[str], Values]]]] | None:
    """What a page says that it showed: fields, marks and rows; None for anything that no page of ours says."""
    try:
        told = json.loads(text)
        fields, marks = _values(told["fields"]), {str(name): str(mark) for name, mark in told["marks"].items()}
        rows = {str(name): [(_texts(key), _values(row)) for key, row in shown] for name, shown in told["rows"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return fields, marks, rows


def _texts(told: Any) -> list[str]:
    if not isinstance(told, list) or not all(isinstance(one, str) for one in told):
        raise TypeError("no list of texts")
    return told


def _values(told: Any) -> Values:
    return {str(name): _texts(values) for name, values in told.items()}


def _removing(name: str) -> str:
    """The check box that takes away what stands in a field."""
    return f"remove_{name.removeprefix('credential_')}"


@dataclass(frozen=True, slots=True)
class _Choice:
    """One field: what it is to be, and whose word that is ("mine", "theirs", "conflict")."""

    values: list[str]
    whose: str
    before: list[str]
    theirs: list[str]


def _choose(before: list[str], mine: list[str], theirs: list[str]) -> _Choice:
    if mine == before:
        return _Choice(theirs, "mine" if theirs == before else "theirs", before, theirs)
    return _Choice(mine, "mine" if theirs in (before, mine) else "conflict", before, theirs)


def _take(merged: Merged, name: str, label: str, chosen: _Choice, bound: forms.BoundField) -> None:
    if chosen.whose == "theirs":
        merged.data.setlist(name, chosen.values)
        merged.kept.append(label)
    elif chosen.whose == "conflict":
        merged.conflicts[name] = (
            f"Somebody else changed this from {_words(bound, chosen.before)} to {_words(bound, chosen.theirs)} while you had the "
            "page open. Yours stands here: save again to put it in place, or enter theirs."
        )


def _words(bound: forms.BoundField, values: Sequence[str]) -> str:
    """Values as the form shows them."""
    labels = {str(key): str(label) for key, label in getattr(bound.field, "choices", ())} if len(values) else {}
    told = ", ".join(labels.get(value, value) for value in values)
    return f"“{told[:SHOWN_CAP]}”" if told else NOTHING


def _told(data: Any, name: str) -> list[str]:
    """What came back for a name, as `sent` tells it."""
    return sorted(value.replace("\r\n", "\n") for value in data.getlist(name) if value)


def _first_shown(bound: forms.BoundField) -> list[str]:
    widget: Any = bound.field.widget
    value = bound.field.prepare_value(bound.initial)
    if isinstance(widget, forms.CheckboxInput):
        return ["on"] if widget.check_test(value) else []
    if isinstance(widget, forms.PasswordInput) and not widget.render_value:
        return []
    shown = widget.format_value(value)
    values = [str(one) for one in (shown if isinstance(shown, list | tuple) else [shown]) if one is not None]
    if isinstance(widget, forms.Select) and not widget.allow_multiple_selected:
        offered = [str(key) for key, _ in bound.field.choices]  # type: ignore[attr-defined]
        values = [one for one in values if one in offered] or offered[:1]
    return sorted(one.replace("\r\n", "\n") for one in values if one)


# -- rows ------------------------------------------------------------------------------------------------


def _merge_rows(merged: Merged, data: Any, rows: Rows, before: Sequence[tuple[list[str], Values]]) -> None:
    """Rows are told apart by their key, since those that others added or removed move the rest."""
    prefix, names = rows.formset.prefix, [name for name in rows.formset.empty_form.fields if name != "DELETE"]
    try:
        total, initial = (int(data[f"{prefix}-{kind}_FORMS"]) for kind in ("TOTAL", "INITIAL"))
    except (KeyError, ValueError):
        return  # the list of rows says what is wrong with it
    if initial != len(before) or total < initial or total > rows.formset.absolute_max:
        return
    mine = [_entered(data, f"{prefix}-{n}", names) for n in range(total)]
    shown = {tuple(key): (mine[n], values) for n, (key, values) in enumerate(before)}
    fresh = mine[initial:]
    stored = rows.stored()
    made: list[_Entered] = []
    for key, theirs in stored:
        entered, was = shown.pop(tuple(key), (None, {}))
        if entered is None:
            entered = next((row for row in fresh if row.values and rows.key_of(row.values) == key), None)
            if entered is None:
                merged.kept.append(rows.named(key))
                made.append(_Entered(theirs))
                continue
            fresh.remove(entered)
        made.append(_merge_row(merged, f"{prefix}-{len(made)}", rows, key, (was, entered, theirs)))
    for gone, (entered, was) in shown.items():
        if entered.removed or entered.values == was:
            merged.kept += [] if entered.removed else [f"{rows.named(gone)} (removed)"]
            continue
        merged.conflicts[f"{prefix}-{len(made)}-"] = (
            "Somebody else removed this while you had the page open. Yours stands here: save again to have it back."
        )
        made.append(entered)
    _write(merged.data, prefix, names, [*made, *fresh], len(stored))


@dataclass(slots=True)
class _Entered:
    """One row as it came back."""

    values: Values
    removed: bool = False


def _entered(data: Any, place: str, names: Sequence[str]) -> _Entered:
    found = {name: _told(data, f"{place}-{name}") for name in names}
    return _Entered({name: values for name, values in found.items() if values}, bool(data.get(f"{place}-DELETE")))


def _merge_row(merged: Merged, place: str, rows: Rows, key: Sequence[str], told: tuple[Values, _Entered, Values]) -> _Entered:
    """One row that both have: field by field, or a removal that has not seen the change."""
    was, entered, theirs = told
    if entered.removed:
        if theirs != was:
            changed = [name for name in {**was, **theirs} if was.get(name) != theirs.get(name)]
            labels = ", ".join(str(rows.formset.empty_form[name].label) for name in changed)
            merged.conflicts[f"{place}-"] = (
                f"Somebody else changed this while you had the page open ({labels}). Save again to remove it all the same."
            )
        return _Entered(theirs, removed=True)
    values: Values = {}
    for name in {**was, **entered.values, **theirs}:
        bound = rows.formset.empty_form[name]
        chosen = _choose(was.get(name, []), entered.values.get(name, []), theirs.get(name, []))
        values[name] = chosen.values
        if chosen.whose == "theirs":
            merged.kept.append(f"{rows.named(key)}: {bound.label}")
        elif chosen.whose == "conflict":
            _take(merged, f"{place}-{name}", "", chosen, bound)
    return _Entered({name: value for name, value in values.items() if value})


def _write(data: Any, prefix: str, names: Sequence[str], rows: Sequence[_Entered], initial: int) -> None:
    """Put the rows where a browser would have put them."""
    for name in [name for name in data if name.startswith(f"{prefix}-") and name.removeprefix(f"{prefix}-")[:1].isdigit()]:
        del data[name]
    for n, row in enumerate(rows):
        for name in names:
            data.setlist(f"{prefix}-{n}-{name}", row.values.get(name, [""]))
        if row.removed:
            data[f"{prefix}-{n}-DELETE"] = "on"
    data[f"{prefix}-TOTAL_FORMS"], data[f"{prefix}-INITIAL_FORMS"] = str(len(rows)), str(initial)

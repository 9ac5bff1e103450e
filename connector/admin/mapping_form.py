"""The form of the mapping editor: a few fields for each slot, rows for each value map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms

from connector.services.configuration.findings import ConfigError
from connector.services.mappings import State
from integrations.flows.table import Kind, Slot

ROWS_CAP = 200
"""A map with more entries is edited as lines: a browser form has room for about a thousand fields."""
EMPTY_ROWS = 2

OWN, SOURCE, CONSTANT = "own", "source", "constant"
SEPARATORS = ("\t", "=>", "→")


def lines_of(table: Mapping[str, str]) -> str:
    """A value map as text, one entry a line."""
    return "\n".join(f"{key} => {code}" for key, code in table.items())


class RowForm(forms.Form):
    """One entry of a value map."""

    key = forms.CharField(required=False, max_length=500)
    code = forms.CharField(required=False, max_length=500)
    remove = forms.BooleanField(required=False)

    def clean(self) -> dict[str, Any]:
        told: dict[str, Any] = super().clean() or {}
        if not told.get("remove") and bool(told.get("key")) != bool(told.get("code")):
            raise forms.ValidationError("Fill in both sides, or remove the row.")
        return told


RowSet = forms.formset_factory(RowForm, extra=EMPTY_ROWS, max_num=2000, absolute_max=2100)


class MappingForm(forms.Form):
    """All slots and value maps of an integration, as a new version of them.

    `base` is the mark of the version on which the page was opened, `reviewed` that of what was shown before saving,
    `back_to` the audit entry of an earlier version that was taken up.
    """

    base = forms.CharField(widget=forms.HiddenInput)
    reviewed = forms.CharField(required=False, widget=forms.HiddenInput)
    back_to = forms.IntegerField(required=False, widget=forms.HiddenInput)
    record = forms.CharField(
        required=False,
        max_length=120,
        label="Document",
        help_text="Such as shipment:19, 19 or customer_order:S10023/2. Empty: one that the change concerns, else the newest.",
    )

    def __init__(
        self, data: Any = None, *, kind: Kind, state: State, base: str, record: str = "", add: Mapping[str, str] | None = None
    ) -> None:
        """`state` fills the form, on the version `base`; `add` holds a new row for each map, its code left open."""
        self.kind = kind
        super().__init__(data, initial={"base": base, "record": record})
        for slot in kind.slots:
            self._slot_fields(slot, state.slot(slot.name))
        self.maps: dict[str, Any] = {}
        for name in kind.value_maps:
            self._map_fields(name, state.value_maps.get(name, {}), (add or {}).get(name))
        self.kept_empty = {name for name, table in state.value_maps.items() if not table}

    def _slot_fields(self, slot: Slot, own: Mapping[str, Any]) -> None:
        mode = CONSTANT if own.get("constant") else SOURCE if own.get("source") else OWN
        choices = [(OWN, f"The usual field ({slot.source})"), (SOURCE, "Another field"), (CONSTANT, "Always the same text")]
        made: dict[str, forms.Field] = {
            "mode": forms.ChoiceField(choices=choices, initial=mode, label=f"{slot.label}: where it comes from"),
            "source": forms.CharField(
                required=False, max_length=500, initial=own.get("source", ""), label="Field of the document (JMESPath)"
            ),
            "constant": forms.CharField(required=False, max_length=500, initial=own.get("constant", ""), label="The text"),
            "default": forms.CharField(required=False, max_length=500, initial=own.get("default", ""), label="If that is empty"),
        }
        for part, field in made.items():
            field.widget.attrs |= {"data-part": part, "autocomplete": "off", "spellcheck": "false"}
            self.fields[f"slot-{slot.name}-{part}"] = field

    def _map_fields(self, name: str, table: Mapping[str, str], add: str | None) -> None:
        large = len(table) > ROWS_CAP
        rows = [] if large else [{"key": key, "code": code} for key, code in table.items()]
        if add and add not in table:
            rows.append({"key": add, "code": ""})
        data = self.data if self.is_bound else None
        self.maps[name] = RowSet(data, initial=rows, prefix=f"map-{name}")
        self.fields[f"lines-{name}"] = forms.CharField(
            required=False,
            initial=lines_of(table) if large else "",
            label="Entries, one a line" if large else "Add many, one a line",
            help_text="The document's value, then => or a tab, then the code. Two columns of a spreadsheet can be pasted.",
            widget=forms.Textarea(attrs={"rows": 12 if large else 3, "class": "mlc-json", "spellcheck": "false"}),
        )

    def is_valid(self) -> bool:
        """The form and all rows."""
        return all([super().is_valid(), *(rows.is_valid() for rows in self.maps.values())])

    # -- reading ---------------------------------------------------------------------------------------

    def state(self) -> State:
        """What was entered, as a version. Adds errors for what cannot be told apart; call after `is_valid`."""
        mappings = [row for slot in self.kind.slots if len(row := self._slot_row(slot)) > 1]
        value_maps = {}
        for name in self.kind.value_maps:
            table = self._table(name)
            if table or name in self.kept_empty:
                value_maps[name] = table
        return State(mappings, value_maps)

    def _slot_row(self, slot: Slot) -> dict[str, Any]:
        told = {part: self.cleaned_data.get(f"slot-{slot.name}-{part}", "") for part in ("mode", "source", "constant", "default")}
        row: dict[str, Any] = {"slot": slot.name}
        if told["mode"] in (SOURCE, CONSTANT):
            part = told["mode"]
            if not told[part]:
                what = "which field of the document" if part == SOURCE else "the text"
                self.add_error(f"slot-{slot.name}-{part}", f"Enter {what}, or choose the usual field.")
            row[part] = told[part]
        if told["default"]:
            row["default"] = told["default"]
        return row

    def _table(self, name: str) -> dict[str, str]:
        pairs = [(r.cleaned_data.get("key", ""), r.cleaned_data.get("code", "")) for r in self.maps[name] if self._counts(r)]
        pairs += self._lines(name)
        made: dict[str, str] = {}
        for key, code in pairs:
            if made.setdefault(key, code) != code:
                self.add_error(f"lines-{name}", f"“{key}” is mapped twice: to {made[key]} and to {code}.")
        return made

    @staticmethod
    def _counts(row: RowForm) -> bool:
        told = row.cleaned_data
        return bool(told.get("key") and told.get("code") and not told.get("remove"))

    def _lines(self, name: str) -> Iterable[tuple[str, str]]:
        for number, line in enumerate(self.cleaned_data.get(f"lines-{name}", "").splitlines(), 1):
            if not line.strip():
                continue
            mark = next((s for s in SEPARATORS if s in line), "")
            key, _, code = (part.strip() for part in line.partition(mark)) if mark else (line.strip(), "", "")
            if key and code:
                yield key, code
            else:
                self.add_error(f"lines-{name}", f"Line {number} is no pair: “{line.strip()[:60]}”.")

    def place(self, errors: Iterable[ConfigError], state: State) -> None:
        """Put the configuration service's errors at the fields they speak of."""
        for error in errors:
            head, _, rest = error.path.partition(".")
            if head.startswith("mappings[") and head[9:-1].isdigit():
                slot = state.mappings[int(head[9:-1])]["slot"]
                field = f"slot-{slot}-{rest}" if rest else f"slot-{slot}-mode"
                self.add_error(field if field in self.fields else None, error.message)
            elif head == "value_maps":
                name, _, key = rest.partition(".")
                self.add_error(f"lines-{name}" if f"lines-{name}" in self.fields else None, f"{key}: {error.message}")
            else:
                self.add_error(None, f"{error.path}: {error.message}" if error.path else error.message)

    def take_as_checked(self, base: State, state: State) -> None:
        """What is shown now is what may be saved next, on the version that holds now."""
        data: Any = self.data.copy()  # type: ignore[attr-defined]
        data["base"], data["reviewed"] = base.mark, state.mark
        self.data = data

    # -- showing ---------------------------------------------------------------------------------------

    def parts_of(self, slot: Slot) -> dict[str, forms.BoundField]:
        """The fields of a slot by part."""
        return {part: self[f"slot-{slot.name}-{part}"] for part in ("mode", "source", "constant", "default")}

    def lines_field(self, name: str) -> forms.BoundField:
        """The text area of a map."""
        return self[f"lines-{name}"]

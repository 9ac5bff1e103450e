"""The mapping editor of an integration: change, check on a document, see what becomes of open work, save, go back."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse

from connector import asked
from connector.admin.base import TenantAdmin, actor_of
from connector.admin.mapping_form import MappingForm
from connector.models import Integration
from connector.services import mappings
from connector.services.configuration import saving
from connector.services.configuration.findings import InvalidConfiguration
from connector.services.engine import codec
from connector.services.mappings import Seen, State
from connector.services.shipments import NotPossible
from integrations.flows.table import KINDS

MAP_HINTS = {
    "service": "What the document says, and the carrier's service it ships by. A document that names a service of the carrier "
    "itself needs no entry.",
    "carrier": "The document's forwarder, and whose it is. Without any entry, a forwarder that begins with the carrier's own "
    "letters is ours; with entries, only those count.",
    "terms_of_sale": "The document's delivery terms, and the Incoterm that customs is told. An Incoterm itself needs no entry.",
    "unit": "The unit of quantity on a line, and the code that customs is told. A unit without an entry is told as it stands.",
}


class MappingPages(TenantAdmin):
    """What `IntegrationAdmin` shows under `<pk>/mappings/`. GET looks, POST checks or saves."""

    def mappings_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The editor; for those who may only look, without its buttons."""
        obj: Integration = self.row(request, str(pk))
        kind = KINDS[obj.kind]
        if not any(flow.preview for flow in kind.flows):
            raise Http404("This kind of integration has no mappings in this release.")
        stored = State.of(obj)
        if request.method == "POST":
            if not self.may(request, "operate", obj):
                raise PermissionDenied
            form = MappingForm(request.POST, kind=kind, state=stored, base=stored.mark)
            return self._posted(request, obj, form, stored)
        state, back_to = self._asked_for(request, obj, stored)
        add = {request.GET["map"]: request.GET.get("value", "")[:500]} if request.GET.get("map") in kind.value_maps else {}
        form = MappingForm(kind=kind, state=state, base=stored.mark, record=request.GET.get("record", ""), add=add)
        if back_to is not None:
            form.initial.update(back_to=back_to, reviewed=state.mark)
        return self._shown(request, obj, form, stored, state, checked=back_to is not None)

    def _asked_for(self, request: HttpRequest, obj: Integration, stored: State) -> tuple[State, int | None]:
        """The version in force, or the earlier one that `version` names."""
        wanted = asked.number(request.GET.get("version", ""))
        for version in mappings.history(obj)[0] if wanted is not None else ():
            if version.entry.pk == wanted and version.state.mark != stored.mark:
                return version.state, version.entry.pk
        return stored, None

    def _posted(self, request: HttpRequest, obj: Integration, form: MappingForm, stored: State) -> HttpResponseBase:
        state = stored
        if form.is_valid():
            state = form.state()
            if not form.errors:
                form.place(saving.mappings_check(obj, state.mappings, state.value_maps), state)
        if not form.is_valid():
            return self._shown(request, obj, form, stored, stored, checked=False)
        told = form.cleaned_data
        if told["base"] != stored.mark:
            form.add_error(
                None,
                "Somebody changed these mappings while you had them open. What you entered stands below, compared with what "
                "holds now: check it once more.",
            )
        elif "save" in request.POST and state.mark != stored.mark:
            if told["reviewed"] == state.mark:
                return self._save(request, obj, form, stored, state)
            messages.warning(request, "You changed something after the check. Look at what it does, then save.")
        form.take_as_checked(stored, state)
        return self._shown(request, obj, form, stored, state, checked=True)

    def _save(self, request: HttpRequest, obj: Integration, form: MappingForm, stored: State, state: State) -> HttpResponseBase:
        entry = form.cleaned_data["back_to"]
        restored = entry if any(v.entry.pk == entry and v.state.mark == state.mark for v in mappings.history(obj)[0]) else None
        try:
            saving.mappings_save(
                obj, state.mappings, state.value_maps, actor=actor_of(request), base=form.cleaned_data["base"], back_to=restored
            )
        except InvalidConfiguration as error:
            form.place(error.errors, state)
            return self._shown(request, obj, form, stored, state, checked=False)
        messages.success(request, "Saved. It holds from the next document on. What failed before waits for its replay.")
        return HttpResponseRedirect(self.mappings_url(obj))

    def _shown(
        self, request: HttpRequest, obj: Integration, form: MappingForm, stored: State, state: State, *, checked: bool
    ) -> HttpResponseBase:
        kind = KINDS[obj.kind]
        recent = mappings.latest(obj)
        changed = state.mark != stored.mark
        effects = mappings.effects(obj, stored, state) if checked and changed else None
        chosen = form["record"].value() or (effects.first if effects else "")
        problem = ""
        try:
            seen = mappings.document(obj, state, chosen, recent)
        except NotPossible as error:
            problem = str(error)
            seen = mappings.document(obj, state, mappings.SAMPLE)
        versions, more = mappings.history(obj)
        known = self._known(obj, state, recent)
        context: dict[str, Any] = {
            "title": f"Mappings of {obj}",
            "form": form,
            "slots": [(slot, form.parts_of(slot)) for slot in kind.slots],
            "maps": [
                {
                    "name": name,
                    "rows": form.maps[name],
                    "lines": form.lines_field(name),
                    "codes": mappings.codes_for(obj, name),
                    "known": known.get(name, []),
                    "hint": MAP_HINTS.get(name, ""),
                }
                for name in kind.value_maps
            ],
            "unmapped": [(u, mappings.codes_for(obj, u.map)) for u in mappings.unmapped(obj, stored)],
            "recent": recent,
            "record_problem": problem,
            "checked": checked,
            "changed": changed,
            "changes": mappings.changes(kind, stored, state) if changed else [],
            "cautions": mappings.cautions(obj, stored, state) if changed else [],
            "effects": effects,
            "versions": [(v, v.state.mark == stored.mark) for v in versions],
            "more_versions": more,
            **self._tried(obj, stored, state, seen),
        }
        return self.page(request, "connector/mappings.html", obj, **context)

    @staticmethod
    def _tried(obj: Integration, stored: State, state: State, seen: Seen) -> dict[str, Any]:
        """The chosen document under the version in force and under the new one, side by side, and the new request."""
        kind = KINDS[obj.kind]
        now = mappings.previewer(obj, stored).show(seen.record, seen.document)
        then = mappings.previewer(obj, state).show(seen.record, seen.document)
        rows = []
        for slot in kind.slots:
            own = state.slot(slot.name)
            rows.append((slot, mappings.told(own, slot.source), now.slot(slot.name), then.slot(slot.name)))
        return {
            "seen": seen,
            "source": codec.encode(seen.document),
            "tried": rows,
            "now": now,
            "then": then,
            "dry_run": mappings.dry_run(obj, seen, then),
        }

    @staticmethod
    def _known(obj: Integration, state: State, recent: list[Seen]) -> dict[str, list[str]]:
        """Values that stood in the newest documents, by value map: what to choose from on the left side."""
        show = mappings.previewer(obj, state)
        found: dict[str, set[str]] = {}
        maps = {slot.name: slot.value_map for slot in KINDS[obj.kind].slots if slot.value_map}
        for seen in recent:
            for slot in show.show(seen.record, seen.document).slots:
                if slot.name in maps and isinstance(slot.value, str) and slot.value.strip():
                    found.setdefault(maps[slot.name], set()).add(slot.value.strip())
        return {name: sorted(values) for name, values in found.items()}

    # -- one click -------------------------------------------------------------------------------------

    def do_map_value(self, request: HttpRequest, obj: Integration) -> str:
        """Map one value that transfers wait for."""
        told = {name: request.POST.get(name, "") for name in ("map", "value", "code")}
        replay = "replay" in request.POST
        done = mappings.map_value(obj, told["map"], told["value"], told["code"], actor=actor_of(request), replay=replay)
        text = f"{told['value'].strip()} is mapped to {told['code'].strip()}."
        return f"{text} {done} run again." if replay else f"{text} Replay what waits for it."

    def mappings_url(self, obj: Integration) -> str:
        """Where the editor is."""
        return reverse("admin:connector_integration_mappings", args=[obj.pk])

    def after_act(self, request: HttpRequest, obj: Any) -> str:
        return self.mappings_url(obj) if request.POST.get("back") == "mappings" else super().after_act(request, obj)

"""What a person keeps about a list: the columns to show, and filters by name. Nobody else sees or changes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from connector.models import ListColumns, SavedFilter
from connector.services import clock
from connector.services.shipments import NotPossible

MOST = 50
LONGEST = 2000


def columns_of(user: Any, page: str, known: Iterable[str], usual: Sequence[str]) -> list[str]:
    """The columns this person chose, as far as they still exist; else the usual ones."""
    told = ListColumns.objects.filter(user=user, page=page).values_list("columns", flat=True).first() or []
    chosen = [name for name in known if name in told]
    return chosen or list(usual)


def choose_columns(user: Any, page: str, columns: Sequence[str]) -> None:
    """Remember the columns; none stands for the usual ones again."""
    if columns:
        ListColumns.objects.update_or_create(user=user, page=page, defaults={"columns": list(columns)})
    else:
        ListColumns.objects.filter(user=user, page=page).delete()


def save_filter(user: Any, page: str, name: str, query: str) -> SavedFilter:
    """Keep filters under a name; the same name again replaces them. Raises NotPossible."""
    name = " ".join(name.split())
    if not name:
        raise NotPossible("Give the filter a name.")
    if len(name) > 60:
        raise NotPossible("The name is too long: 60 characters at most.")
    if not query:
        raise NotPossible("No filter is set: there is nothing to keep.")
    if len(query) > LONGEST:
        raise NotPossible("These filters are too long to keep.")
    mine = SavedFilter.objects.filter(user=user, page=page)
    if mine.exclude(name=name).count() >= MOST:
        raise NotPossible(f"You keep {MOST} filters already. Delete one first.")
    kept, _ = SavedFilter.objects.update_or_create(
        user=user, page=page, name=name, defaults={"query": query, "created_at": clock.now()}
    )
    return kept


def delete_filter(user: Any, page: str, pk: int) -> str:
    """Forget a filter of this person; its name. Raises SavedFilter.DoesNotExist."""
    found = SavedFilter.objects.get(user=user, page=page, pk=pk)
    found.delete()
    return found.name

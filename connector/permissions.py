"""Who may do what, by role and tenant. Django's model permissions are not used: roles are few and people know them.

view        viewer, operator, administrator     look at everything of the tenant
operate     operator, administrator             secrets, company codes, mappings, ping, run, replay, void, decide
administer  administrator                       URLs and environments, new connections, users below his own role
own         installation owner (superuser)      tenants, administrators, the queue, the installation's brake
"""

from __future__ import annotations

from typing import Any, Literal

from connector.models import Membership, User
from connector.models.tenants import Role

Act = Literal["view", "operate", "administer", "own"]

_ALLOWED: dict[str, frozenset[str]] = {
    Role.VIEWER: frozenset({"view"}),
    Role.OPERATOR: frozenset({"view", "operate"}),
    Role.ADMINISTRATOR: frozenset({"view", "operate", "administer"}),
}


def roles(user: Any) -> dict[int, str]:
    """The user's role by tenant id; asked once per user object (one request)."""
    if not user.is_authenticated or not user.is_active:
        return {}
    found: dict[int, str] | None = getattr(user, "_connector_roles", None)
    if found is None:
        found = dict(Membership.objects.filter(user=user).values_list("tenant_id", "role"))
        user._connector_roles = found
    return found


def can(user: Any, act: Act, tenant_id: int | None) -> bool:
    """Whether the user may do this at this tenant. None stands for the installation: its owner only."""
    if not user.is_active:
        return False
    if user.is_superuser:
        return True
    return tenant_id is not None and act in _ALLOWED.get(roles(user).get(tenant_id, ""), frozenset())


def can_somewhere(user: Any, act: Act) -> bool:
    """Whether there is a tenant at which the user may do this."""
    return bool(user.is_active and (user.is_superuser or any(act in _ALLOWED.get(r, frozenset()) for r in roles(user).values())))


def tenants_for(user: Any, act: Act = "view") -> Any:
    """Ids of tenants at which the user may do this; None means all (installation owner)."""
    if user.is_superuser and user.is_active:
        return None
    return [tenant for tenant in roles(user) if can(user, act, tenant)]


def scope(queryset: Any, user: Any, act: Act = "view", lookup: str = "tenant") -> Any:
    """Only rows of tenants at which the user may do this."""
    allowed = tenants_for(user, act)
    return queryset if allowed is None else queryset.filter(**{f"{lookup}__in": allowed})


def may_edit_user(editor: Any, other: User) -> bool:
    """An owner edits everybody; an administrator those whose every role is below his own, at tenants of his."""
    if editor.is_superuser:
        return True
    if other.is_superuser or other.pk == editor.pk:
        return False
    theirs = list(Membership.objects.filter(user=other).values_list("tenant_id", "role"))
    return bool(theirs) and all(can(editor, "administer", tenant) and role != Role.ADMINISTRATOR for tenant, role in theirs)

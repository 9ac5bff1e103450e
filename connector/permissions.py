"""Who may do what, by role and tenant. Django's model permissions are not used: roles are few and people know them.

view        viewer, operator, administrator     look at everything of the tenant
operate     operator, administrator             secrets, company codes, mappings, ping, run, replay, void, decide
administer  administrator                       URLs and environments, new connections, users below his own role
own         installation owner (superuser)      tenants, administrators, the queue, the installation's brake
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from django.db.models import Exists, OuterRef, Subquery

from connector.models import Connection, Membership, SecondFactor, Tenant, User
from connector.models.tenants import Role

Act = Literal["view", "operate", "administer", "own"]

_ALLOWED: dict[str, frozenset[str]] = {
    Role.VIEWER: frozenset({"view"}),
    Role.OPERATOR: frozenset({"view", "operate"}),
    Role.ADMINISTRATOR: frozenset({"view", "operate", "administer"}),
}

OWNER = "Installation owner"

RIGHTS: tuple[tuple[Act, str], ...] = (
    (
        "view",
        "See everything of the tenant: what needs attention, transfers, shipments and labels, set-up without its secrets, audit",
    ),
    ("operate", "Replay, approve, cancel, decide what is in doubt, void and buy again"),
    ("operate", "Switch integrations on and off, run them, ship documents from before the start"),
    ("operate", "Make and change integrations, mappings and schedules"),
    ("operate", "Enter the secrets, settings and company codes of a connection, and ping it"),
    ("operate", "Stop buying, and allow it again, for an integration or the tenant"),
    ("administer", "Make connections, and change where one points (URL, environment)"),
    (
        "administer",
        "Make, change and switch off operators and viewers; let them sign in again, sign them out, reset a second factor",
    ),
    ("administer", "Require a second factor at the tenant"),
    ("administer", "Have a flow look again at everything that is ready, or further back than usual"),
    ("administer", "Have webhook posts that could not be read tried again"),
    ("administer", "Make, change and remove alert channels (an operator may try one)"),
    ("own", "Make tenants, administrators and other owners"),
    ("own", "See the queue, failed tasks, and the audit of the installation"),
)
"""What each right means, for people: shown in the console and, word for word, in docs/users.md."""


def rights_by_role() -> list[tuple[str, list[tuple[str, bool]]]]:
    """(what may be done, [(role, whether it may)]), strongest role first; told from what the checks really allow."""
    return [(text, [(OWNER, True), *((str(role.label), act in _ALLOWED[role]) for role in Role)]) for act, text in RIGHTS]


@dataclass(frozen=True, slots=True)
class Standing:
    """What every request must know of a person. `factor`: what the session must hold, or ""; `demanded`: some tenant wants one.

    `zone`: that of the first tenant of theirs; an owner without one sees the zone that all tenants share. None: UTC.
    `plays`: there is a simulator that they may play with.
    """

    roles: dict[int, str]
    zone: str | None
    factor: str
    demanded: bool
    plays: bool = False


def standing(user: Any) -> Standing:
    """A signed-in person's standing, asked once per user object (one request) and by one query."""
    found: Standing | None = getattr(user, "_connector_standing", None)
    if found is None:
        found = user._connector_standing = _ask(user)
    return found


def _ask(user: Any) -> Standing:
    wanting = Tenant.objects.filter(second_factor_required=True)
    wanting = wanting if user.is_superuser else wanting.filter(memberships__user=user.pk)
    factor = SecondFactor.objects.filter(user=OuterRef("pk"), confirmed=True).values("pk")[:1]
    zones = Tenant.objects.order_by("timezone").values("timezone")
    simulated = Connection.objects.filter(environment="simulator")
    simulated = simulated if user.is_superuser else simulated.filter(tenant=OuterRef("memberships__tenant"))
    rows = list(
        User.objects.filter(pk=user.pk)
        .annotate(factor=Subquery(factor), must=Exists(wanting), simulated=Exists(simulated))
        .annotate(first=Subquery(zones[:1]), last=Subquery(zones.reverse()[:1]))
        .order_by("memberships__tenant")
        .values_list(
            *("memberships__tenant", "memberships__role", "memberships__tenant__timezone", "factor", "must", "first", "last"),
            "simulated",
        )
    )
    if not rows:
        return Standing({}, None, "", False)  # deleted this instant
    _, _, zone, held, must, first, last, _ = rows[0]
    if zone is None and user.is_superuser and first == last:
        zone = first
    roles = {tenant: role for tenant, role, *_ in rows if tenant is not None} if user.is_active else {}
    plays = any(simulator and (user.is_superuser or _may(role, "operate")) for _, role, *_, simulator in rows)
    factor_name = f"{SecondFactor.model_label()}/{held}" if held else ""
    return Standing(roles, zone, factor_name, bool(must), plays and user.is_active)


def _may(role: str | None, act: Act) -> bool:
    return act in _ALLOWED.get(role or "", frozenset())


def roles(user: Any) -> dict[int, str]:
    """The user's role by tenant id; asked once per user object (one request)."""
    return standing(user).roles if user.is_authenticated and user.is_active else {}


def can(user: Any, act: Act, tenant_id: int | None) -> bool:
    """Whether the user may do this at this tenant. None stands for the installation: its owner only."""
    if not user.is_active:
        return False
    if user.is_superuser:
        return True
    return tenant_id is not None and _may(roles(user).get(tenant_id), act)


def can_somewhere(user: Any, act: Act) -> bool:
    """Whether there is a tenant at which the user may do this."""
    return bool(user.is_active and (user.is_superuser or any(_may(role, act) for role in roles(user).values())))


def tenants_for(user: Any, act: Act = "view") -> Any:
    """Ids of tenants at which the user may do this; None means all (installation owner)."""
    if user.is_superuser and user.is_active:
        return None
    return [tenant for tenant in roles(user) if can(user, act, tenant)]


def tenant_ids(user: Any, act: Act = "view") -> list[int]:
    """Those tenants by name, the owner's too: an index that begins with the tenant serves only who names them."""
    allowed = tenants_for(user, act)
    return list(Tenant.objects.values_list("pk", flat=True)) if allowed is None else list(allowed)


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

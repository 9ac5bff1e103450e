"""Who may import whom. A vendor is a folder that could be deleted; doors call services, never the other way round."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BASE, FLOWS, TABLE = "integrations.base", "integrations.flows", "integrations.flows.table"
MODELS, SERVICES, REGISTRY = "connector.models", "connector.services", "integrations.registry"

CONSOLE = (
    "connector.asked",
    "connector.words",
    "connector.audit_verifier",
    "connector.permissions",
    "connector.badges",
    "connector.times",
    "connector.forms",
    "connector.filters",
)
"""Parts that the console's pages share."""

EVERYTHING = ("connector", BASE, FLOWS, REGISTRY)
"""For tasks and commands; vendors stay out even there: they are reached by the registry."""

MAY_IMPORT = {
    BASE: (BASE,),
    REGISTRY: (BASE,),
    TABLE: (),
    FLOWS: (FLOWS, SERVICES, MODELS, BASE, REGISTRY),
    "connector.triggers": (MODELS,),
    MODELS: (MODELS, REGISTRY, BASE),
    # Process identity (who holds a lease) is the worker's, and services stamp it.
    SERVICES: (SERVICES, MODELS, REGISTRY, BASE, TABLE, "connector.workers", "connector.words"),
    "connector.workers": (SERVICES,),
    "connector.checks": (SERVICES, MODELS, REGISTRY, BASE),
    "connector.middleware": (SERVICES, MODELS, "connector.permissions"),
    "connector.views": (SERVICES, MODELS, REGISTRY, BASE, TABLE),
    "connector.forms": ("connector.forms", "connector.words", SERVICES, MODELS, REGISTRY, BASE, TABLE),
    "connector.filters": (SERVICES, MODELS, REGISTRY, BASE, TABLE),
    "connector.permissions": (MODELS,),
    "connector.badges": (),
    "connector.times": (),
    "connector.dashboard": (*CONSOLE, SERVICES, MODELS),
    "connector.templatetags": (*CONSOLE, SERVICES, MODELS),
    "connector.admin": ("connector.admin", "connector.dashboard", *CONSOLE, SERVICES, MODELS, REGISTRY, BASE, TABLE),
    "connector.asked": (),
    "connector.envfile": (),
    "connector.runner": (),
}
"""Longest name wins; a file of connector/ that is not named is wiring or a door for machines and may use EVERYTHING."""

NO_DJANGO = (BASE, REGISTRY, TABLE)
DJANGO = ("django", "django_q", "unfold", "encrypted_model_fields", "django_filters")


def vendors() -> list[str]:
    return sorted(
        path.parent.name for path in (ROOT / "integrations").glob("*/__init__.py") if path.parent.name not in ("base", "flows")
    )


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the product by dotted name. Migrations are Django's own."""
    for top in ("connector", "integrations"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if "migrations" not in parts:
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def is_package(name: str) -> bool:
    return (ROOT / Path(*name.split("."))).is_dir()


def exists(name: str) -> bool:
    return is_package(name) or (ROOT / Path(*name.split("."))).with_suffix(".py").exists()


def imports(name: str, source: str, *, package: bool) -> Iterator[str]:
    """What a module imports, also inside functions and for types; `from a import b` names a.b where that is a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = name.split(".")[: len(name.split(".")) - node.level + package] if node.level else []
            front = ".".join([*up, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{front}.{alias.name}" if exists(f"{front}.{alias.name}") else front


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def allowed(name: str) -> tuple[str, ...]:
    for vendor in vendors():
        if within(name, f"integrations.{vendor}"):
            return (f"integrations.{vendor}", BASE)
    rules = sorted((key for key in MAY_IMPORT if within(name, key)), key=len)
    return MAY_IMPORT[rules[-1]] if rules else EVERYTHING


def violations(name: str, source: str, *, package: bool) -> list[str]:
    found = []
    plain = any(within(name, place) for place in (*NO_DJANGO, *(f"integrations.{v}" for v in vendors())))
    for target in imports(name, source, package=package):
        top = target.partition(".")[0]
        if top in ("connector", "integrations"):
            # A package itself (for its __init__) is what its modules are.
            if target not in ("integrations", "connector") and not any(within(target, place) for place in allowed(name)):
                found.append(f"{name} imports {target}")
        elif top == "tests" or (plain and top in DJANGO):
            found.append(f"{name} imports {target}")
    return found


def test_every_module_imports_only_what_it_may():
    found = [fault for name, path in modules() for fault in violations(name, path.read_text(), package=is_package(name))]
    assert found == []


def test_every_rule_speaks_of_something_that_exists():
    # Admin, forms and filters may come one file at a time.
    later = {"connector.admin", "connector.forms", "connector.filters"}
    assert [rule for rule in MAY_IMPORT if rule not in later and not exists(rule)] == []
    assert vendors(), "no vendor folder found: the rules were checked against nothing"


@pytest.mark.parametrize(
    ("name", "source", "fault"),
    [
        ("integrations.fedex.client", "from integrations.ifs_cloud import odata", "integrations.ifs_cloud.odata"),
        ("integrations.fedex.client", "from ..ifs_cloud.odata import x", "integrations.ifs_cloud.odata"),
        ("integrations.fedex.client", "def f():\n    from connector.models import Tenant", "connector.models"),
        ("integrations.fedex.client", "from django.conf import settings", "django.conf"),
        ("integrations.base.http", "from integrations import registry", "integrations.registry"),
        ("integrations.flows.ship", "import integrations.fedex.codes", "integrations.fedex.codes"),
        ("integrations.flows.ship", "from connector import tasks", "connector.tasks"),
        ("integrations.flows.table", "from integrations.flows import ship", "integrations.flows.ship"),
        ("connector.models.audit", "from connector.services import audit", "connector.services.audit"),
        ("connector.services.audit", "from connector import tasks", "connector.tasks"),
        ("connector.services.audit", "from integrations.flows import ship", "integrations.flows.ship"),
        ("connector.management.commands.ping", "from integrations.ifs_cloud import client", "integrations.ifs_cloud.client"),
        ("connector.views", "from tests import world", "tests"),
    ],
)
def test_the_rules_bite(name: str, source: str, fault: str):
    [found] = violations(name, source, package=False)
    assert found.startswith(f"{name} imports {fault}")


def test_what_is_meant_to_be_imported_is_let_through():
    for name, source in (
        ("integrations.fedex.client", "from integrations.fedex.codes import x\nfrom integrations.base import http"),
        ("integrations.base.http", "import requests\nfrom integrations.base.errors import Rejected"),
        ("integrations.flows.ship", "from connector.services.engine import run\nfrom integrations.base.roles import Erp"),
        ("connector.services.vendors", "from connector import workers\nfrom integrations import registry"),
        ("connector.tasks", "from integrations.flows.specs import FLOWS\nfrom connector.services import wake"),
    ):
        assert violations(name, source, package=False) == []

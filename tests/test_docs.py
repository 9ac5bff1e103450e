"""The operators' pages tell every error code that the code can give, and none that it cannot."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CODE = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
SIGNALS = ("Skipped", "Cancelled", "Held", "NeedsApproval", "InDoubt", "Stuck", "AskAgain")
POSITIONAL = {
    **{("", name): 1 for name in SIGNALS},
    ("mapping.py", "_refused"): 1,
    ("codes.py", "_table"): 1,
    ("http.py", "_BadBody"): 0,
    ("outbound.py", "_refused"): 2,
    ("rates.py", "_refused"): 1,
}
"""(file, function) -> which argument is a code; "" is any file."""

PAGES = {
    "docs/ifs_cloud.md": ["integrations/ifs_cloud"],
    "docs/fedex.md": ["integrations/fedex"],
    "docs/errors.md": ["integrations/base", "integrations/flows", "connector/services"],
}
"""Page -> folders whose codes it tells."""


def _words(node: ast.expr | None) -> Iterator[str]:
    """The code words that an expression can be: a constant, either side of a choice, a value of a table in place."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _words(node.body)
        yield from _words(node.orelse)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Dict):
        for value in [*node.func.value.values, *node.args[1:]]:
            yield from _words(value)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _words(value)


def _codes_of(tree: ast.Module, file: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "code":
                    yield from _words(keyword.value)
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if (file, name) == ("mapping.py", "_choice"):  # the one place that composes a code: <option>_invalid
                yield from (f"{key}_invalid" for key in _words(node.args[1]))
            place = POSITIONAL.get((file, name), POSITIONAL.get(("", name)))
            if place is not None and len(node.args) > place:
                yield from _words(node.args[place])
        elif isinstance(node, ast.Assign):
            names = {getattr(target, "id", getattr(target, "attr", "")) for target in node.targets}
            if names & {"code", "default_code", "attention"}:
                yield from _words(node.value)
        elif isinstance(node, ast.FunctionDef) and node.name == "changed":
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return):
                    yield from _words(inner.value)


def _files(folder: str) -> list[Path]:
    """Product modules; simulators play the vendor and speak the vendor's codes."""
    return [p for p in sorted((ROOT / folder).rglob("*.py")) if not p.name.startswith("simulator") and p.name != "testing.py"]


def raised(folders: list[str]) -> set[str]:
    """Every code that the modules of these folders can give."""
    return {code for folder in folders for path in _files(folder) for code in _codes_of(ast.parse(path.read_text()), path.name)}


def told(page: str) -> set[str]:
    """The codes in the first column of a page's tables."""
    rows = re.findall(r"^\| (`[^|]*) \|", (ROOT / page).read_text(), re.MULTILINE)
    return {code for row in rows for code in re.findall(r"`([a-z][a-z0-9_]*)`", row)}


@pytest.mark.parametrize("page", PAGES)
def test_every_code_is_explained_on_its_page(page: str):
    missing = raised(PAGES[page]) - told(page)
    assert not missing, f"{page} does not tell: {', '.join(sorted(missing))}"


@pytest.mark.parametrize("page", PAGES)
def test_no_page_explains_a_code_that_nothing_gives(page: str):
    everywhere = raised([folder for folders in PAGES.values() for folder in folders])
    strange = told(page) - everywhere
    assert not strange, f"{page} tells codes that nothing gives: {', '.join(sorted(strange))}"


def test_codes_are_found_in_every_form_they_are_written_in():
    written = """
class Late(Exception):
    default_code = "late"
def f(x):
    self.attention = kept or "seven"
    code = {"a": "eight"}.get(x, "nine")
    code = "one" if x else "two"
    raise Rejected("text", code="three")
    raise Rejected("text", code="four" if x else "five")
    raise signals.Skipped("text", "six")
    raise Rejected("text", code=code, field="not_a_code")
"""
    words = ("late", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    assert set(_codes_of(ast.parse(written), "flow.py")) == set(words)


def test_only_one_place_composes_codes():
    """A composed code cannot be found by reading: whoever adds one must teach `_codes_of` about it."""
    composed = []
    for path in (p for folders in PAGES.values() for folder in folders for p in _files(folder)):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                place = POSITIONAL.get((path.name, name), POSITIONAL.get(("", name)))
                given = [k.value for k in node.keywords if k.arg == "code"]
                given += [node.args[place]] if place is not None and len(node.args) > place else []
                composed += [path.name for value in given if isinstance(value, ast.JoinedStr)]
    assert composed == ["mapping.py"]


def test_links_between_pages_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}, which is not there"


def test_the_configuration_in_the_readme_can_be_imported(db: None, monkeypatch: pytest.MonkeyPatch):
    from connector.models import Integration
    from connector.services.configuration import importing

    [text] = re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for name in re.findall(r'"env": "(\w+)"', text):
        monkeypatch.setenv(name, "secret-of-the-test")
    importing.apply(json.loads(text), "test")
    assert Integration.objects.get().enabled


def test_the_readme_names_every_command_and_every_variable():
    readme = (ROOT / "README.md").read_text()
    commands = {p.stem for p in (ROOT / "connector/management/commands").glob("*.py")} - {"__init__"}
    settings = (ROOT / "connector/settings.py").read_text()
    variables = set(re.findall(r'(?:env(?:\.\w+)?|secret)\("([A-Z][A-Z_]+)"', settings))
    # Engine times are for drills; nobody sets them in an installation.
    variables = {name for name in variables if not name.startswith("ENGINE_")}
    missing = {name for name in commands | variables if f"`{name}" not in readme and f"manage.py {name}" not in readme}
    assert not missing, f"the README does not tell: {', '.join(sorted(missing))}"


def _anchor(heading: str) -> str:
    """What a heading is linked by, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"[`*_]", "", heading.strip().lower())).replace(" ", "-")


LINKED = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.name)
def test_every_link_of_the_pages_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in map(_anchor, headings), f"{page.name}: {link}"

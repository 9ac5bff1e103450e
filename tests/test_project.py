"""The project as a whole: migrations are complete, checks are clean, requirements are locked, its files start it."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
from io import StringIO
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from connector.runner import read_procfile

ROOT = Path(__file__).resolve().parent.parent


def requirements(name: str) -> dict[str, Requirement]:
    """The lines of a requirements file by canonical name."""
    lines = [line.strip() for line in (ROOT / name).read_text().splitlines()]
    found = [Requirement(line) for line in lines if line and not line.startswith(("#", "-r"))]
    assert len({canonicalize_name(r.name) for r in found}) == len(found), "a requirement stands twice"
    return {canonicalize_name(r.name): r for r in found}


RUN, DEV = requirements("requirements.txt"), requirements("requirements-dev.txt")


def demanded_by(name: str, extras: set[str]) -> list[Requirement]:
    """What an installed distribution asks for here. Raises PackageNotFoundError."""
    asked = [Requirement(line) for line in importlib.metadata.requires(name) or []]
    return [r for r in asked if r.marker is None or any(r.marker.evaluate({"extra": extra}) for extra in (extras | {""}))]


@pytest.mark.django_db
def test_every_change_of_a_model_has_its_migration():
    call_command("makemigrations", check=True, dry_run=True, stdout=StringIO())


@pytest.mark.django_db
def test_the_system_checks_have_nothing_to_say():
    assert run_checks(include_deployment_checks=False, databases=["default"]) == []


def test_every_requirement_is_exact():
    for name, requirement in (RUN | DEV).items():
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), f"{name} is not pinned to one version"
    assert not set(RUN) & set(DEV)


@pytest.mark.parametrize(("which", "pinned"), [("requirements.txt", RUN), ("requirements-dev.txt", RUN | DEV)])
def test_what_a_requirement_brings_along_is_locked_too(which: str, pinned: dict[str, Requirement]):
    for name, requirement in pinned.items():
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        for wanted in demanded_by(name, requirement.extras):
            held = pinned.get(canonicalize_name(wanted.name))
            assert held is not None, f"{which}: {name} needs {wanted}, which is not locked"
            version = str(held.specifier).removeprefix("==")
            assert wanted.specifier.contains(version, prereleases=True), f"{which}: {name} needs {wanted}, locked is {version}"


def test_every_direct_requirement_says_why():
    for name in ("requirements.txt", "requirements-dev.txt"):
        chosen = (ROOT / name).read_text().partition("# -- brought along")[0].splitlines()
        for before, line in zip(chosen, chosen[1:], strict=False):
            if re.match(r"[A-Za-z]", line) and not re.match(r"[A-Za-z]", before):
                assert before.startswith("# "), f"{name}: {line} has no reason above it"


def test_the_procfile_names_what_a_platform_starts():
    commands = read_procfile(ROOT / "Procfile")
    assert {"release", "web", "worker", "simulators"} == set(commands)
    assert "connector.wsgi" in commands["web"]


def test_make_without_a_target_explains_itself():
    told = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line.split()[1] for line in told.splitlines()] == ["help", "run", "test", "lint", "format"]


@pytest.mark.parametrize(("name", "mode"), [(".ci/run", 0o100), ("manage.py", 0o100)])
def test_what_is_started_by_name_is_executable(name: str, mode: int):
    assert (ROOT / name).stat().st_mode & mode


def test_the_gate_is_a_valid_script():
    subprocess.run(["bash", "-n", ".ci/run"], cwd=ROOT, check=True)


def test_an_environment_without_venv_is_told_what_to_install(tmp_path: Path):
    """`make run` on a Debian without python3-venv: its python3 cannot import ensurepip."""
    fake = tmp_path / "python3"
    fake.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\nexit 0\n')
    fake.chmod(0o755)
    for name in ("Makefile", "requirements.txt"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    done = subprocess.run(["make", "run", f"PYTHON={fake}"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "sudo apt-get install python3-venv" in done.stderr
    assert not (tmp_path / ".venv").exists()

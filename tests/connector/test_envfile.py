"""The keys of an installation are made once, for its owner's eyes, and never again."""

from __future__ import annotations

import stat
from pathlib import Path

import environ
import pytest
from cryptography.fernet import Fernet

from connector import envfile


def test_a_new_file_is_private_and_holds_working_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / ".env"
    assert envfile.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    # As settings read it, without leaving anything in this process's environment.
    monkeypatch.setattr(environ.Env, "ENVIRON", {})
    environ.Env.read_env(str(path))
    found = environ.Env.ENVIRON
    secret = Fernet(found["FIELD_ENCRYPTION_KEY"]).encrypt(b"x")
    assert Fernet(found["FIELD_ENCRYPTION_KEY"]).decrypt(secret) == b"x"
    assert len(found["SECRET_KEY"]) >= 50 and len(found["AUDIT_KEY"]) >= 32
    assert found["ALLOW_PRIVATE_HOSTS"] == "127.0.0.1,localhost"
    assert envfile.missing_keys(path) == []


def test_two_files_share_no_key(tmp_path: Path):
    envfile.write(tmp_path / "one")
    envfile.write(tmp_path / "two")
    values = [{line for line in (tmp_path / name).read_text().splitlines() if "KEY=" in line} for name in ("one", "two")]
    assert len(values[0]) == 3 and not values[0] & values[1]


def test_a_file_that_is_there_is_never_touched(tmp_path: Path):
    path = tmp_path / ".env"
    path.write_text("FIELD_ENCRYPTION_KEY=old\n")
    assert not envfile.write(path)
    assert path.read_text() == "FIELD_ENCRYPTION_KEY=old\n"


def test_keys_that_an_older_file_lacks_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for key in envfile.KEYS_NEEDED:
        monkeypatch.delenv(key, raising=False)
    path = tmp_path / ".env"
    path.write_text("# AUDIT_KEY=x\nexport SECRET_KEY=x\nFIELD_ENCRYPTION_KEY=\n")
    assert envfile.missing_keys(path) == ["FIELD_ENCRYPTION_KEY", "AUDIT_KEY"]
    monkeypatch.setenv("AUDIT_KEY", "from the environment")
    assert envfile.missing_keys(path) == ["FIELD_ENCRYPTION_KEY"]

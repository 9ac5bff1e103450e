"""Writes `.env` with keys of this installation's own: `python -m connector.envfile`.

Runs before settings can load, therefore only the standard library. The file is made once, readable by its owner
only; one that exists is never touched, for the keys in it open what the database holds.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import sys
from pathlib import Path

KEYS_NEEDED = ("SECRET_KEY", "FIELD_ENCRYPTION_KEY", "AUDIT_KEY")


def content() -> str:
    """The text of a new `.env` for one machine: fresh keys, DEBUG, loopback only."""
    return f"""\
# Keys and settings of this installation. Keep a copy with your backups: without FIELD_ENCRYPTION_KEY no stored
# secret can be read again, without AUDIT_KEY no seal can be checked.
SECRET_KEY={secrets.token_urlsafe(50)}
FIELD_ENCRYPTION_KEY={base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}
AUDIT_KEY={secrets.token_urlsafe(32)}

# For this machine alone; see the README before anybody else may reach it.
DEBUG=1
ALLOWED_HOSTS=localhost,127.0.0.1,[::1]
# The simulators listen here, over plain http.
ALLOW_PRIVATE_HOSTS=127.0.0.1,localhost
"""


def write(path: Path) -> bool:
    """Make the file, mode 600 from its first moment; False where there is one already.

    Raises OSError where it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with open(descriptor, "w") as handle:
        handle.write(content())
    return True


def missing_keys(path: Path) -> list[str]:
    """Which of KEYS_NEEDED neither the file nor the environment sets."""
    found = re.findall(r"^\s*(?:export\s+)?(\w+)\s*=\s*\S", path.read_text(), re.MULTILINE)
    return [key for key in KEYS_NEEDED if key not in found and not os.environ.get(key)]


def main() -> int:
    """Exit 0: there is a `.env`, as it should be; 1: the file that is there lacks keys, which only its owner may add."""
    path = Path(__file__).resolve().parent.parent / ".env"
    if not path.exists() and write(path):
        print(f"Wrote {path.name} with new keys (readable by you only).")
        return 0
    missing = missing_keys(path)
    if missing:
        print(f"{path} lacks {', '.join(missing)}. It is left as it is: add what is missing.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

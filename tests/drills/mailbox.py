"""A mail server that takes everything and remembers it: mails are counted where they arrive."""

from __future__ import annotations

import socketserver
import threading
from typing import Any


class _Talk(socketserver.StreamRequestHandler):
    server: Mailbox

    def handle(self) -> None:
        self._say("220 drill")
        to: list[str] = []
        for raw in self.rfile:
            verb = raw.decode().strip()
            match verb.split(" ", 1)[0].split(":")[0].upper():
                case "QUIT":
                    return self._say("221 bye")
                case "RCPT":
                    to.append(verb.partition("<")[2].partition(">")[0])
                case "DATA":
                    self._say("354 go on")
                    lines = iter(self.rfile.readline, b".\r\n")
                    text = b"".join(lines).decode()
                    with self.server.lock:
                        self.server.mails += [(address, text) for address in to]
                    to = []
            self._say("250 well")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class Mailbox(socketserver.ThreadingTCPServer):
    """Listens on a free port of this machine until it is closed."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Talk)
        self.lock = threading.Lock()
        self.mails: list[tuple[str, str]] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """For EMAIL_URL."""
        return f"smtp://127.0.0.1:{self.server_address[1]}"

    def close(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that was killed in the middle of a mail has sent none."""

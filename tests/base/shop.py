"""A small shop to call: what the HTTP layer's tests need of another side."""

from __future__ import annotations

import base64

from integrations.base.simulator import SimResponse, Simulator

EASY = {"operation": "try"}


class Shop(Simulator):
    """Echoes what it got; `/label` gives a label; `/private` wants the newest token."""

    slug = "shop"

    def seed(self):
        return {"token": "token-2"}

    def routes(self):
        for method in ("GET", "POST", "PATCH"):
            self.route(method, "/echo", self.echo)
            self.route(method, "/private", self.private)
        self.route("POST", "/label", self.label)

    def echo(self, request):
        self.state["got"] = dict(request.headers)
        return SimResponse(200, {"path": request.raw_path, "body": request.body.decode(), "headers": request.headers})

    def private(self, request):
        if request.headers.get("authorization") != f"Bearer {self.state['token']}":
            return SimResponse(401, {"error": "expired"})
        return SimResponse(200, {"ok": True})

    def label(self, request):
        return SimResponse(201, {"trackingNumber": "794000000001", "encodedLabel": base64.b64encode(b"^XA" * 400).decode()})

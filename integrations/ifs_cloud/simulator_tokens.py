"""Tokens of the simulated IFS: discovery document and token endpoint as Keycloak has them (sheet 3)."""

from __future__ import annotations

import base64
import secrets
from urllib.parse import unquote_plus

from integrations.base.simulator import SimRequest, SimResponse
from integrations.ifs_cloud.simulator_store import IfsStore

_SCOPES = frozenset({"openid", "microprofile-jwt", "audience", "profile", "email", "offline_access"})


class TokenDesk(IfsStore):
    """The part of the simulator that lets callers in."""

    def _caller(self, request: SimRequest) -> str | None:
        """The tenant whose token this is; None for an unknown or expired one."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        known = self.state["tokens"].get(token) if scheme.lower() == "bearer" else None
        if known is None or known["expires"] <= self.now().timestamp():
            return None
        tenant: str = known["tenant"]
        return tenant

    def _discovery(self, request: SimRequest, realm: str) -> SimResponse:
        """Sheet 3, discovery document."""
        if all(t["realm"] != realm for t in self.state["tenants"].values()):
            return SimResponse(404, {"error": "Realm does not exist"})
        issuer = f"{request.base}/auth/realms/{realm}"
        return SimResponse(
            200,
            {
                "issuer": issuer,
                "token_endpoint": f"{issuer}/protocol/openid-connect/token",
                "grant_types_supported": ["client_credentials"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "scopes_supported": sorted(_SCOPES),
            },
        )

    def _token(self, request: SimRequest, realm: str) -> SimResponse:
        """Sheet 3: client credentials as a form, secret in the body or by basic authentication."""
        tenant, data = next(((n, t) for n, t in self.state["tenants"].items() if t["realm"] == realm), (None, None))
        if tenant is None or data is None:
            return SimResponse(404, {"error": "Realm does not exist"})
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
            return _oauth(415, "invalid_request", "The token request must be a form")
        pairs = request.form()
        form = dict(pairs)
        if len(form) != len(pairs):
            return _oauth(400, "invalid_request", "duplicated parameter")
        grant = form.get("grant_type")
        if not grant:
            return _oauth(400, "invalid_request", "Missing form parameter: grant_type")
        if grant != "client_credentials":
            return _oauth(400, "unsupported_grant_type", "Unsupported grant_type")
        client, secret = form.get("client_id", ""), form.get("client_secret", "")
        scheme, _, basic = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                client, _, secret = (unquote_plus(p) for p in base64.b64decode(basic).decode().partition(":"))
            except ValueError:
                client = secret = ""
        if (client, secret) != (data["client_id"], data["client_secret"]):
            if data["options"]["keycloak_legacy"]:
                return _oauth(400, "unauthorized_client", "Invalid client secret")
            return _oauth(401, "invalid_client", "Invalid client or Invalid client credentials")
        if not data["options"]["service_accounts"]:
            return _oauth(401, "unauthorized_client", "Client not enabled to retrieve service account")
        scopes = set(form.get("scope", "").split())
        needed = {"openid", "microprofile-jwt"} if data["options"]["scope_required"] else set()
        if not needed <= scopes <= _SCOPES:
            return _oauth(400, "invalid_scope", f"Invalid scopes: {form.get('scope', '')}")
        return self._issue(tenant, data["options"]["expires_in"])

    def _issue(self, tenant: str, life: int) -> SimResponse:
        """An opaque token for `life` seconds; expired ones are forgotten on the way."""
        now = self.now().timestamp()
        kept = {t: known for t, known in self.state["tokens"].items() if known["expires"] > now}
        token = f"eyJ{secrets.token_urlsafe(40)}"
        kept[token] = {"tenant": tenant, "expires": now + life}
        self.state["tokens"] = kept
        answer = {
            "access_token": token,
            "expires_in": life,
            "refresh_expires_in": 1800,
            "refresh_token": f"eyJ{secrets.token_urlsafe(40)}",
            "token_type": "Bearer",
            "id_token": f"eyJ{secrets.token_urlsafe(40)}",
            "not-before-policy": 0,
            "session_state": secrets.token_hex(16),
            "scope": "openid audience microprofile-jwt profile email",
        }
        return SimResponse(200, answer, {"Cache-Control": "no-store"})


def _oauth(status: int, code: str, text: str) -> SimResponse:
    return SimResponse(status, {"error": code, "error_description": text})

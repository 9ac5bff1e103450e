"""Raw HTTP to the simulated IFS Cloud. Nothing here knows our client."""

from __future__ import annotations

import json
from urllib.parse import quote

import requests

from integrations.ifs_cloud.simulator import IfsCloudSimulator

EDM = "{http://docs.oasis-open.org/odata/ns/edm}"
SCOPE = "openid microprofile-jwt"
CLIENTS = {"standard": ("standard1", "MLC", "ifs-demo-secret"), "custom": ("custom1", "MLCC", "ifs-custom-secret")}
SHIPMENTS = "ShipmentHandling.svc/ShipmentSet"
COMPLETED = "Objstate eq IfsApp.ShipmentHandling.ShipmentState'Completed'"


class Ifs:
    """One service user of one tenant, speaking plain HTTP."""

    def __init__(self, url: str, simulator: IfsCloudSimulator, tenant: str) -> None:
        self.url, self.simulator, self.tenant = url, simulator, tenant
        self.session = requests.Session()
        self.session.trust_env = False
        self.token = ""

    def token_request(self, realm: str | None = None, **form: str) -> requests.Response:
        own, client, secret = CLIENTS[self.tenant]
        fields = {"grant_type": "client_credentials", "client_id": client, "client_secret": secret, "scope": SCOPE} | form
        fields = {k: v for k, v in fields.items() if v}
        return self.session.post(f"{self.url}/auth/realms/{realm or own}/protocol/openid-connect/token", data=fields)

    def login(self) -> None:
        self.token = self.token_request().json()["access_token"]

    def call(
        self, method: str, path: str, *, root: str = "main/ifsapplications/projection/v1", headers: dict | None = None, **more
    ) -> requests.Response:
        if not self.token:
            self.login()
        sent = {"Authorization": f"Bearer {self.token}"} | (headers or {})
        return self.session.request(method, f"{self.url}/{root}/{path}", headers=sent, timeout=10, **more)

    def get(self, path: str, *, root: str = "main/ifsapplications/projection/v1", **options: object) -> requests.Response:
        query = "&".join(f"${k}={quote(str(v), safe='')}" for k, v in options.items())
        return self.call("GET", f"{path}?{query}" if query else path, root=root)

    def ids(self, **options: object) -> list[int]:
        answer = self.get(SHIPMENTS, **({"top": 500} | options))
        assert answer.status_code == 200, answer.text
        return [row["ShipmentId"] for row in answer.json()["value"]]

    def read(self, number: int) -> dict:
        return self.get(f"{SHIPMENTS}(ShipmentId={number})").json()

    def patch(self, number: int, body: object, etag: str | None, **headers: str) -> requests.Response:
        sent = {"Content-Type": "application/json"} | headers | ({"If-Match": etag} if etag else {})
        return self.call("PATCH", f"{SHIPMENTS}(ShipmentId={number})", data=json.dumps(body), headers=sent)

    def sim(self, name: str, **body: object) -> requests.Response:
        return self.session.post(f"{self.url}/_sim/{name}", json={"tenant": self.tenant} | body)


def error(answer: requests.Response) -> dict:
    assert answer.headers["Content-Type"].startswith("application/json")
    return answer.json()["error"]


def detail(answer: requests.Response) -> str:
    return error(answer)["details"][0]["message"]

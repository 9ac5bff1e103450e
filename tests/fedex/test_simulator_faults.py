"""How the simulated FedEx misbehaves on request, keeps its state and takes control calls (sheet 17 and 18)."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from integrations.base.simulator import SimulatorServer
from integrations.fedex.simulator import FedexSimulator
from tests.fedex.simulator_wire import Wire, codes, label_of, rate_body, ship_body

# -- Faults on creates: sheet 17 and 18 ---------------------------------------------------------------------------------


def test_lost_answer_is_a_purchase_that_a_look_up_finds(wire: Wire) -> None:
    """Sheet 17 and 18: dropped after commit."""
    wire.sim.fault("lost_answer", "POST /ship/v1/shipments$")
    with pytest.raises(requests.ConnectionError):
        wire.create()
    assert wire.sim.creates == 1
    found = wire.found(accountNumber="123456789", value="mlc-7f3a01")
    assert [r["trackingNumber"] for r in found] == [wire.sim.shipments()[0].master]


def test_fault_no_tracking_number_is_billed_but_silent(wire: Wire) -> None:
    """Sheet 17: 2xx without masterTrackingNumber is unknown."""
    wire.sim.fault("no_tracking_number", "POST /ship")
    answer = wire.create()
    assert answer.status_code == 200 and "masterTrackingNumber" not in answer.text and "trackingNumber" not in answer.text
    assert wire.sim.creates == 1


def test_fault_error_in_200_is_a_refusal(wire: Wire) -> None:
    """Sheet 4."""
    wire.sim.fault("error_in_200", "POST /ship")
    answer = wire.create()
    assert answer.status_code == 200 and codes(answer) == ["SYSTEM.UNEXPECTED.ERROR"] and "output" not in answer.json()
    assert wire.sim.creates == 0


def test_fault_rating_missing_ships_without_a_price(wire: Wire) -> None:
    """Sheet 6, fallback 3."""
    wire.sim.fault("rating_missing", "POST /ship")
    made = wire.made()
    assert "shipmentRating" not in made["completedShipmentDetail"]
    assert "packageRating" not in made["completedShipmentDetail"]["completedPackageDetails"][0]
    assert [a["code"] for a in made["alerts"]] == ["RATING.IS.UNAVAILABLE"]
    wire.sim.fault("rating_missing", "POST /rate")
    assert codes(wire.call("/rate/v1/rates/quotes", rate_body())) == ["RATING.QUOTE.NOTAVAILABLE"]


def test_faults_of_labels_and_warnings(wire: Wire) -> None:
    """Sheet 6 (label rule), 4 (alerts), 18."""
    for fault in ("label_garbage", "label_missing", "warning_alert"):
        wire.sim.fault(fault, "POST /ship")
    wire.sim.faults[1].skip, wire.sim.faults[2].skip = 1, 2
    assert not label_of(wire.made()).startswith(b"%PDF")
    assert wire.made()["pieceResponses"][0]["packageDocuments"] == []
    assert [a["alertType"] for a in wire.made()["alerts"]] == ["WARNING"]
    assert wire.sim.creates == 3


def test_server_faults_html_gzip_and_status(wire: Wire) -> None:
    """Sheet 1 and 18."""
    wire.sim.fault("html", "POST /ship", status=503)
    html = wire.create()
    assert html.status_code == 503 and "html" in html.headers["Content-Type"] and wire.sim.creates == 0
    wire.sim.fault("gzip", "POST /ship")
    packed = wire.create()
    assert packed.headers["Content-Encoding"] == "gzip" and packed.json()["output"]


# -- State, threads, control plane --------------------------------------------------------------------------------------


def test_state_survives_a_restart_as_plain_json(tmp_path: Path) -> None:
    """Sheet 18: numbers never come again; label bytes are not kept but are the same."""
    file = tmp_path / "fedex.json"
    first = FedexSimulator(state_file=file)
    with SimulatorServer([first]) as server:
        wire = Wire(first, server.url)
        wire.login()
        body = ship_body()
        body["labelResponseOptions"] = "URL_ONLY"
        made = wire.made(body)
        link = made["pieceResponses"][0]["packageDocuments"][0]["url"].removeprefix(server.url)
        label = requests.get(server.url + link, timeout=10).content
        wire.http.close()
    assert "JVBER" not in file.read_text() and json.loads(file.read_text())["counts"]["made"] == 1
    second = FedexSimulator(state_file=file)
    assert second.shipments() == first.shipments()
    with SimulatorServer([second]) as server:
        wire = Wire(second, server.url)
        wire.login()
        assert requests.get(server.url + link, timeout=10).content == label
        assert wire.made()["masterTrackingNumber"] != made["masterTrackingNumber"]
        wire.http.close()


def test_parallel_creates_give_distinct_numbers(wire: Wire) -> None:
    """Sheet 18: never repeated, under threads too."""
    barrier = threading.Barrier(8)

    def work(_: int) -> list[str]:
        mine = Wire(wire.sim, wire.url.removesuffix("/fedex"))
        mine.token = wire.token
        barrier.wait()
        numbers = [mine.made()["masterTrackingNumber"] for _ in range(10)]
        mine.http.close()
        return numbers

    with ThreadPoolExecutor(8) as pool:
        numbers = [number for part in pool.map(work, range(8)) for number in part]
    assert len(set(numbers)) == 80 == wire.sim.creates == wire.sim.live_labels()


def test_control_plane_refuses_what_it_does_not_know(wire: Wire) -> None:
    assert requests.post(f"{wire.url}/_sim/options", json={"expire_in": 1}, timeout=10).status_code == 400
    assert requests.post(f"{wire.url}/_sim/options", json={"timezone": "Mars/Base"}, timeout=10).status_code == 400
    assert requests.post(f"{wire.url}/_sim/scan", json={"tracking_number": "1", "event": "PU"}, timeout=10).status_code == 400
    with pytest.raises(KeyError):
        wire.sim.options(expire_in=1)
    assert requests.post(f"{wire.url}/_sim/expire_tokens", timeout=10).ok
    assert wire.create().status_code == 401


def test_future_is_measured_in_the_shippers_calendar(wire: Wire) -> None:
    """Sheet 12: end = today in the shipper's zone."""
    noon = wire.sim.now().replace(hour=3, minute=0)
    wire.sim.clock_offset_s += (noon - wire.sim.now()).total_seconds()
    wire.login()
    today = str(noon.date())
    asked = {"value": "x", "accountNumber": "123456789", "shipDateBegin": today, "shipDateEnd": today}
    wire.sim.options(timezone="America/Chicago")  # still yesterday there
    assert codes(wire.call("/track/v1/referencenumbers", {"referencesInformation": asked})) == ["TRACKING.SHIPDATEEND.FUTURE"]
    wire.sim.options(timezone="UTC")
    assert wire.call("/track/v1/referencenumbers", {"referencesInformation": asked}).status_code == 200

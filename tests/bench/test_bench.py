"""The benchmark runs: five shipments, every figure there. No figure is judged here: this is no timed test."""

from __future__ import annotations

import json
import sys

import pytest

from tests.bench import pages
from tests.bench.matrix import arguments, main

pytestmark = [pytest.mark.drill, pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads /proc")]


def test_five_shipments_give_every_figure(capsys: pytest.CaptureFixture[str]):
    assert main(["--shipments", "5", "--threads", "2", "--latency-ms", "20", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    [row] = told["throughput"]
    assert row["per_second"] > 0 and 0 < row["slot_use"] <= 1
    assert row["calls_per_shipment"]["fedex POST /ship/v1/shipments"] == 1
    assert row["cpu_ms"]["workers"] > 0 and row["worker_peak_mb"] > 0
    assert told["differs"][0]["environment"]["WORKER_THREADS"] == "2"
    counted = told["counts"]["sqlite"]
    assert counted["statements"] > counted["commits"] > 3
    assert counted["idle_calls"] == {"ifs_cloud GET ShipmentHandling.svc/ShipmentSet": 1}


def test_every_page_is_asked_for(capsys: pytest.CaptureFixture[str]):
    assert pages.main(["--rows", "300", "--repeat", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["pages"]) == set(pages.addresses(300, 1, 1))
    assert all(page["queries"] for by_user in told["pages"].values() for page in by_user.values())
    assert told["export"]["owner"]["rows"] == 300 and told["export"]["viewer"]["rows"] == 270


@pytest.mark.parametrize("wrong", ["--workers=0", "--shipments=-1", "--latency-ms=-5", "--repeat=0"])
def test_senseless_numbers_are_refused(wrong: str):
    with pytest.raises(SystemExit) as left:
        arguments([wrong])
    assert left.value.code == 2

"""The benchmark runs: five shipments, every figure there. No figure is judged here: this is no timed test."""

from __future__ import annotations

import datetime as dt
import json
import random
import sys
from collections import defaultdict

import pytest

from integrations.fedex.tracking import is_signed, read_push
from tests.bench import calls, pages, webhooks
from tests.bench.matrix import arguments, main
from tests.bench.site import WEBHOOK_SECRET

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
    assert pages.main(["--rows", "1000", "--repeat", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["pages"]) >= set(pages.addresses(1000, defaultdict(int), dt.date(2026, 1, 1)))
    assert all(page["queries"] for by_user in told["pages"].values() for page in by_user.values())
    assert told["export"]["owner"]["rows"] == 1000 and told["export"]["viewer"]["rows"] == 900
    assert told["month_end"]["viewer"]["rows"] and told["memory_mb"] > 10


def test_calls_are_counted_for_each_option(capsys: pytest.CaptureFixture[str]):
    assert calls.main(["--shipments", "2", "--only", "rates", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert sum(told["rates"].values()) - sum(told["defaults"].values()) == told["rates"]["fedex POST /rate/v1/rates/quotes"] == 1


def test_posts_are_signed_and_some_come_again():
    posts = webhooks.mixed(100, 0.3, 7, random.Random(1))
    assert len(posts) == 100 and len(set(posts)) == 70
    head, _, raw = posts[0].partition(b"\r\n\r\n")
    assert is_signed(raw, {"fdx-signature": head.partition(b"fdx-signature: ")[2].split(b"\r\n")[0].decode()}, [WEBHOOK_SECRET])
    [parcel] = read_push(raw)
    assert parcel.tracking_number == "794600000007"
    assert len(parcel.scans) == 8, "seven scans and the summary, which is ahead of them"


def test_the_web_server_is_started_as_the_procfile_says():
    line = webhooks.web_line({"WEB_HOST": "127.0.0.1", "PORT": "1234", "WEB_CONCURRENCY": "1"})
    assert line[:4] == [sys.executable, "-m", "gunicorn", "connector.wsgi"]
    assert "127.0.0.1:1234" in line and line[line.index("--workers") + 1] == "1" and not any("$" in word for word in line)


@pytest.mark.parametrize("wrong", ["--workers=0", "--shipments=-1", "--latency-ms=-5", "--repeat=0"])
def test_senseless_numbers_are_refused(wrong: str):
    with pytest.raises(SystemExit) as left:
        arguments([wrong])
    assert left.value.code == 2

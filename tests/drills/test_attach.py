"""A process dies between the steps of attaching a label, again and again; the last one leaves one document for the label."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from tests.drills.site import Site

DEATHS = ["answer_received:2", "write_sent:2", "write_sent:3"]
"""The document is made and its answer not kept; the file is sent and not noted; the connection is made and not noted."""


def attach_on(doc: dict[str, Any]) -> None:
    doc["integrations"][0]["options"] |= {"attach_label": "document"}
    doc["connections"][0]["settings"]["in_doubt"] = {"look_up_after_s": [0.2, 0.5, 1, 1, 1, 1, 1, 1], "resend_after_s": 0.5}
    for connection in doc["connections"]:
        connection["settings"]["timeouts"] = {"connect_s": 1, "read_s": 1.5, "total_s": 1.5}


def test_killed_between_any_two_steps_one_document_hangs_on_the_shipment(site_on: Callable[[str], Site]) -> None:
    site = site_on("sqlite")
    site.configure(attach_on)
    [number] = site.ready()
    for name in DEATHS:
        process = site.spawn("sync", site.slug, "--wait", "15", "--json", DRILL_KILL_AT=name)
        assert process.wait(60) == -signal.SIGKILL, f"{name} was never passed"
        assert len(site.ifs.documents()) == 1
    told = site.run("sync", site.slug, "--wait", "15")
    site.assert_each_shipped_once([number])
    assert site.creates() == 1
    assert told["open"] == {"waiting": 0, "running": 0, "in_doubt": 0, "needs_approval": 0, "failed": 0}
    [document] = site.ifs.documents()
    assert document["on"] == [f"SHIPMENT_ID={number}^"] and len(site.ifs.files()) == 1
    assert site.rows("SELECT count(*) FROM connector_effectsend WHERE outcome = 'done'") == [(2,)]
    counts = site.ifs.counts
    assert counts["POST CreateAndImportDocument.svc/CreateDocument"] == 1
    assert counts["PATCH CreateAndImportDocument.svc/FileData"] == 2
    assert counts["POST CreateAndImportDocument.svc/ConnectObject"] == 2

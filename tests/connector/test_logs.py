"""The log in both formats: fields, context, and no secret whoever wrote it."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.test import Client

from connector import tasks
from connector.models import Connection
from connector.services import logs, vendors
from tests.world import World

ROOT = Path(__file__).resolve().parents[2]
FORMATTERS = {"plain": logs.PlainLines("%(levelname)s %(name)s %(message)s"), "json": logs.JsonLines()}


@pytest.fixture(params=FORMATTERS)
def written(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What the root logger writes in one of the formats."""
    with captured(request.param) as stream:
        yield stream


class captured:
    """A handler of this format on the root logger."""

    def __init__(self, format: str) -> None:
        self.stream = io.StringIO()
        self.handler = logging.StreamHandler(self.stream)
        self.handler.setFormatter(FORMATTERS[format])

    def __enter__(self) -> io.StringIO:
        logging.getLogger().addHandler(self.handler)
        return self.stream

    def __exit__(self, *error: object) -> None:
        logging.getLogger().removeHandler(self.handler)


def objects(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail_with(text: str) -> None:
    raise ValueError(text)


@pytest.mark.django_db(transaction=True)
def test_no_secret_leaves_by_the_log(written: io.StringIO) -> None:
    """Also not in the text of an exception, in another spelling, or from another thread."""
    world = World.build()
    try:
        secret = "Mk-fedex=secret/9Xv+ü?"
        account = Connection.objects.get(slug="acme-fedex")
        account.set_secrets({"client_secret": secret})
        account.save()
        context = vendors.context_of(account)
        client = context.http("base", None)
        token = "tok-en-0123456789"
        client.redactor.add(token)
        spellings = [
            secret,
            quote(secret, safe=""),
            base64.b64encode(secret.encode()).decode(),
            base64.b64encode(f"demo-key:{secret}".encode()).decode(),
            token,
            settings.SECRET_KEY,
            settings.FIELD_ENCRYPTION_KEY[0],
            settings.AUDIT_KEY,
        ]

        def work() -> None:
            for spelling in spellings:
                logging.getLogger("foreign").error("the vendor said %s", spelling)
                try:
                    fail_with(f"cannot read {spelling}")
                except ValueError:
                    logging.getLogger("foreign").exception("it failed", extra={"request": spelling})

        work()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        text = written.getvalue()
        assert text.count("the vendor said [redacted]") == text.count("cannot read [redacted]") == 2 * len(spellings)
        readable = text if not text.startswith("{") else json.dumps(objects(written), ensure_ascii=False)
        for spelling in spellings:
            assert spelling not in text and spelling not in readable
    finally:
        world.close()


def test_an_object_has_named_fields_only() -> None:
    with captured("json") as stream, logs.about(transfer=17, correlation="t17-2"):
        logging.getLogger("x.y").warning('two\nlines and a "quote" %s', 5, extra={"request": "<all of it>", "password": "x"})
    [found] = objects(stream)
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "WARNING",
        "logger": "x.y",
        "message": 'two\nlines and a "quote" 5',
        "process": os.getpid(),
        "transfer": 17,
        "correlation": "t17-2",
    }


def test_what_a_record_is_about_ends_with_it() -> None:
    with captured("json") as stream:
        with logs.about(integration="a"), logs.about(flow="ship"):
            logging.getLogger("x").error("inside")
        logging.getLogger("x").error("outside")
    inside, outside = objects(stream)
    assert (inside["integration"], inside["flow"]) == ("a", "ship")
    assert "integration" not in outside and "flow" not in outside


@pytest.mark.django_db(transaction=True)
def test_a_transfer_in_trouble_says_who_it_is() -> None:
    world = World.build()
    try:
        world.ready(1)
        with captured("json") as stream:
            world.poll()
            world.integration.transfers.update(flow="gone")  # a release that no longer knows it
            world.work()
            world.ifs.fault("status", "GET", status=401, times=None)
            tasks.poll(world.integration.pk, "ship")
        transfer = world.integration.transfers.get()
        assert (transfer.state, transfer.code) == ("failed", "internal_error")
        told = [o for o in objects(stream) if o.get("transfer") == transfer.pk]
        assert told, stream.getvalue()
        for found in told:
            assert found["correlation"].startswith(f"t{transfer.pk}-")
            assert (found["integration"], found["flow"]) == ("acme-ifs-fedex", "gone")
        assert "no flow gone" in told[0]["exception"]
        [poll] = [o for o in objects(stream) if o["message"].startswith("poll of")]
        assert (poll["integration"], poll["flow"]) == ("acme-ifs-fedex", "ship")
        assert "transfer" not in poll
    finally:
        world.close()


def test_a_page_that_is_not_there_is_one_line_without_its_request() -> None:
    with captured("json") as stream:
        assert Client().get("/nothing?key=value").status_code == 404
    [found] = [o for o in objects(stream) if o["logger"] == "django.request"]
    assert found["message"] == "Not Found: /nothing"
    assert "value" not in stream.getvalue()


def started(log_format: str) -> subprocess.CompletedProcess[str]:
    """A process with the product's own settings."""
    code = "import django, logging; django.setup(); logging.getLogger('x').error('hello')"
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "connector.settings", "LOG_FORMAT": log_format, "DEBUG": "0"}
    env |= {"SECRET_KEY": settings.SECRET_KEY, "FIELD_ENCRYPTION_KEY": ",".join(settings.FIELD_ENCRYPTION_KEY)}
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_the_environment_chooses_the_format() -> None:
    assert json.loads(started("json").stderr)["message"] == "hello"
    assert started("plain").stderr.endswith(" ERROR x hello\n")
    wrong = started("xml")
    assert wrong.returncode != 0
    assert "LOG_FORMAT is plain or json." in wrong.stderr

"""Logs: two formats, no secrets, one line per event, and the rate limit."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from braid import log
from braid.log import LogFormat, LogOnce, log_once, without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield io.StringIO()
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_have_time_level_node_and_fields(stream: io.StringIO) -> None:
    log.configure(LogFormat.JSON, node="edge-fra-1", stream=stream)
    log.get("braid.session").info("session up", peer="gw-sto-1", epoch=3)
    (line,) = lines(stream)
    assert str(line.pop("timestamp")).endswith("Z")
    assert line == {
        "event": "session up", "level": "info", "logger": "braid.session", "node": "edge-fra-1", "peer": "gw-sto-1",
        "epoch": 3,
    }  # fmt: skip


def test_text_is_one_line_without_colours_off_a_terminal(stream: io.StringIO) -> None:
    log.configure(LogFormat.TEXT, stream=stream)
    log.get("x").warning("session refused", peer="evil\n2026-01-01 [info] forged\x1b[31m")
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "session refused" in text
    assert "forged" in text


def test_libraries_log_in_the_same_form(stream: io.StringIO) -> None:
    log.configure(LogFormat.JSON, node="n", stream=stream)
    logging.getLogger("hypercorn.error").warning("slow %s", "client")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["node"]) == ("slow client", "hypercorn.error", "n")


def test_the_level_filters(stream: io.StringIO) -> None:
    log.configure(LogFormat.JSON, level="warning", stream=stream)
    log.get("x").info("quiet")
    log.get("x").error("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_a_traceback_shows_no_local_variables(stream: io.StringIO, log_format: LogFormat) -> None:
    log.configure(log_format, stream=stream)
    private = "c2VjcmV0" * 4
    try:
        len(private) // 0
    except ZeroDivisionError:
        log.get("x").exception("task failed")
    assert "ZeroDivisionError" in stream.getvalue()
    assert "c2VjcmV0" not in stream.getvalue()


def test_configured_twice_logs_once(stream: io.StringIO) -> None:
    log.configure(LogFormat.JSON, stream=stream)
    log.configure(LogFormat.JSON, stream=stream)
    log.get("x").info("event")
    assert len(lines(stream)) == 1


@pytest.mark.parametrize(
    "name", ["private_key", "PrivateKey", "session_key", "hop_key", "secret", "api_token", "cookie_value", "password"]
)
def test_fields_that_name_a_secret_are_redacted(name: str) -> None:
    assert without_secrets(None, "", {"event": "e", name: "value"}) == {"event": "e", name: log.REDACTED}


@pytest.mark.parametrize("name", ["key", "public_key", "peer", "file", "keys"])
def test_other_fields_stay(name: str) -> None:
    assert without_secrets(None, "", {name: "regions.x"}) == {name: "regions.x"}


WRAPPINGS = [lambda b: b, lambda b: [b], lambda b: {"a": (b,)}, bytearray, memoryview]


@given(st.binary(min_size=24), st.sampled_from(WRAPPINGS))
def test_bytes_never_come_out(secret: bytes, wrap: object) -> None:
    assert callable(wrap)
    cleaned = without_secrets(None, "", {"event": "e", "value": wrap(secret)})
    assert "bytes, not logged]" in repr(cleaned)
    assert repr(secret)[2:-1] not in repr(cleaned)


def test_once_per_interval_with_the_count_between() -> None:
    once = LogOnce(interval=60)
    assert once.allow("a", 0.0) == 0
    assert [once.allow("a", now) for now in (1.0, 30.0, 59.9)] == [None] * 3
    assert once.allow("b", 59.9) == 0
    assert once.allow("a", 60.0) == 3
    assert once.allow("a", 61.0) is None


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 10)), max_size=200))
def test_memory_is_bounded_and_every_first_key_is_logged(events: list[tuple[int, float]]) -> None:
    once = LogOnce(interval=5, capacity=8)
    now, seen = 0.0, set()
    for key, wait in events:
        now += wait
        allowed = once.allow(key, now)
        if key not in seen:
            assert allowed == 0
        seen.add(key)
        assert len(once._seen) <= 8


def test_log_once_writes_the_count(stream: io.StringIO) -> None:
    log.configure(LogFormat.JSON, stream=stream)
    once = LogOnce(interval=10)
    for now in (0.0, 1.0, 2.0, 10.0):
        log_once(once, ("refused", 7), now, log.get("x"), "warning", "certificate refused", peer=7)
    assert [line.get("repeated") for line in lines(stream)] == [None, 2]
    assert lines(stream)[0]["level"] == "warning"

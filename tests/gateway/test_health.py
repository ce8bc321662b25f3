from __future__ import annotations

from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gateway.health import check_once, judge_status_line
from gateway.targets import CheckResult, Probe
from topology.model import CheckKind, HealthCheck

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LOCAL = ip_address("127.0.0.1")


def probe(port: int, kind: CheckKind) -> Probe:
    return Probe(("shop", LOCAL), port, HealthCheck(kind, port, "/healthz", 1.0, 0.5, 1, 1))


async def answer(reply: bytes, asked: list[bytes], stream: trio.SocketStream) -> None:
    asked.append(await stream.receive_some(4096))
    if reply:
        await stream.send_all(reply)


async def silence(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def check_against(
    serve: Callable[[trio.SocketStream], Awaitable[None]], kind: CheckKind, nursery: trio.Nursery
) -> CheckResult:
    (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host=str(LOCAL)))
    return await check_once(probe(listener.socket.getsockname()[1], kind))


async def test_a_target_that_accepts_passes_the_tcp_check(nursery: trio.Nursery) -> None:
    result = await check_against(silence, CheckKind.TCP, nursery)
    assert result == CheckResult(True, "connected")
    nursery.cancel_scope.cancel()


async def test_a_closed_port_fails_with_its_reason() -> None:
    with trio.socket.socket() as reserved:
        await reserved.bind((str(LOCAL), 0))
        result = await check_once(probe(reserved.getsockname()[1], CheckKind.TCP))
    assert result == CheckResult(False, "connection refused")


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", CheckResult(True, "HTTP 200")),
        (b"HTTP/1.0 302 Found\r\n\r\n", CheckResult(True, "HTTP 302")),
        (b"HTTP/1.1 503 Busy\r\n\r\n", CheckResult(False, "HTTP 503")),
        (b"SSH-2.0-x\r\n", CheckResult(False, "no HTTP answer")),
        (b"", CheckResult(False, "no HTTP answer")),
    ],
)
async def test_the_http_check_looks_at_the_status(reply: bytes, result: CheckResult, nursery: trio.Nursery) -> None:
    asked: list[bytes] = []
    assert await check_against(partial(answer, reply, asked), CheckKind.HTTP, nursery) == result
    assert asked[0].startswith(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:")
    assert asked[0].endswith(b"\r\n\r\n")
    nursery.cancel_scope.cancel()


async def test_a_target_that_never_answers_fails_in_time(nursery: trio.Nursery) -> None:
    with trio.fail_after(2):
        result = await check_against(silence, CheckKind.HTTP, nursery)
    assert result == CheckResult(False, "timeout after 0.5 s")
    nursery.cancel_scope.cancel()


@given(st.binary(max_size=2000))
def test_no_answer_of_a_target_is_an_error(received: bytes) -> None:
    judge_status_line(received)


@given(st.binary(max_size=20))
def test_a_status_line_without_a_number_fails(rest: bytes) -> None:
    line = b"HTTP/1.1 2" + rest.replace(b"\n", b"") + b"x\n"
    result = judge_status_line(line)
    assert result.passed is (len(line.split(b" ")[1].strip()) == 3 and line.split(b" ")[1].strip().isdigit())

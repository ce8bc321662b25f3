"""The status endpoint: through ASGI, and once through a real socket."""

from __future__ import annotations

import json
import socket
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from braid.status.app import ENDPOINTS, StatusBindError, host_allowed, make_app, serve
from braid.status.changes import Change, Kind, Tone
from braid.status.events import BYTES_PER_SECOND, MAX_CLIENTS, Feed
from braid.status.snapshot import Check
from tests.braid.fake_node import FakeView, edge_status, gateway_status, redundancy
from topology.model import SocketAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NAMES = {"localhost", "edge-fra-1"}
DOCUMENTED = (Path(__file__).resolve().parents[2] / "docs/status.md").read_text(encoding="utf-8")


@pytest.fixture
def view() -> FakeView:
    return FakeView()


@pytest.fixture
async def client(view: FakeView) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(make_app(view), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge-fra-1:7480") as client:
        yield client


async def test_status_is_the_snapshot(client: httpx.AsyncClient, view: FakeView) -> None:
    answer = await client.get("/status")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == json.loads(json.dumps(asdict(view.status)))
    assert answer.json()["paths"][1]["route"] == ["mid-lon-1", "gw-sto-1"]


async def test_paths_keep_their_fields_and_add_what_they_carry(client: httpx.AsyncClient, view: FakeView) -> None:
    whole = (await client.get("/status")).json()
    part = (await client.get("/paths")).json()
    kept = ("name", "role", "uptime_s", "paths", "received", "applications")
    assert {key: part[key] for key in kept} == {key: whole[key] for key in kept}
    there = next(choice for choice in part["choices"] if choice["direction"] == "to_gateway")
    assert (there["edge"], there["gateway"], there["application"]) == ("edge-fra-1", "gw-sto-1", "shop")
    assert (there["state"], there["joint_loss"], there["why"]) == (
        "reduced", 0.0006, "cheapest disjoint pair; no other choice",
    )  # fmt: skip
    assert [path["route"] for path in there["paths"]] == [["mid-lon-1", "gw-sto-1"], ["mid-ams-1", "gw-sto-1"]]
    assert part["changes"] == []
    view.recorder.changes.add([Change(1.0, Kind.PATH, Tone.BAD, "x", "text", "cause")])
    (change,) = (await client.get("/paths")).json()["changes"]
    assert (change["text"], change["cause"], change["tone"]) == ("text", "cause", "bad")


async def test_the_overlay_names_paths_once(client: httpx.AsyncClient) -> None:
    seen = (await client.get("/overlay")).json()
    assert {node["name"]: node["age_s"] for node in seen["nodes"]}["mid-ams-1"] is None
    assert ["edge-fra-1", "gw-sto-1", 0] in seen["choices"][0]["paths"]
    assert {(path["source"], path["destination"], path["id"]) for path in seen["paths"]} >= {
        ("edge-fra-1", "gw-sto-1", 0)
    }


async def test_history_of_one_and_of_all(client: httpx.AsyncClient, view: FakeView) -> None:
    now = trio.current_time()
    for second in range(600):
        view.recorder.history.record(("n", "link", "m"), {"rtt_ms": float(second)}, now - 599 + second)
    view.recorder.history.record(("n", "link", "other"), {"up": 1.0}, now)
    answer = (await client.get("/history?points=4")).json()
    assert [curve["name"] for curve in answer["curves"]] == ["m", "other"]
    assert len(answer["curves"][0]["values"]["rtt_ms"]) == 4
    one = (await client.get("/history?node=n&kind=link&name=m&points=600")).json()
    assert (one["span_s"], len(one["curves"])) == (600, 1)
    assert one["curves"][0]["values"]["rtt_ms"][-1] in (599, None)
    assert (await client.get("/history?node=n&kind=link&name=nobody")).json()["curves"] == []
    assert (await client.get("/history?range=24h")).json()["span_s"] == 86400
    for bad in ("range=1y", "points=0", "points=601", "points=x"):
        assert (await client.get(f"/history?{bad}")).status_code == 400


async def test_flows_have_a_limit(client: httpx.AsyncClient, view: FakeView) -> None:
    assert len((await client.get("/flows")).json()["flows"]) == 2
    answer = (await client.get("/flows?limit=1")).json()
    assert [flow["client"] for flow in answer["flows"]] == ["10.91.1.10:40000"]
    assert view.asked == [100, 1]


@pytest.mark.parametrize("limit", ["0", "-1", "10001", "x", "", "1e3", "\u0661", "9" * 5000])
async def test_a_bad_limit_is_refused(client: httpx.AsyncClient, view: FakeView, limit: str) -> None:
    answer = await client.get("/flows", params={"limit": limit})
    assert answer.status_code == 400
    assert answer.json() == {"error": "limit must be a whole number from 1 to 10000"}
    assert view.asked == []


async def test_readiness_names_what_fails(client: httpx.AsyncClient, view: FakeView) -> None:
    good = await client.get("/readyz")
    assert (good.status_code, good.json()["ok"], good.json()["failing"]) == (200, True, [])
    view.checks = (Check("tun", True), Check("sessions", False, "no session with gw-sto-1"))
    bad = await client.get("/readyz")
    assert bad.status_code == 503
    assert bad.json()["failing"] == ["sessions"]
    assert bad.json()["checks"][1] == {"name": "sessions", "ok": False, "detail": "no session with gw-sto-1"}


async def test_liveness_is_apart_from_readiness(client: httpx.AsyncClient, view: FakeView) -> None:
    view.checks = (Check("sessions", False),)
    assert (await client.get("/livez")).status_code == 200
    view.living = Check("data thread", False, "no turn for 3 s")
    answer = await client.get("/livez")
    assert (answer.status_code, answer.json()["failing"]) == (503, ["data thread"])


async def test_the_page_and_its_files_have_types_and_a_strict_policy(client: httpx.AsyncClient) -> None:
    types = {"/": "text/html", "/page/page.css": "text/css", "/page/page.js": "text/javascript",
             "/page/icon.svg": "image/svg+xml"}  # fmt: skip
    for path, kind in types.items():
        answer = await client.get(path)
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        again = await client.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    for path in ("/page/app.py", "/page/", "/page/..%2fapp.py", "/page/%2e%2e/app.py"):
        assert (await client.get(path)).status_code == 404


async def test_an_unknown_path_is_404_in_json(client: httpx.AsyncClient) -> None:
    answer = await client.get("/secret")
    assert answer.status_code == 404
    assert answer.json()["endpoints"] == list(ENDPOINTS)


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_only_get_and_head(client: httpx.AsyncClient, path: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = await client.request(method, path)
        assert answer.status_code == 405
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}
        assert answer.json()["error"]
    assert (await client.head(path)).status_code == 200
    if path == "/events":
        return
    answer = await client.get(path, headers={"Origin": "http://elsewhere.example"})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", [*ENDPOINTS, "/secret"])
async def test_a_foreign_host_name_is_misdirected(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, headers={"Host": "rebind.example"})
    assert answer.status_code == 421
    assert "paths" not in answer.json()


async def test_a_failing_node_answers_500_without_details(client: httpx.AsyncClient, view: FakeView) -> None:
    view.broken = True
    answer = await client.get("/status")
    assert answer.status_code == 500
    assert answer.json() == {"error": "internal error, see the node's log"}


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:7480", "LOCALHOST", "edge-fra-1:7480", "Edge-Fra-1", "edge-fra-1.", "127.0.0.1",
     "10.90.0.11:7480", "[fd90::11]", "[fd90::11]:7480", "[::ffff:10.0.0.1]:1"],
)  # fmt: skip
def test_own_hosts(host: str) -> None:
    assert host_allowed(host, NAMES)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":80",
        "evil.example",
        "localhost.evil.example",
        "evil.example:7480",
        "10.90.0.11.evil.example",
        "127.1",
        "0x7f000001",
        "2130706433",
        "[10.0.0.1]",
        "fd90::11",
        "[fd90::11",
        "[fd90::11]:x",
        "localhost:",
        "localhost:123456",
        "localhost:80:80",
        "localhost@evil.example",
        "localhost,evil.example",
        "l\u00f6calhost",
        "[fe80::1%25eth0]",
    ],
)
def test_foreign_hosts(host: str) -> None:
    assert not host_allowed(host, NAMES)


@given(st.text(max_size=40))
def test_any_host_is_allowed_or_not(host: str) -> None:
    assert host_allowed(host, NAMES) in {True, False}


@given(st.from_regex(r"[a-z]{1,8}(\.[a-z]{2,8}){1,3}(:[0-9]{1,5})?", fullmatch=True))
def test_no_dotted_name_passes(host: str) -> None:
    assert not host_allowed(host, NAMES)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def exchange(port: int, request: bytes) -> tuple[bytes, bytes]:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(request)
        received = b"".join([part async for part in stream])
    head, _, body = received.partition(b"\r\n\r\n")
    return head, body


async def test_over_a_real_socket_until_cancelled(view: FakeView, capfd: pytest.CaptureFixture[str]) -> None:
    bind = SocketAddress(ip_address("127.0.0.1"), free_port())
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, view, bind)
            async with httpx.AsyncClient() as client:
                answer = await client.get(f"http://{bind}/status")
                assert answer.json()["name"] == "edge-fra-1"
                assert "server" not in answer.headers
                assert "braid_ready 1.0" in (await client.get(f"http://{bind}/metrics")).text
            head, body = await exchange(
                bind.port, b"HEAD /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            assert head.startswith(b"HTTP/1.1 200")
            assert body == b""
            head, _ = await exchange(bind.port, b"GET /readyz HTTP/1.0\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            head, _ = await exchange(bind.port, b"\x00\xff nonsense\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 400")
            with pytest.raises(StatusBindError) as refused:
                await serve(view, bind)
            assert "`status:`" in str(refused.value)
            assert str(bind) in str(refused.value)
            nursery.cancel_scope.cancel()
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", bind.port))
    assert capfd.readouterr() == ("", "")


async def ask(stack: AsyncExitStack, port: int, request: bytes, buffer: int = 1 << 16) -> trio.SocketStream:
    """A connection over which ``request`` was sent; closed with the stack."""
    made = trio.socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    await made.connect(("127.0.0.1", port))
    stream = await stack.enter_async_context(trio.SocketStream(made))
    await stream.send_all(request)
    return stream


async def read_until(stream: trio.SocketStream, mark: bytes, times: int = 1) -> bytes:
    received = b""
    with trio.fail_after(60):
        while received.count(mark) < times:
            part = await stream.receive_some(1 << 16)
            assert part, received
            received += part
    return received


EVENTS = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def test_events_come_again_and_again_to_so_many_clients(view: FakeView) -> None:
    bind = SocketAddress(ip_address("127.0.0.1"), free_port())
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        await nursery.start(serve, view, bind)
        first = await ask(stack, bind.port, EVENTS)
        received = await read_until(first, b"event: overlay\n", 2)
        assert b"content-type: text/event-stream" in received
        seen = json.loads(received.split(b"data: ")[1].split(b"\n\n")[0])
        assert seen["seen_by"] == "edge-fra-1"
        for _ in range(MAX_CLIENTS - 1):
            await read_until(await ask(stack, bind.port, EVENTS), b"event: overlay")
        refused = await read_until(await ask(stack, bind.port, EVENTS), b"/overlay")
        assert refused.startswith(b"HTTP/1.1 503")
        await first.aclose()
        with trio.fail_after(60):
            while True:
                again = await ask(stack, bind.port, EVENTS)
                if (await again.receive_some(100)).startswith(b"HTTP/1.1 200"):
                    break
                await trio.sleep(0.05)
        nursery.cancel_scope.cancel()


def established(port: int, client: int) -> bool:
    """Whether the server's end of a connection is there."""
    ends = f":{port:04X}", f":{client:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()]
    return any((line[1][8:], line[2][8:], line[3]) == (*ends, "01") for line in lines)


async def test_a_client_that_does_not_read_is_dropped_and_so_is_half_a_request(view: FakeView) -> None:
    view.recorder.changes.add([Change(1.0, Kind.PATH, Tone.BAD, "x", "y" * 120, "z" * 120)] * 200)
    bind = SocketAddress(ip_address("127.0.0.1"), free_port())
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
            await nursery.start(partial(serve, view, bind, stall_s=1.0))
            asked = b"GET /paths HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100
            stalled = await ask(stack, bind.port, asked, buffer=2048)
            half = await ask(stack, bind.port, b"GET /status HTTP/1.1\r\nHost: loc")
            fast = await ask(stack, bind.port, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await read_until(fast, b'"ok":true')
            client = stalled.socket.getsockname()[1]
            while True:
                if not await trio.to_thread.run_sync(established, bind.port, client):
                    break
                await trio.sleep(0.1)
            assert await half.receive_some(1000) == b""
            nursery.cancel_scope.cancel()


async def test_a_foreign_address_is_a_bind_error(view: FakeView) -> None:
    with pytest.raises(StatusBindError, match="status:"):
        await serve(view, SocketAddress(ip_address("192.0.2.1"), 7480))


async def test_signal_handlers_stay_as_they_are(view: FakeView) -> None:
    import signal

    before: list[Any] = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, view, SocketAddress(ip_address("127.0.0.1"), free_port()))
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)] == before
        nursery.cancel_scope.cancel()


async def test_every_field_is_documented(client: httpx.AsyncClient, view: FakeView) -> None:
    view.status = replace(gateway_status(), redundancy=(redundancy(),))
    view.recorder.changes.add([Change(1.0, Kind.PATH, Tone.BAD, "x", "text", "cause")])
    view.changes = view.recorder.changes.last()
    documents = [
        *[(await client.get(path)).json() for path in ("/status", "/flows", "/paths", "/overlay", "/history")],
        asdict(edge_status()),
    ]
    missing = {name for document in documents for name in fields_of(document) if f"`{name}" not in DOCUMENTED}
    assert not missing


def fields_of(value: Any) -> set[str]:
    """Names of fields in a document; keys of ``drops`` and the like are no fields."""
    if isinstance(value, list | tuple):
        return set().union(*(fields_of(item) for item in value)) if value else set()
    if not isinstance(value, dict):
        return set()
    free = ("drops", "dns", "change_counts", "refused")
    nested = (fields_of(item) for name, item in value.items() if name not in free)
    return set(value).union(*nested)


def test_a_large_overlay_is_made_and_sent_more_rarely() -> None:
    made: list[int] = []

    def document() -> dict[str, Any]:
        made.append(1)
        return {"text": "x" * 3 * BYTES_PER_SECOND}

    feed = Feed(document)
    for now in (0.0, 1.0, 2.5):
        feed.message(now)
    assert len(made) == 1
    assert 3 < feed.interval(feed.message(3.2)) < 3.1
    assert len(made) == 2

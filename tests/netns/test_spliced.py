"""Promoted and spliced connections in nodes of several shards: what both ends negotiate, packets' sizes, lossy links,
addresses that clients keep, and the ways in which connections end."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from lab.impairment import Impairment
from lab.origin import digest, size_of
from lab.witness import witness
from tests.netns import hosts, labs, traffic
from tests.netns.connections import (
    CLIENT,
    GATEWAY,
    SERVER,
    accept,
    connect,
    fetch,
    listener,
    proxy,
    receive,
    receive_all,
    reset,
    wait_spliced,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

SHARDS = 2
OWN = "origin-3"
"""A server that sees clients' own addresses."""
BODY = bytes(range(256)) * 8192


def servers(*last: int) -> list[str]:
    return [f"{net}{number}" for net in ("10.93.0.", "fd93::") for number in last]


def application(name: str, last: list[int], ports: str, **proxy: Any) -> dict[str, Any]:
    return {
        "hostnames": [f"{name}.apps.example"],
        "ports": ["tcp/80", ports],
        "targets": [{"address": address} for address in servers(*last)],
        "gateways": ["gw-sto"],
        "mode": "proxy",
        "proxy": proxy,
    }


def document() -> dict[str, Any]:
    found = labs.demo("spliced")
    for node in ("edge-fra-1", GATEWAY):
        found["nodes"][node]["shards"] = SHARDS
    found["lab"]["hosts"][OWN] = {"kind": "origin"}
    found["lab"]["networks"]["origins"]["members"][OWN] = ["10.93.0.12", "fd93::12"]
    rules = [
        {"servers": servers(10), "path": "/object/3MB"},
        {"servers": servers(11), "path": "/object/2MB"},
        {"servers": servers(12)},
    ]
    found["applications"] |= {
        "plain": application("plain", [11], "tcp/6000-6010", kind="tcp"),
        "stack": application("stack", [11], "tcp/6000-6010", kind="http"),
        "three": application("three", [10, 11, 12], "tcp/6000", kind="http", splice_above=100_000, rules=rules),
        "long": application("long", [11], "tcp/6000-6010", kind="http", splice_above=100_000),
        "own": application("own", [12], "tcp/6000-6010", kind="tcp", client_address="transparent"),
        "own-http": application(
            "own-http", [12], "tcp/6000", kind="http", client_address="transparent", splice_above=100_000
        ),
    }
    return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    with labs.running(document(), tmp_path_factory.mktemp("spliced")) as running:
        if proxy(running)["accepted_by"] != "fast-path":
            pytest.skip("this kernel builds no sockets from records (TCP_REPAIR)")
        for family, clients, gateway in (("-4", "10.91.0.0/16", "10.93.0.2"), ("-6", "fd91::/16", "fd93::2")):
            running.exec(OWN, ["ip", family, "route", "add", clients, "via", gateway])
        yield running


def reload(lab: RunningLab, idle_timeout: int) -> None:
    """A changed file, which all nodes have read then."""
    changed = document()
    changed["applications"]["own"]["proxy"]["idle_timeout"] = idle_timeout
    before = lab.status(GATEWAY)["topology"]["revision"]
    lab.file.write_text(yaml.safe_dump(changed, sort_keys=False))
    deadline = time.monotonic() + 10
    while (known := lab.status(GATEWAY)["topology"])["revision"] == before:
        assert time.monotonic() < deadline, known
        time.sleep(0.05)


def three_urls(lab: RunningLab) -> int:
    """One connection, three servers; how many of the answers were spliced."""
    before = proxy(lab, "three")
    assert fetch(lab, "three", 4, "3MB", "2MB", "4MB") == ["1", "0", "0"]
    after = proxy(lab, "three")
    for origin in servers(10, 11, 12)[:3]:
        (now,) = [each["requests"] for each in after["servers"] if each["address"].startswith(origin)]
        then = [each["requests"] for each in before["servers"] if each["address"].startswith(origin)]
        assert now == sum(then) + 1, origin
    return int(after["spliced"] - before["spliced"])


def test_one_connection_three_urls_three_servers_and_each_answer_is_spliced(lab: RunningLab) -> None:
    before = proxy(lab, "three")["promoted"]
    assert three_urls(lab) == 3, proxy(lab, "three")["stayed"]
    assert proxy(lab, "three")["promoted"] == before + 3


def test_the_same_over_links_that_lose_and_reorder(lab: RunningLab, figure: Callable[[str, object], None]) -> None:
    ends = ("edge-fra-1", GATEWAY)
    for number, (end, relay) in enumerate(itertools.product(ends, labs.pair(lab, *ends))):
        lab.impair(end, relay, Impairment(loss=0.03, reorder=0.03, reorder_ms=2.0, seed=60 + number))
    try:
        spliced = sum(three_urls(lab) for _ in range(3))
    finally:
        labs.mend(lab)
    assert spliced >= 3, proxy(lab, "three")["stayed"]
    figure("Splices of 9 answers, 1 connection and 3 servers each 3, 3 % loss and reordering, 2 copies", spliced)


def object_over(lab: RunningLab, name: str, version: int) -> int:
    """An object through an application, exact; the largest packet that the client saw."""
    vip = labs.vip(lab, name, version)
    with witness(lab, CLIENT, vip) as seen:
        url = f"http://{traffic.endpoint(vip, 80)}/object/1MB"
        assert traffic.download(lab, CLIENT, url, "--max-time", "20").sha256 == digest(size_of("1MB"))
    assert seen.missed == 0
    return seen.largest


def test_every_pair_of_option_sets_works_in_the_stack_and_spliced(lab: RunningLab) -> None:
    """Where the server alone has timestamps the connection stays, since they cannot be taken out."""
    sets = hosts.option_sets()
    for of_client, of_server in itertools.product(sets, sets):
        with hosts.options(lab, CLIENT, **of_client), hosts.options(lab, SERVER, **of_server):
            before = proxy(lab)
            for version in (4, 6):
                object_over(lab, "stack", version)
                object_over(lab, "plain", version)
            after = proxy(lab)
        if of_server["timestamps"] and not of_client["timestamps"]:
            reason = "timestamps_of_the_server_alone"
            assert after["stayed"][reason] == before["stayed"].get(reason, 0) + 2
        else:
            assert after["spliced"] == before["spliced"] + 2, (of_client, of_server, after["stayed"])


@pytest.mark.parametrize("size", [1280, 1400, 1500])
@pytest.mark.parametrize("host", [CLIENT, SERVER])
def test_no_packet_exceeds_an_mtu(lab: RunningLab, host: str, size: int) -> None:
    with hosts.mtu(lab, host, size):
        for version, name in itertools.product((4, 6), ("stack", "plain", "long")):
            assert object_over(lab, name, version) <= (size if host == CLIENT else 1500)


@pytest.mark.parametrize("version", [4, 6])
def test_a_server_sees_its_clients_address_in_the_stack_and_spliced(lab: RunningLab, version: int) -> None:
    address = "10.91.1.10" if version == 4 else "fd91:1::10"
    before = proxy(lab, "own")
    with (
        listener(lab, 6001, OWN) as listening,
        connect(lab, 6001, version, "own") as client,
        accept(listening) as server,
    ):
        assert server.getpeername()[0].removeprefix("::ffff:") == address
        client.sendall(b"in the stack")
        assert receive(server, 12) == b"in the stack"
        server.sendall(b"220")
        assert receive(client, 3) == b"220"
        wait_spliced(lab, before["spliced"], "own")
        sender = threading.Thread(target=server.sendall, args=(BODY,))
        sender.start()
        assert receive(client, len(BODY)) == BODY
        sender.join()
        client.sendall(b"spliced")
        assert receive(server, 7) == b"spliced"
    vip = traffic.endpoint(labs.vip(lab, "own-http", version), 80)
    for _ in range(2):
        assert traffic.curl_json(lab, CLIENT, f"http://{vip}/headers")["client"] == address
    before = proxy(lab, "own-http")
    assert fetch(lab, "own-http", version, "3MB", "1000", "3MB") == ["1", "0", "0"]
    after = proxy(lab, "own-http")
    assert after["spliced"] >= before["spliced"] + 1, after["stayed"]


def test_the_reverse_path_filter_may_be_strict(lab: RunningLab) -> None:
    names = lab.exec(GATEWAY, ["ls", "/proc/sys/net/ipv4/conf"]).stdout.split()

    def write(value: int) -> None:
        lab.exec(GATEWAY, ["sysctl", "-qw", *(f"net/ipv4/conf/{name}/rp_filter={value}" for name in names)])

    write(1)
    try:
        reload(lab, 302)
        for name in ("own", "own-http", "plain", "stack"):
            object_over(lab, name, 4)
    finally:
        write(0)


def test_each_shard_has_connections_in_the_stack_and_spliced(lab: RunningLab) -> None:
    count = 16

    def flows(mode: str) -> list[dict[str, Any]]:
        found = lab.status(GATEWAY, "/flows?limit=1000")["flows"]
        return [each for each in found if each["vip"].endswith(":6002") and each["mode"] == mode]

    with ExitStack() as stack, listener(lab, 6002) as listening:
        pairs = []
        for number in range(count):
            client = stack.enter_context(connect(lab, 6002, 4 if number % 2 else 6))
            pairs.append((client, stack.enter_context(accept(listening))))
        for client, server in pairs:
            client.sendall(b"first")
            assert receive(server, 5) == b"first"
        assert {int(each["snat"].rpartition(":")[2]) % SHARDS for each in flows("normal")} == set(range(SHARDS))
        before = proxy(lab)["spliced"]
        for client, server in pairs:
            server.sendall(b"answer")
            assert receive(client, 6) == b"answer"
        deadline = time.monotonic() + 5
        while proxy(lab)["spliced"] < before + count:
            assert time.monotonic() < deadline, proxy(lab)["stayed"]
            time.sleep(0.02)
        spliced = flows("spliced")
        assert len(spliced) == count
        assert {int(each["snat"].rpartition(":")[2]) % SHARDS for each in spliced} == set(range(SHARDS))
        reload(lab, 301)
        for client, server in pairs:
            server.sendall(b"more" * 1000)
            client.sendall(b"second")
            assert receive(server, 6) == b"second"
            assert receive(client, 4000) == b"more" * 1000


# HAProxy's splice bugs, by name, each on a connection that is spliced.


def spliced(lab: RunningLab, port: int, room: int | None = None) -> tuple[socket.socket, socket.socket]:
    """Client and server of a connection that has carried a byte each way and is in the data plane."""
    before = proxy(lab)["spliced"]
    with listener(lab, port) as listening:
        client = connect(lab, port, room=room)
        server = accept(listening)
    client.sendall(b"?")
    assert receive(server, 1) == b"?"
    server.sendall(b"!")
    assert receive(client, 1) == b"!"
    wait_spliced(lab, before)
    return client, server


def gone(lab: RunningLab, port: int) -> None:
    """The gateway has nothing of a port's connections any more that it would carry on."""
    deadline = time.monotonic() + 5
    while True:
        flows = lab.status(GATEWAY, "/flows?limit=1000")["flows"]
        left = [each["state"] for each in flows if each["vip"].endswith(f":{port}")]
        if not any(state in ("established", "transitory", "opening") for state in left):
            return
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_server_closes_with_data_in_flight(lab: RunningLab) -> None:
    """At any moment of the splice: the end comes behind the bytes, wherever they are then."""
    for number in range(30):
        body = BODY[: 1 + number * 9_973]
        with listener(lab, 6003) as listening, connect(lab, 6003) as client, accept(listening) as server:
            server.sendall(body)
            server.shutdown(socket.SHUT_WR)
            assert receive_all(client) == body, number
            client.sendall(b"thank")
            assert receive(server, 5) == b"thank"
    gone(lab, 6003)


def test_slow_client_whose_window_closes(lab: RunningLab) -> None:
    """Its server is held up, and goes on when the client does."""
    client, server = spliced(lab, 6004, room=8192)
    with client, server:
        sender = threading.Thread(target=server.sendall, args=(BODY,))
        sender.start()
        time.sleep(1.2)
        assert sender.is_alive()
        assert receive(client, len(BODY)) == BODY
        sender.join()


def http_server(lab: RunningLab, port: int, *, closes: bool) -> threading.Thread:
    """Answers requests with ``BODY`` and its exact length; then it is silent, or closes without having said so."""
    listening = listener(lab, port)

    def serve() -> None:
        with listening:
            for _ in range(2 if closes else 1):
                with accept(listening) as server:
                    for _ in range(1 if closes else 2):
                        assert b"\r\n\r\n" in server.recv(65536)
                        server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
                    if not closes:
                        server.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("closes", [False, True], ids=["silence", "close"])
def test_exact_content_length_then(lab: RunningLab, closes: bool) -> None:
    """The client has its answer at once and asks again on the same connection, which it keeps."""
    thread = http_server(lab, 6005, closes=closes)
    before = proxy(lab, "long")["spliced"]
    vip = labs.vip(lab, "long")
    with witness(lab, CLIENT, vip) as seen, connect(lab, 6005, application="long") as client:
        for _ in range(2):
            began = time.monotonic()
            client.sendall(b"GET / HTTP/1.1\r\nHost: long.apps.example\r\n\r\n")
            data = b""
            while b"\r\n\r\n" not in data:
                data += receive(client, 1)
            assert receive(client, len(BODY)) == BODY
            assert time.monotonic() - began < 2
    thread.join(10)
    # What a kept server sends at once may all be there before it can be spliced.
    assert proxy(lab, "long")["spliced"] >= before + 1, proxy(lab, "long")["stayed"]
    assert (seen.connections, dict(seen.control), seen.missed) == (1, {}, 0)


def test_client_half_closes_while_the_server_sends(lab: RunningLab) -> None:
    client, server = spliced(lab, 6006)
    with client, server:
        sender = threading.Thread(target=server.sendall, args=(BODY,))
        sender.start()
        assert receive(client, 10_000) == BODY[:10_000]
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        assert receive(client, len(BODY) - 10_000) == BODY[10_000:]
        sender.join()
        server.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    gone(lab, 6006)


@pytest.mark.parametrize("by_client", [True, False], ids=["client", "server"])
def test_reset_in_the_middle(lab: RunningLab, by_client: bool) -> None:
    client, server = spliced(lab, 6007)
    with client, server:
        resetting, other = (client, server) if by_client else (server, client)
        sender = threading.Thread(target=send_until_reset, args=(other,))
        sender.start()
        assert receive(resetting, 100_000)
        reset(resetting)
        sender.join(5)
        assert not sender.is_alive(), "whoever sends hears of it"
    gone(lab, 6007)


def send_until_reset(to: socket.socket) -> None:
    with suppress(ConnectionResetError, BrokenPipeError):
        while True:
            to.sendall(BODY)


def test_both_close_at_once(lab: RunningLab) -> None:
    for _ in range(5):
        client, server = spliced(lab, 6008)
        with client, server:
            client.sendall(b"last of the client")
            server.sendall(b"last of the server")
            for each in (client, server):
                each.shutdown(socket.SHUT_WR)
            assert receive_all(client) == b"last of the server"
            assert receive_all(server) == b"last of the client"
    gone(lab, 6008)

"""Proxied connections between fast path, stack and data plane: real clients and servers, and a witness."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.netns import labs
from tests.netns.connections import GATEWAY, connect, fetch, listener, proxy, receive, reset, wait_spliced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.running import RunningLab

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    document = labs.demo("normal")
    document["applications"]["plain"] = {
        "hostnames": ["plain.apps.example"],
        "ports": ["tcp/80", "tcp/6000-6010"],
        "targets": [{"address": "10.93.0.11"}, {"address": "fd93::11"}],
        "gateways": ["gw-sto"],
        "mode": "proxy",
        "proxy": {"kind": "tcp"},
    }
    document["applications"]["long"] = {
        "hostnames": ["long.apps.example"],
        "ports": ["tcp/80"],
        "targets": [{"address": f"{net}{last}"} for net in ("10.93.0.", "fd93::") for last in (10, 11)],
        "gateways": ["gw-sto"],
        "mode": "proxy",
        "proxy": {
            "kind": "http",
            "splice_above": 100_000,
            "rules": [
                {"servers": ["10.93.0.10", "fd93::10"], "path": "/object/3MB"},
                {"servers": ["10.93.0.11", "fd93::11"]},
            ],
        },
    }
    with labs.running(document, tmp_path_factory.mktemp("normal")) as running:
        if proxy(running)["accepted_by"] != "fast-path":
            pytest.skip("this kernel builds no sockets from records (TCP_REPAIR)")
        yield running


@pytest.mark.parametrize("version", [4, 6])
def test_objects_are_exact_and_the_client_sees_no_control_packet(
    lab: RunningLab, version: int, figure: Callable[[str, object], None]
) -> None:
    """Three requests on one connection: it is promoted for the first, spliced with the first byte of the answer."""
    before = proxy(lab)
    assert fetch(lab, "plain", version, "1000", "3MB", "3MB") == ["1", "0", "0"]
    after = proxy(lab)
    assert after["promoted"] == before["promoted"] + 1
    assert after["spliced"] == before["spliced"] + 1, after["stayed"]
    figure(f"normal path, IPv{version}: 3 URLs on a connection that is promoted and spliced", "exact, 0 SYN, FIN, RST")


@pytest.mark.parametrize("version", [4, 6])
def test_a_long_answer_is_spliced_and_the_next_request_may_go_to_another_server(
    lab: RunningLab, version: int, figure: Callable[[str, object], None]
) -> None:
    before = proxy(lab, "long")
    assert fetch(lab, "long", version, "3MB", "1000", "2MB", "3MB", "1000") == ["1", "0", "0", "0", "0"]
    after = proxy(lab, "long")
    spliced = after["spliced"] - before["spliced"]
    assert spliced >= 2, after["stayed"]
    assert after["promoted"] == before["promoted"] + 1 + spliced, after["stayed"]
    figure(
        f"normal path, IPv{version}: 5 answers on a connection, {spliced} of 3 long ones spliced",
        "exact, 0 SYN, FIN, RST",
    )


def test_a_server_that_closes_with_data_in_flight_to_a_slow_client(lab: RunningLab) -> None:
    """All of the answer comes, then the end, and the client's last bytes still reach the server."""
    body = bytes(range(256)) * 8192
    heard: list[bytes] = []

    def serve(listening: socket.socket) -> None:
        accepted, _ = listening.accept()
        with accepted:
            accepted.sendall(body)
            accepted.shutdown(socket.SHUT_WR)
            accepted.settimeout(20)
            heard.append(receive(accepted, 5))

    before = proxy(lab)["spliced"]
    with listener(lab, 6001) as listening, connect(lab, 6001) as client:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        data = bytearray()
        while more := client.recv(16_384):
            data += more
            if len(data) < 400_000:
                time.sleep(0.005)
        client.sendall(b"thank")
        thread.join()
    assert bytes(data) == body
    assert heard == [b"thank"]
    assert proxy(lab)["spliced"] == before + 1, proxy(lab)["stayed"]


def test_bytes_pass_both_ways_at_once(lab: RunningLab) -> None:
    """An echo of more than all buffers hold: what was under way in both directions when it was spliced is there."""

    def serve(listening: socket.socket) -> None:
        accepted, _ = listening.accept()
        with accepted:
            while data := accepted.recv(65536):
                accepted.sendall(data)

    sent = hashlib.shake_256(b"braid").digest(4_000_000)
    before = proxy(lab)["spliced"]
    with listener(lab, 6002) as listening, connect(lab, 6002) as client:
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        sender = threading.Thread(target=client.sendall, args=(sent,))
        sender.start()
        received = receive(client, len(sent))
        sender.join()
    assert received == sent
    assert proxy(lab)["spliced"] == before + 1, proxy(lab)["stayed"]


def test_flows_show_modes_records_and_why(lab: RunningLab) -> None:
    def flow(port: int, mode: str) -> dict[str, Any]:
        deadline = time.monotonic() + 5
        while True:
            flows = lab.status(GATEWAY, "/flows?limit=1000")["flows"]
            found = [each for each in flows if each["vip"].endswith(f":{port}") and each["mode"] == mode]
            if found:
                assert len(found) == 1
                return dict(found[0])
            assert time.monotonic() < deadline, flows
            time.sleep(0.05)

    with listener(lab, 6003) as listening, connect(lab, 6003) as client:
        accepted, _ = listening.accept()
        with accepted:
            normal = flow(6003, "normal")
            accepted.sendall(b"220")
            assert receive(client, 3) == b"220"
            spliced = flow(6003, "spliced")
            assert client.getsockname()[1] == int(spliced["client"].rpartition(":")[2])
            # The server sees the address of the pool that the flow has, in the stack as in the data plane.
            peer = accepted.getpeername()
            assert spliced["snat"] == f"{peer[0].removeprefix('::ffff:')}:{peer[1]}"
    for each in (normal, spliced):
        assert (each["application"], each["target"], each["why"]) == ("plain", "10.93.0.11:6003", "round_robin")
    assert normal["records"]["client"]["timestamps"] is True


def test_resets_pass_either_way_when_spliced(lab: RunningLab) -> None:
    for end in ("client", "server"):
        with listener(lab, 6004) as listening, connect(lab, 6004) as client:
            accepted, _ = listening.accept()
            with accepted:
                accepted.settimeout(20)
                before = proxy(lab)["spliced"]
                accepted.sendall(b"x")
                assert receive(client, 1) == b"x"
                wait_spliced(lab, before)
                one, other = (client, accepted) if end == "client" else (accepted, client)
                reset(one)
                with pytest.raises(ConnectionResetError):
                    other.recv(1)

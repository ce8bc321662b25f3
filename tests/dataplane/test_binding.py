"""``dataplane.Core`` as Python sees it: arguments, life cycle, events, control messages, snapshot."""

from __future__ import annotations

import json
import os
import select
import socket
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from dataplane import Core, public_key
from tests.dataplane.hosts import Host, accept, free_port, join

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataplane._native import Event

RIGHT: dict[str, Any] = {
    "role": "intermediate",
    "number": 21,
    "private_key": bytes([7]) * 32,
    "listen": [],
    "tun_fds": [],
    "mtu": 1420,
}


@pytest.fixture
def pair() -> Iterator[tuple[Host, Host]]:
    a, b = Host(21), Host(22)
    yield a, b
    a.core.stop()
    b.core.stop()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"role": "router"}, 'unknown role "router"'),
        ({"private_key": b"short"}, "private_key must be 32 bytes, not 5"),
        ({"private_key": bytes(33)}, "private_key must be 32 bytes, not 33"),
        ({"listen": [("localhost", 7400)]}, 'listen: "localhost" is no IP address'),
        ({"tun_fds": [0, 1]}, "2 TUN queues for 1 shards"),
        ({"shards": 0}, "shards must be 1, 2, 4, 8 or 16"),
        ({"shards": 3}, "shards must be 1, 2, 4, 8 or 16"),
        ({"shards": 32}, "shards must be 1, 2, 4, 8 or 16"),
        ({"shards": 2, "listen": [("127.0.0.1", 65_535)]}, "listen: no port for each shard"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Core(**RIGHT | change)


@pytest.mark.parametrize("change", [{"number": 65_536}, {"number": -1}, {"mtu": -1}, {"listen": [("::1", 70_000)]}])
def test_numbers_out_of_range(change: dict[str, Any]) -> None:
    with pytest.raises(OverflowError):
        Core(**RIGHT | change)


def test_a_port_in_use_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=f"UDP 127.0.0.1:{port}: Address already in use") as caught:
            Core(**RIGHT | {"listen": [("127.0.0.1", port)]})
    assert caught.value.errno == 98


def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(OSError, match=r"UDP 192\.0\.2\.1:7400: ") as caught:
        Core(**RIGHT | {"listen": [("192.0.2.1", 7400)]})
    assert caught.value.errno == 99


def test_a_file_that_is_no_tun() -> None:
    with open("/dev/null", "rb") as null, pytest.raises(OSError, match="TUN"):
        Core(**RIGHT | {"tun_fds": [null.fileno()]})


def test_public_key_is_that_of_x25519() -> None:
    private = bytes(range(32))
    expected = X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    assert public_key(private) == expected
    with pytest.raises(ValueError, match="private_key must be 32 bytes, not 31"):
        public_key(private[1:])


def neighbour(**fields: object) -> dict[str, object]:
    return {"node": 22, "addresses": ["127.0.0.1:7400"], **fields}


def path(**fields: object) -> dict[str, object]:
    return {"peer": 31, "set": 2, "paths": [{"id": 0, "route": [22, 31], **fields}]}


@pytest.mark.parametrize(
    ("desired", "says"),
    [
        ("", "EOF"),
        ("[]", "expected struct Desired"),
        ("{}", "missing field `neighbours`"),
        ({"neighbours": [], "path_sets": [], "paths": []}, "unknown field `paths`"),
        ({"neighbours": [neighbour(node=0)], "path_sets": []}, "neighbour 0: needs a number above 0"),
        ({"neighbours": [neighbour(node=65_536)], "path_sets": []}, "u16"),
        ({"neighbours": [neighbour(addresses=[])], "path_sets": []}, "neighbour 22: needs .* an address"),
        ({"neighbours": [neighbour(addresses=["a:1"])], "path_sets": []}, "socket address"),
        ({"neighbours": [neighbour(name="m")], "path_sets": []}, "unknown field `name`"),
        ({"neighbours": [], "path_sets": [path(id=16)]}, "path 16 to 31: needs an id below 16"),
        ({"neighbours": [], "path_sets": [path(route=[])]}, "path 0 to 31: .* a route"),
        ({"neighbours": [], "path_sets": [path(route=[22, 32])]}, "path 0 to 31: .* ends at the peer"),
        ({"neighbours": [], "path_sets": [path(route=[1, 2, 3, 4, 5, 31])]}, "at most 5 nodes"),
        ({"neighbours": [], "path_sets": [path(route=[22, 0, 31])]}, "path 0 to 31"),
        (
            {"neighbours": [], "path_sets": [], "gateway": {"applications": [], "snat": ["10.0.0.1/33"]}},
            r"snat 10\.0\.0\.1/33",
        ),
    ],
)
def test_bad_desired_state_names_the_place(desired: object, says: str) -> None:
    host = Host(21)
    with pytest.raises(ValueError, match=says):
        host.core.configure(desired if isinstance(desired, str) else json.dumps(desired))
    host.core.stop()


def test_nothing_works_before_the_start() -> None:
    host = Host(21, start=False)
    for call in (
        host.core.snapshot,
        host.core.flows,
        lambda: host.configure({}),
        lambda: host.core.close_session(1, True),
        lambda: host.core.send_control(1, True, b""),
        lambda: host.core.initiate(1, True, bytes([9]) * 32, b""),
    ):
        with pytest.raises(RuntimeError, match="the core is not started"):
            call()
    assert host.core.events() == []
    assert host.core.last_turn() == 0
    host.core.stop()


def test_nothing_works_after_the_end_which_may_come_twice() -> None:
    host = Host(21)
    host.core.stop()
    host.core.stop()
    with pytest.raises(RuntimeError, match="the core is stopped"):
        host.core.snapshot()
    with pytest.raises(RuntimeError, match="it was started before"):
        host.core.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heir:
        heir.bind(("127.0.0.1", host.port))


def test_it_starts_once() -> None:
    host = Host(21)
    with pytest.raises(RuntimeError, match="it was started before"):
        host.core.start()
    assert host.snapshot()["neighbours"] == []
    host.core.stop()


@pytest.mark.parametrize(("one", "other"), [(2, 2), (1, 4), (4, 2)])
def test_cores_of_several_shards_meet_once_and_tell_of_each_shard(one: int, other: int) -> None:
    a, b = Host(21, shards=one), Host(22, shards=other)
    try:
        join(a, b)
        assert a.core.send_control(22, True, b"over the first")
        assert b.wait("control")[-1] == ("control", 21, True, b"over the first")
        for host, peer in ((a, b), (b, a)):
            snapshot = host.snapshot()
            assert [shard["index"] for shard in snapshot["shards"]] == list(range(host.shards))
            assert all(shard["udp_rx_datagrams"] > 0 for shard in snapshot["shards"]), snapshot["shards"]
            (session,) = snapshot["sessions"]
            assert (session["peer"], session["usable"]) == (peer.number, True)
            assert "wrong_shard" not in snapshot["drops"]
        # A rekey, asked for by the other end, replaces the keys of every lane.
        b.core.initiate(21, True, a.public, b"certificate of b")
        accept(a)
        assert [event[0] for event in b.wait("established")] == ["established"]
        assert {event[0] for event in a.wait("established")} == {"established"}
        a.core.close_session(22, True)
        b.wait("down")
    finally:
        a.core.stop()
        b.core.stop()


def test_the_data_thread_turns() -> None:
    host = Host(21)
    host.snapshot()
    assert 0 <= host.core.last_turn() < 2_000_000_000
    host.core.stop()


def test_handshake_and_control_messages(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.configure({22: b.address})
    b.configure({21: a.address})
    a.core.initiate(22, True, b.public, b"certificate of a")
    event = accept(b)
    assert event[0] == "initiation"
    number = event[1]
    assert event == ("initiation", number, 21, True, a.public, b"certificate of a")
    *of_a, boot_of_b = a.wait("established")[-1]
    *of_b, boot_of_a = b.wait("established")[-1]
    assert (of_a, of_b) == (["established", 22, True, 1, True], ["established", 21, True, 1, False])
    assert boot_of_a != boot_of_b
    with pytest.raises(KeyError):
        b.core.accept(number)
    for size in (0, 1, 1100):
        assert a.core.send_control(22, True, bytes(size))
        assert b.core.send_control(21, True, bytes(size))
        assert b.wait("control")[-1] == ("control", 21, True, bytes(size))
        assert a.wait("control")[-1] == ("control", 22, True, bytes(size))
    a.core.tell([(23, b"nobody"), (22, bytes(1101)), (22, b"told")])
    assert b.wait("control")[-1] == ("control", 21, True, b"told")
    assert not a.core.send_control(22, True, bytes(1101))
    assert not a.core.send_control(23, True, b"nobody")
    assert not a.core.send_control(22, False, b"no such session")


def test_a_closed_session_is_gone(pair: tuple[Host, Host]) -> None:
    a, b = pair
    join(a, b)
    a.core.close_session(22, True)
    assert not a.core.send_control(22, True, b"x")
    assert a.snapshot()["sessions"] == []
    assert b.core.send_control(21, True, b"x")
    a.wait_drops("hop_tag", 1)


def test_a_refused_initiation_is_counted_under_its_reason(pair: tuple[Host, Host]) -> None:
    a, b = pair
    a.configure({22: b.address})
    b.configure({21: a.address})
    for count, (reason, counter) in enumerate([("expired", "refused_expired"), ("cheeky", "refused_other")]):
        a.core.initiate(22, True, b.public, b"certificate %d" % count)
        event = b.wait("initiation")[-1]
        assert event[0] == "initiation"
        b.core.refuse(event[1], reason)
        b.wait_drops(counter, 1)
        with pytest.raises(KeyError):
            b.core.accept(event[1])
    assert b.snapshot()["sessions"] == []


def test_what_may_wait_wakes_nobody_and_comes_with_the_next_event_or_when_there_is_much(
    pair: tuple[Host, Host],
) -> None:
    a, b = pair
    join(a, b)
    while a.core.events():
        pass
    a.core.let_wait(bytes([7]))

    def readable(seconds: float) -> bool:
        return bool(select.select([a.core.event_fd()], [], [], seconds)[0])

    assert b.core.send_control(21, True, bytes([1, 7]))
    assert not readable(0.2)
    assert a.core.events() == [("control", 22, True, bytes([1, 7]))]
    for kind in (7, 8, 7):
        assert b.core.send_control(21, True, bytes([1, kind]))
    assert readable(10)
    a.snapshot()
    assert [event[-1] for event in a.core.events()] == [bytes([1, 7]), bytes([1, 8]), bytes([1, 7])]
    assert not readable(0)
    for number in range(64):
        assert b.core.send_control(21, True, bytes([number, 7]))
    assert not readable(0.2)
    assert b.core.send_control(21, True, bytes([64, 7]))
    assert readable(10)
    assert len(a.core.events()) == 65
    assert not readable(0)


@pytest.mark.parametrize("key", [b"", bytes(31)])
def test_a_bad_static_key_is_named(pair: tuple[Host, Host], key: bytes) -> None:
    with pytest.raises(ValueError, match="peer_static must be 32 bytes"):
        pair[0].core.initiate(22, True, key, b"")


def test_a_certificate_too_large_for_a_handshake_is_refused(pair: tuple[Host, Host]) -> None:
    with pytest.raises(ValueError, match="handshake_length"):
        pair[0].core.initiate(22, True, pair[1].public, bytes(1200))


def test_the_descriptor_is_readable_while_events_wait(pair: tuple[Host, Host]) -> None:
    a, b = pair
    descriptor = a.core.event_fd()
    assert select.select([descriptor], [], [], 0)[0] == []
    join(a, b)
    while a.core.events():
        pass
    assert select.select([descriptor], [], [], 0)[0] == []
    for number in range(3):
        assert b.core.send_control(21, True, bytes([number]))
    seen: list[Event] = []
    while len(seen) < 3:
        assert select.select([descriptor], [], [], 10)[0]
        taken = a.core.events(1)
        assert len(taken) <= 1
        seen += taken
    assert seen == [("control", 22, True, bytes([number])) for number in range(3)]
    assert select.select([descriptor], [], [], 0)[0] == []


IO = {
    *("tun_rx_packets", "tun_rx_bytes", "tun_tx_packets", "tun_tx_bytes", "udp_rx_datagrams", "udp_rx_bytes"),
    *("udp_tx_datagrams", "udp_tx_bytes", "udp_rx_batches", "udp_tx_batches", "udp_tx_errors", "tun_tx_errors"),
    "rxq_overflow",
    "handed_over",
}
RECOVERY = {"passed", "discarded", "out_of_order", "rogue", "lost", "tagless", "resets", "latent_errors"}
SESSION = {"peer", "adjacent", "epoch", "age_s", "tx_packets", "tx_bytes", "usable", "heard_ms_ago", "recovery"}


def test_the_snapshot_has_the_documented_keys(pair: tuple[Host, Host]) -> None:
    a, b = pair
    join(a, b)
    snapshot = a.snapshot()
    assert snapshot.keys() >= {"drops", "io", "offload", "neighbours", "sessions", "paths", "received"}
    assert snapshot["io"].keys() == IO
    assert snapshot["offload"].keys() == {"udp_gso", "udp_gro", "tun_tso", "tun_uso", "fallbacks"}
    [seen] = snapshot["neighbours"]
    assert (seen["node"], seen["address"], seen["up"]) == (22, b.address, True)
    assert seen.keys() >= {"rtt_us", "heard_ms_ago", "tx_datagrams", "rx_datagrams"}
    [session] = snapshot["sessions"]
    assert session.keys() >= SESSION
    assert (session["peer"], session["adjacent"], session["epoch"]) == (22, True, 1)
    assert session["recovery"].keys() == RECOVERY
    assert session["window"] is None, "of a neighbour's session, which keeps its size"
    assert "nat" not in snapshot


def test_a_gateways_snapshot_has_its_nat() -> None:
    host = Host(31, "gateway")
    assert host.snapshot()["nat"].keys() >= {"flows", "created", "expired", "ports_exhausted", "table_full", "by_app"}
    assert json.loads(host.core.flows()) == []
    host.core.stop()


def test_a_handshake_travels_along_a_path_and_is_no_copy(pair: tuple[Host, Host]) -> None:
    a, b = pair
    join(a, b)
    desired = {"neighbours": [{"node": 22, "addresses": [b.address]}], "path_sets": [path()]}
    a.core.configure(json.dumps(desired))
    a.core.initiate(31, False, bytes([9]) * 32, b"")
    [reported] = a.snapshot()["paths"]
    assert reported.keys() >= {"peer", "id", "route", "copies_sent", "bytes_sent", "unsent"}
    assert (reported["peer"], reported["id"], reported["route"]) == (31, 0, [22, 31])
    assert (reported["copies_sent"], reported["unsent"], reported["in_use"]) == (0, 0, True)
    b.wait_drops("unknown_next_hop", 1)


def test_a_forked_child_is_refused() -> None:
    host = Host(21)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            host.core.snapshot()
            said = "nothing"
        except BaseException as error:  # noqa: BLE001 - the parent judges it
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert pipe.read() == "RuntimeError: the process forked: its child must not use the core"
    assert os.waitpid(child, 0)[1] == 0
    assert host.snapshot()["sessions"] == []
    host.core.stop()


def test_two_cores_cannot_share_a_port() -> None:
    port = free_port()
    first = Core(**RIGHT | {"listen": [("127.0.0.1", port)]})
    with pytest.raises(OSError, match=f"127.0.0.1:{port}"):
        Core(**RIGHT | {"listen": [("127.0.0.1", port)]})
    first.stop()

"""UDP in batches, on sockets of the loopback interface."""

from __future__ import annotations

import socket

import pytest

from braid.datagrams import open_datagrams

pytest.importorskip("dataplane._native", reason="the data plane is not built: make build")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_datagrams_are_received_and_answered_in_order(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as bound, socket.socket(family, socket.SOCK_DGRAM) as asker:
        bound.bind((host, 0))
        asker.bind((host, 0))
        asker.settimeout(20)
        datagrams = open_datagrams(bound, 4, 100)
        assert datagrams.receive() == []
        for length in (0, 3, 101):
            asker.sendto(bytes(length), bound.getsockname()[:2])
        packed, port = socket.inet_pton(family, host), asker.getsockname()[1]
        assert datagrams.receive() == [(bytes(length), packed, port) for length in (0, 3, 100)]
        assert datagrams.send([b"first", None, b"third"]) == 0
        assert [asker.recv(100), asker.recv(100)] == [b"first", b"third"]


def test_what_cannot_be_sent_is_counted() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as bound, socket.socket(type=socket.SOCK_DGRAM) as asker:
        bound.bind(("127.0.0.1", 0))
        datagrams = open_datagrams(bound, 4, 100)
        asker.sendto(b"question", bound.getsockname())
        assert len(datagrams.receive()) == 1
        assert datagrams.send([bytes(70_000)]) == 1
        with pytest.raises(TypeError):
            datagrams.send(["text"])  # type: ignore[list-item]


def test_after_closing_nothing_is_open_and_nothing_is_done() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        datagrams, port = open_datagrams(bound, 4, 100), bound.getsockname()[1]
        datagrams.close()
        datagrams.close()
        with pytest.raises(ValueError, match="closed"):
            datagrams.receive()
    with socket.socket(type=socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", port))
    with pytest.raises(OSError, match=r"."):
        open_datagrams(bound, 4, 100)

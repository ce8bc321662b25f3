"""What a client's kernel sees of the overlay: hops, MTU, MSS, refusals, and an edge host that is a client itself."""

from __future__ import annotations

import errno
import re
import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.netns import labs, traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

OVERLAY_MTU = 1404
IP_HEADER = {4: 20, 6: 40}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
EDGE = {4: "10.91.1.2", 6: "fd91:1::2"}
UNUSED = {4: "10.91.1.190", 6: "fd91:1::1:fffe"}
"""In the edge's VIP pools, of no application."""
# linux/in.h and linux/in6.h; Python's socket module has not all of them.
MTU_DISCOVER = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}
MTU = {4: (socket.IPPROTO_IP, 14), 6: (socket.IPPROTO_IPV6, 24)}
PMTUDISC_DO = 2
ALL_ERRORS = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}
"""IP_RECVERR: without it a UDP socket is not told of "host unreachable"."""
both_versions = pytest.mark.parametrize("version", [4, 6], ids=["inner4", "inner6"])


@both_versions
def test_traceroute_shows_the_overlay(lab: RunningLab, version: int, figure: Callable[[str, object], None]) -> None:
    vip = labs.vip(lab, "lab", version)
    done = lab.exec("client", ["traceroute", f"-{version}", "-n", "-q", "1", "-w", "2", "-m", "8", vip], timeout=30)
    hops = [words[1] for line in done.stdout.splitlines() if re.match(r"\s*\d", line) and (words := line.split())]
    figure(f"traceroute over IPv{version}", " > ".join(hops))
    assert hops[0] == EDGE[version]
    assert hops[-1] == vip
    assert 2 <= len(hops) <= 4


@both_versions
def test_too_big_packets_are_told_the_overlays_mtu(
    lab: RunningLab, version: int, figure: Callable[[str, object], None]
) -> None:
    forget_mtu(lab)
    with closing(lab.socket("client", FAMILY[version], socket.SOCK_DGRAM)) as sock:
        sock.settimeout(2.0)
        sock.setsockopt(*MTU_DISCOVER[version], PMTUDISC_DO)
        sock.connect((labs.vip(lab, "lab", version), 6020))
        assert sock.getsockopt(*MTU[version]) == 1500
        sock.send(bytes(1500 - IP_HEADER[version] - 8))
        with pytest.raises(OSError, match=re.escape(errno_text(errno.EMSGSIZE))):
            sock.recv(2000)
        told = sock.getsockopt(*MTU[version])
    figure(f"too big, IPv{version}", f"the client's kernel learns an MTU of {told}")
    assert told == OVERLAY_MTU
    forget_mtu(lab)


@both_versions
def test_tcp_mss_is_clamped_in_both_directions(
    lab: RunningLab, version: int, figure: Callable[[str, object], None]
) -> None:
    forget_mtu(lab)
    most = OVERLAY_MTU - IP_HEADER[version] - 20
    with (
        closing(lab.socket("origin-1", FAMILY[version])) as listener,
        closing(lab.socket("client", FAMILY[version])) as client,
    ):
        listener.settimeout(5.0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", 6021))
        listener.listen()
        client.settimeout(5.0)
        client.connect((labs.vip(lab, "lab", version), 6021))
        with closing(listener.accept()[0]) as server:
            # Linux gives what is left for data: 12 bytes of time stamps may be gone already.
            found = [each.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) for each in (client, server)]
    figure(f"MSS over IPv{version}", f"{found[0]} at the client, {found[1]} at the server, clamped to {most}")
    assert all(most - 12 <= mss <= most for mss in found)


@both_versions
@pytest.mark.parametrize("case", ["unknown VIP", "other UDP port", "other TCP port"])
def test_what_is_no_application_is_refused(
    lab: RunningLab, version: int, case: str, figure: Callable[[str, object], None]
) -> None:
    vip = labs.vip(lab, "shop", version)
    kind, to = {
        "unknown VIP": (socket.SOCK_DGRAM, (UNUSED[version], 80)),
        "other UDP port": (socket.SOCK_DGRAM, (vip, 80)),
        "other TCP port": (socket.SOCK_STREAM, (vip, 81)),
    }[case]
    with closing(lab.socket("client", FAMILY[version], kind)) as sock:
        sock.setsockopt(*ALL_ERRORS[version], 1)
        # Nobody answers ARP or NDP for an address that is no VIP: the kernel says so after three attempts in 3 s.
        sock.settimeout(5.0 if case == "unknown VIP" else 1.0)
        with pytest.raises(OSError, match=r"\[Errno ") as refused:
            ask(sock, to)
    figure(f"{case} over IPv{version}", refused.value.strerror)
    assert refused.value.errno in {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES}


def ask(sock: socket.socket, to: tuple[str, int]) -> None:
    """Raises what the kernel has been told; TimeoutError, which has no number, for silence."""
    sock.connect(to)
    sock.send(b"anybody there?")
    sock.recv(100)


@both_versions
def test_the_edge_host_is_a_client_too(lab: RunningLab, version: int, figure: Callable[[str, object], None]) -> None:
    vip = labs.vip(lab, "shop", version)
    url = f"http://[{vip}]/headers" if version == 6 else f"http://{vip}/headers"
    found = traffic.curl_json(lab, "edge-fra-1", url)
    figure(f"curl on the edge host over IPv{version}", f"{found['origin']} saw {found['client']}")
    assert found["origin"] in {"origin-1", "origin-2"}


def forget_mtu(lab: RunningLab) -> None:
    """The client's kernel keeps a learnt MTU for ten minutes."""
    for family in ("-4", "-6"):
        lab.exec("client", ["ip", family, "route", "flush", "cache"])


def errno_text(number: int) -> str:
    return OSError(number, "").strerror or f"[Errno {number}]"

"""What the stack still says on a connection whose process has ended, and by which way.

In a network namespace of its own, with a default route beside the TUN. Prints a JSON list of TCP flags. Argument: the
device that the socket is bound to.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from ipaddress import IPv4Address

from braid.tcp.record import TcpRecord, Window
from braid.tcp.repair import build, start
from topology.model import SocketAddress

VIP, CLIENT = "10.91.1.130", "10.91.1.10"
WAYS = f"""
ip link set lo up; ip link set braid0 up
ip link add out type veth peer far; ip link set out arp off up; ip link set far up; ip route add default dev out
ip route add local {VIP} dev lo table local; ip route add default dev braid0 table 7400
ip rule add iif lo from {VIP} lookup 7400 priority 7400
"""
RECORD = TcpRecord(
    SocketAddress(IPv4Address(VIP), 80), SocketAddress(IPv4Address(CLIENT), 4000), 1000, 5000, 1380, (7, 7), True, 100,
    Window(4990, 1000, 2000, 3000, 4990), b"",
)  # fmt: skip
TUNSETIFF, TUN_NO_PI, ETH_P_ALL = 0x400454CA, 0x1001, 3


def main(device: str) -> None:
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", b"braid0", TUN_NO_PI))
    subprocess.run(["sh", "-ec", WAYS], check=True)
    said = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as tap:
        tap.bind(("out", ETH_P_ALL))
        tap.settimeout(1.5)
        opened = build(RECORD, device)
        start(opened)
        os.close(tun)
        opened.close()
        with suppress(TimeoutError):
            while True:
                packet = tap.recv(100)
                if packet[0] >> 4 == 4 and packet[12:20] == IPv4Address(VIP).packed + IPv4Address(CLIENT).packed:
                    said.append(packet[33])
    json.dump(said, sys.stdout)


main(*sys.argv[1:])

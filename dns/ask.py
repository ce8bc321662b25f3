"""Asks a DNS node on this host why it would answer as it does. Blocking; for the command line."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

from dnslib import CLASS, EDNS0, QTYPE, DNSError, DNSHeader, DNSQuestion, DNSRecord, EDNSOption
from dnslib.label import DNSLabelError

from dns.options import CLIENT_SUBNET

if TYPE_CHECKING:
    from topology.model import IPAddress, SocketAddress

SUFFIX = "explain.braid"


class NotExplained(Exception):
    """No explanation from there; the message says why."""


def ask_why(server: SocketAddress, hostname: str, client: IPAddress, timeout: float) -> dict[str, Any]:
    """Returns the decision as ``dns.explain`` describes it. Raises ``NotExplained``."""
    subnet = (1 if client.version == 4 else 2).to_bytes(2, "big") + bytes([client.max_prefixlen, 0]) + client.packed
    name = f"{hostname.rstrip('.')}.{SUFFIX}"
    try:
        query = DNSRecord(DNSHeader(rd=0), questions=[DNSQuestion(name, QTYPE.TXT, CLASS.CH)])
        query.add_ar(EDNS0(udp_len=1232, opts=[EDNSOption(CLIENT_SUBNET, subnet)]))
        data = bytes(query.pack())
        answer = DNSRecord.parse(_exchange(server, data, timeout))
    except OSError as error:
        raise NotExplained(f"{server}: {error.strerror or error}") from None
    except (DNSError, DNSLabelError, ValueError) as error:
        raise NotExplained(f"{server}: {error}") from None
    if not answer.rr:
        raise NotExplained(f"{server}: refuses; ask on the host of the DNS node itself")
    told = json.loads(b"".join(answer.rr[0].rdata.data))
    if not isinstance(told, dict):
        raise NotExplained(f"{server}: answers something else")
    return told


def _exchange(server: SocketAddress, query: bytes, timeout: float) -> bytes:
    with socket.create_connection((str(server.host), server.port), timeout) as connection:
        connection.sendall(len(query).to_bytes(2, "big") + query)
        length = int.from_bytes(_exactly(connection, 2), "big")
        return _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = connection.recv(count - len(data))
        if not chunk:
            raise OSError("closed the connection")
        data += chunk
    return data

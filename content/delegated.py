"""Whether a connection that begins with TLS is one that this node may have: by what its ClientHello asks for. Pure.

The name has to be delegated: by a row of the routing table, by ``content.applications``, by this node's certificate,
and by one for the name itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.delegation import NOTHING
from braid.errors import BadPacket
from braid.tls.hello import PULL, decode_client_hello
from braid.transfer import Reason
from braid.transfer_table import Candidate, allowing, tls_content
from topology.proxy import TLS_SNI

if TYPE_CHECKING:
    from braid.role import Situation
    from braid.tcp.record import TcpRecord
    from braid.transfer import TransferRequest
    from content.keys import Keys
    from content.sites import Find
    from topology.model import Topology


def begins_with_tls(topology: Topology, application: str) -> bool:
    """Whether its gateway passes TLS on, and so offers connections by their ClientHello."""
    proxy = topology.applications[application].proxy
    return proxy is not None and proxy.kind == TLS_SNI


def names_host(situation: Situation, host: str) -> bool:
    """Whether this node's certificate allows it to be asked for that name."""
    return situation.delegations.get(situation.node, NOTHING).names_host(host)


def refusal_of_hello(
    request: TransferRequest,
    record: TcpRecord,
    application: str,
    region: str,
    situation: Situation,
    find: Find,
    keys: Keys,
    wall: float,
) -> Reason | None:
    """Why it is not taken; ``region`` is that of the client's edge."""
    port = record.local.port
    try:
        hello = decode_client_hello(record.unread)
    except BadPacket:
        return Reason.CONTENT
    if hello is None or tls_content(hello.sni, port).encode() != request.content or PULL in hello.alpn:
        return Reason.CONTENT
    candidate = Candidate(application, record.remote.host, region, port, "", hello.sni, "", hello.alpn)
    row = allowing(situation.topology.transfers, candidate, situation.node, wall)
    if row is None or not keys.covers(hello.sni):
        return Reason.NOT_DELEGATED
    if find(hello.sni, port, https=True) is None or not names_host(situation, hello.sni):
        return Reason.NOT_DELEGATED
    return None if keys.speaks(hello) else Reason.CONTENT

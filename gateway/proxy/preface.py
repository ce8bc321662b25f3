"""The PROXY protocol towards servers: who the client is (haproxy.org, proxy-protocol.txt 2.1, 2.2).

Version 1 is one line, ``PROXY TCP4 198.51.100.7 203.0.113.9 40000 80``. Version 2:

```
signature 12 | version and command 0x21 | family and protocol 0x11 or 0x21 | length 2
source 4 or 16 | destination 4 or 16 | source port 2 | destination port 2
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from topology.proxy import ClientAddress

if TYPE_CHECKING:
    from gateway.proxy.events import ClientData

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def preface(kind: ClientAddress, client_data: ClientData) -> bytes:
    """What a server connection begins with; nothing for the kinds that are not of this protocol."""
    source, destination = client_data.client, client_data.vip
    if kind is ClientAddress.PROXY_V1:
        line = f"PROXY TCP{source.host.version} {source.host} {destination.host} {source.port} {destination.port}\r\n"
        return line.encode()
    if kind is ClientAddress.PROXY_V2:
        family = 0x11 if source.host.version == 4 else 0x21
        addresses = source.host.packed + destination.host.packed
        ports = source.port.to_bytes(2, "big") + destination.port.to_bytes(2, "big")
        head = bytes((0x21, family)) + (len(addresses) + 4).to_bytes(2, "big")
        return SIGNATURE + head + addresses + ports
    return b""

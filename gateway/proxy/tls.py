"""TLS proxy: the server is selected by the ClientHello's server name and protocols; nothing is decrypted. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.errors import BadPacket
from braid.tls.hello import MAX_HELLO, decode_client_hello
from gateway.proxy.events import Refuse, Request
from gateway.proxy.tcp import TcpProxy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.proxy.application import Choose
    from gateway.proxy.events import ClientData, Command
    from topology.model import Target
    from topology.proxy import ProxySettings

UNRECOGNIZED_NAME = bytes((21, 3, 3, 0, 2, 2, 112))
"""A fatal alert (RFC 6066 3): no server for this name."""
DECODE_ERROR = bytes((21, 3, 3, 0, 2, 2, 50))


class TlsProxy(TcpProxy):
    def __init__(self, settings: ProxySettings, targets: Sequence[Target], choose: Choose) -> None:
        super().__init__(settings, targets, choose)
        self._hello = bytearray()

    async def client_connection(self, client_data: ClientData) -> Sequence[Command]:
        return ()

    async def client_packets(self, data: bytes) -> Sequence[Command]:
        self.buffer.store_packets(data)
        if not self.pending:
            return ()
        self._hello += data
        try:
            hello = decode_client_hello(bytes(self._hello))
        except BadPacket as error:
            return (Refuse(str(error), DECODE_ERROR),)
        if hello is None:
            too_long = len(self._hello) > 2 * MAX_HELLO
            return (Refuse("tls_too_long", DECODE_ERROR),) if too_long else ()
        request = Request(self.client_data, sni=hello.sni, alpn=hello.alpn)
        commands = await self.begin(request, needs_packets=True)
        return (Refuse("no_server", UNRECOGNIZED_NAME),) if commands else ()

    async def client_closed(self) -> Sequence[Command]:
        return (Refuse("tls_truncated"),) if self.pending else await super().client_closed()

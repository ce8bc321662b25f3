"""The access log: one line per request, or per connection where there are no requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid import log as logs

if TYPE_CHECKING:
    from gateway.proxy.events import ClientData, Served

access = logs.get("braid.access")


def write_access(data: ClientData, served: Served) -> None:
    server = served.server_data
    access.info(
        "refused" if served.refused else "served",
        application=data.application,
        client=str(data.client),
        vip=str(data.vip),
        edge=data.edge,
        method=served.request.method,
        host=served.request.host or served.request.sni,
        target=served.target,
        status=served.status,
        bytes=served.bytes_out,
        server=str(server.address) if server else "",
        why=served.refused or (server.why if server else ""),
    )

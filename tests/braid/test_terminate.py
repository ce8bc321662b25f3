"""TLS that ends in a node: a client that takes nothing of the last bytes is not waited for, one that is slow is."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import pytest
import trio

from braid.tls.terminate import Agreed, Limits, terminate
from tests.gateway.certificates import write_certificate

if TYPE_CHECKING:
    from pathlib import Path

STALL = 1.0
BODY = bytes(range(256)) * 512
"""More than both ends' kernels take, and little enough that whoever serves has done its part at once."""


def ends() -> tuple[trio.SocketStream, trio.SocketStream]:
    """A client and its node, with little room between them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        opened = socket.socket()
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        opened.connect(listener.getsockname())
        accepted, _ = listener.accept()
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    client, node = (trio.SocketStream(trio.socket.from_stdlib_socket(each)) for each in (opened, accepted))
    return client, node


@pytest.mark.parametrize("reads", [False, True])
async def test_who_takes_nothing_is_dropped_and_who_is_slow_gets_all(tmp_path: Path, reads: bool) -> None:
    write_certificate(tmp_path, "own", "shop.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem", tmp_path / "own.key")
    ours = ssl.create_default_context(cafile=str(tmp_path / "own.pem"))
    plain, node = ends()
    client = trio.SSLStream(plain, ours, server_hostname="shop.example", https_compatible=True)
    done, over, refused = trio.Event(), trio.Event(), list[str]()

    async def serve(far: trio.SocketStream, _agreed: Agreed) -> bool:
        async with far:
            await far.send_all(BODY)
        done.set()
        return True

    async def run() -> None:
        await terminate(node, context, serve, refused.append, Limits(5.0, 60.0, STALL), trio.Event())
        over.set()

    got = bytearray()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await client.do_handshake()
            await done.wait()
            if reads:
                while data := await client.receive_some(4096):
                    got += data
                    # Longer than it may take nothing, in all.
                    await trio.sleep(STALL / 12)
            else:
                await over.wait()
                with pytest.raises(trio.BrokenResourceError):
                    [each async for each in client]
            await trio.aclose_forcefully(client)
    assert (bytes(got) == BODY) is reads
    assert refused == []

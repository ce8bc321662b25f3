"""``python -m bench.proxy``: what a proxied request costs the gateway's Python, on loopback, without the overlay.

Clients and servers are processes of their own; the proxy's CPU seconds count, so other work on the machine hardly does.
Each of the clients' connections is kept and asks again when it has its answer, of 1,000 bytes; rules by path send the
requests to three servers in turn. For ``tcp`` the same bytes pass unread. Results go to bench/proxy.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from dataclasses import asdict, dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from random import Random
from time import perf_counter, process_time
from typing import TYPE_CHECKING

import trio

from bench.machine import described, machine
from gateway.proxy.connection import Connection
from gateway.proxy.events import ClientData
from gateway.proxy.pool import ProxiedApplication
from gateway.proxy.relay import Relay
from topology.model import Application, CheckKind, HealthCheck, PortRange, Protocol, ServiceMode, SocketAddress, Target
from topology.policy import FixedCopies
from topology.proxy import HTTP, TCP, ProxySettings, Rule, ServerPolicy

if TYPE_CHECKING:
    from multiprocessing.connection import Connection as Pipe

RESULTS = Path(__file__).with_name("proxy.json")
PATHS = ("/a/", "/b/", "/c/")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + bytes(1000)
LOOPBACK = ip_address("127.0.0.1")


@dataclass(frozen=True, slots=True)
class Result:
    kind: str
    carried_by: str
    """``rust``: the relay; ``python``: connections of plug-ins and kinds other than http."""
    policy: str
    connections: int
    requests: int
    faults: int
    """Answers that were not the server's bytes."""
    requests_per_cpu_second: float
    round_trip_ms_p50: float
    round_trip_ms_p99: float


async def _serve(stream: trio.SocketStream) -> None:
    held = b""
    while data := await stream.receive_some(65536):
        held += data
        while b"\r\n\r\n" in held:
            held = held.partition(b"\r\n\r\n")[2]
            await stream.send_all(ANSWER)


def server(pipe: Pipe) -> None:
    async def main() -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        pipe.send(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(_serve, listeners)

    trio.run(main)


def clients(pipe: Pipe, port: int, connections: int, seconds: float) -> None:
    """Sends the round trips in seconds, and how many answers were wrong."""
    took: list[float] = []
    faults = 0

    async def one(number: int, end: float) -> None:
        nonlocal faults
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            turn = number
            while trio.current_time() < end:
                turn += 1
                began, held = perf_counter(), b""
                await stream.send_all(f"GET {PATHS[turn % 3]}x HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode())
                while not held.endswith(bytes(1000)):
                    held += await stream.receive_some(65536)
                took.append(perf_counter() - began)
                faults += not held.startswith(b"HTTP/1.1 200 ")

    async def main() -> None:
        end = trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            for number in range(connections):
                nursery.start_soon(one, number, end)

    trio.run(main)
    pipe.send((sorted(took), faults))


def application(settings: ProxySettings, targets: list[Target]) -> ProxiedApplication:
    described = Application(
        name="shop",
        hostnames=("shop.example",),
        ports=(PortRange(Protocol.TCP, 80, 80),),
        targets=tuple(targets),
        gateways=("g",),
        redundancy=FixedCopies(2),
        mode=ServiceMode.PROXY,
        check=HealthCheck(CheckKind.NONE, 80, "/", 1.0, 0.5, 2, 2),
        proxy=settings,
    )
    return ProxiedApplication(described, settings, lambda _key: True, Random(1))


async def carry(proxied: ProxiedApplication, relay: Relay | None, stream: trio.SocketStream) -> None:
    """One client connection: by Rust, or without a relay by Python."""
    data = ClientData(SocketAddress(LOOPBACK, 1), SocketAddress(LOOPBACK, 80), "e", "e", "shop")
    if relay is None:
        await Connection(proxied, proxied.make_proxy(), stream, data).run()
        return
    await relay.serve(stream, proxied, data)


def proxy_process(settings: ProxySettings, targets: list[Target], port: int) -> None:
    """A process that proxies a port of loopback until it is ended."""

    async def main() -> None:
        proxied, relay = application(settings, targets), Relay()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.run)
            listeners = await trio.open_tcp_listeners(port, host="127.0.0.1", backlog=1024)
            await trio.serve_listeners(partial(carry, proxied, relay), listeners)

    trio.run(main)


async def measure(
    settings: ProxySettings, targets: list[Target], connections: int, seconds: float, relayed: bool
) -> Result:
    proxied, relay = application(settings, targets), Relay() if relayed else None
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
        if relay is not None:
            nursery.start_soon(relay.run)
        nursery.start_soon(trio.serve_listeners, partial(carry, proxied, relay), listeners)
        ours, theirs = multiprocessing.Pipe()
        port = listeners[0].socket.getsockname()[1]
        child = multiprocessing.get_context("spawn").Process(target=clients, args=(theirs, port, connections, seconds))
        child.start()
        began = process_time()
        await trio.lowlevel.wait_readable(ours.fileno())
        used = process_time() - began
        took, faults = ours.recv()
        child.join()
        nursery.cancel_scope.cancel()
    milliseconds = [each * 1000 for each in took]
    return Result(
        settings.kind,
        "rust" if relayed else "python",
        settings.policy.value,
        connections,
        len(took),
        faults,
        round(len(took) / used, 1),
        round(milliseconds[len(took) // 2], 3),
        round(milliseconds[len(took) * 99 // 100], 3),
    )


def main() -> None:
    options = argparse.ArgumentParser(prog="bench.proxy")
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--connections", type=int, default=20)
    chosen = options.parse_args()
    context = multiprocessing.get_context("spawn")
    pipes = [multiprocessing.Pipe() for _ in PATHS]
    servers = [context.Process(target=server, args=(theirs,), daemon=True) for _, theirs in pipes]
    for each in servers:
        each.start()
    try:
        targets = [Target(LOOPBACK, ours.recv(), 1) for ours, _ in pipes]
        rules = tuple(Rule((target,), path=path) for target, path in zip(targets, PATHS, strict=True))
        results = []
        p2c = ProxySettings(HTTP, policy=ServerPolicy.P2C, access_log=False)
        by_path = ProxySettings(HTTP, rules=rules, access_log=False)
        tcp = ProxySettings(TCP, access_log=False)
        for settings, relayed in ((tcp, False), (p2c, False), (by_path, False), (p2c, True), (by_path, True)):
            results.append(trio.run(measure, settings, targets, chosen.connections, chosen.seconds, relayed))
            print(json.dumps(asdict(results[-1])), flush=True)
    finally:
        for each in servers:
            each.terminate()
            each.join()
    document = {"machine": machine(), "results": [asdict(each) for each in results]}
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")
    print(described(machine()))


if __name__ == "__main__":
    main()

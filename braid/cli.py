"""The ``braid`` command. Every command ends in one call; what it needs is imported inside it, so that each starts fast.

Exit codes: 0 done, 1 failed at run time, 2 bad input (usage, topology, credentials), 3 no node reachable.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from braid.cli_input import BAD_INPUT, FAILED, NOT_REACHABLE, bad_input, fail, file_option, load, topology_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class _Elsewhere(click.Group):
    """Commands of another module, imported when one of them is asked for."""

    def __init__(self, module: str, group: str, **settings: Any) -> None:
        super().__init__(**settings)
        self._place = module, group

    def list_commands(self, ctx: click.Context) -> list[str]:
        return self._group().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self._group().get_command(ctx, cmd_name)

    def _group(self) -> click.Group:
        module, name = self._place
        group = getattr(import_module(module), name)
        assert isinstance(group, click.Group)
        return group


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from braid.version import version

        click.echo(f"braid {version()}")
        ctx.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show it.")
def braid() -> None:
    """An overlay network that sends every packet over several disjoint paths at once.

    Exit codes: 0 done, 1 failed, 2 bad input (usage, topology file, credentials), 3 no node reachable.
    """


PKI = "The certificate authority of a Braid and the credentials of its nodes."
LAB = "Run a topology in network namespaces, with links that lose, delay and reorder (root)."
DNS = "Why a client gets an answer, and edges that get no new clients."
CONTENT = "What a content proxy stores: list, push and purge it."
braid.add_command(_Elsewhere("braid.cli_pki", "pki_group", name="pki", help=PKI))
braid.add_command(_Elsewhere("lab.cli", "lab_group", name="lab", help=LAB))
braid.add_command(_Elsewhere("dns.cli", "dns_group", name="dns", help=DNS))
braid.add_command(_Elsewhere("content.cli", "content_group", name="content", help=CONTENT))


@braid.command()
def sample() -> None:
    """Print a commented topology file to start from."""
    from topology.sample import SAMPLE

    click.echo(SAMPLE, nl=False)


@braid.command()
@click.argument("file", type=topology_file)
@click.option("--json", "as_json", is_flag=True, help="The effective topology as JSON.")
def check(file: Path, as_json: bool) -> None:
    """Validate FILE and print what follows from it: VIPs, and the disjoint paths of each edge and gateway."""
    from braid import commands_drain
    from braid.tls.files import problems
    from topology import effective

    topology = load(file)
    with bad_input(commands_drain.BadOrder):
        commands_drain.check(file, topology)
    shown = effective.as_json if as_json else effective.as_text
    click.echo(shown(topology, problems(topology, file.parent)))


@braid.command()
@click.argument("file", type=topology_file)
def compose(file: Path) -> None:
    """Print a docker compose file that runs the whole of FILE in containers."""
    from topology.compose import render

    with bad_input():
        text = render(load(file), str(file))
    click.echo(text, nl=False)


@braid.command()
@click.argument("node")
@file_option
@click.option("--pki", type=click.Path(file_okay=False, path_type=Path), help="Credentials. [default: pki beside FILE]")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    envvar="BRAID_LOG",
    help="Also by the variable BRAID_LOG.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    envvar="BRAID_LOG_LEVEL",
    help="Also by the variable BRAID_LOG_LEVEL.",
)
@click.option("--no-udp-gso", is_flag=True, help="Send underlay datagrams one by one.")
@click.option("--no-udp-gro", is_flag=True, help="Receive underlay datagrams one by one.")
@click.option("--no-tun-offload", is_flag=True, help="Exchange single packets with the kernel, checksums computed.")
@click.option(
    "--rate-mbit",
    type=click.IntRange(1, 1_000_000),
    default=10_000,
    help="Of the underlay: the sockets' buffers follow from it and the next two.",
)
@click.option(
    "--receive-ms",
    type=click.FloatRange(0.1, 1000),
    default=5.0,
    help="How long arriving datagrams can wait for the data thread.",
)
@click.option(
    "--send-ms",
    type=click.FloatRange(0.1, 1000),
    default=1.0,
    help="How long leaving datagrams can wait for the network card.",
)
def run(
    node: str,
    file: Path,
    pki: Path | None,
    log_format: str,
    log_level: str,
    rate_mbit: int,
    receive_ms: float,
    send_ms: float,
    **switches: bool,
) -> None:
    """Run NODE in the foreground until SIGTERM; SIGHUP reloads the topology and the revocation list."""
    from braid.process import collect_later

    collect_later()
    from braid import log
    from braid.credentials import CredentialError
    from braid.node import Options, run_node

    log.configure(log.LogFormat(log_format), level=log_level, node=node)
    options = Options(
        node=node,
        topology=file,
        pki=pki or file.parent / "pki",
        udp_gso=not switches["no_udp_gso"],
        udp_gro=not switches["no_udp_gro"],
        tun_offload=not switches["no_tun_offload"],
        rate_mbit=rate_mbit,
        receive_us=round(receive_ms * 1000),
        send_us=round(send_ms * 1000),
    )
    with bad_input(CredentialError):
        sys.exit(run_node(options))


@braid.command()
@click.argument("url", default="http://127.0.0.1:7480")
@click.option("--wait", type=click.FloatRange(min=0), default=0.0, help="Ask again for so many seconds.")
def ready(url: str, wait: float) -> None:
    """Exit 0 when the node at URL is ready, else say what is missing and exit 1. For health checks and scripts."""
    from braid.status.ready import wait_until_ready

    with _bad_url():
        problem = wait_until_ready(url, wait)
    if problem:
        fail(FAILED, f"not ready: {problem}")


def _ask_options(command: Callable[..., None]) -> Callable[..., None]:
    for decorate in (
        click.argument("nodes", nargs=-1, metavar="[NODE|URL]..."),
        click.option("-t", "--topology", "file", type=topology_file, envvar="BRAID_TOPOLOGY", help="Ask its nodes."),
        click.option("--lab", metavar="NAME", help="Ask the nodes of a running lab, inside their namespaces."),
        click.option("--json", "as_json", is_flag=True, help="The documents as they are."),
        click.option("--watch", is_flag=True, help="Show it again and again until Ctrl-C."),
        click.option("--interval", type=click.FloatRange(min=0.1), default=1.0, help="Of --watch."),
        click.option("--timeout", type=click.FloatRange(min=0.1), default=3.0, help="In seconds."),
    ):
        command = decorate(command)
    return command


@braid.command()
@_ask_options
def status(**asked: Any) -> None:
    """State of the nodes: readiness, neighbours, sessions, protection of applications.

    Without NODE or URL all nodes of the topology or the lab; without those the node at http://127.0.0.1:7480.
    """
    _show("status", "/status", **asked)


@braid.command()
@_ask_options
def paths(**asked: Any) -> None:
    """Each path with its health and copies: sent, kept first, eliminated, lost.

    What arrived is counted at the other end, so ask both ends (-t or --lab without names).
    """
    _show("paths", "/paths", **asked)


@braid.command()
@_ask_options
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, help="Flows per node.")
def flows(limit: int, **asked: Any) -> None:
    """What passes the gateways, and the connections that content proxies have, most recently used first.

    In and Out are bytes. A connection that has moved is shown by both.
    """
    _show("flows", f"/flows?limit={limit}", **asked)


@braid.command()
@click.argument("gateway")
@click.option("--to", metavar="GATEWAY", help="Of the same region. [default: the first other one]")
@click.option("--routed", is_flag=True, help="The network itself leads the SNAT pools to the other gateway.")
@click.option("--deadline", type=click.FloatRange(min=1), default=60.0, help="Seconds to wait.")
@click.option("--lab", metavar="NAME", help="In a running lab.")
@click.option("-t", "--topology", "file", type=topology_file, envvar="BRAID_TOPOLOGY", help="Topology file.")
def drain(gateway: str, to: str | None, routed: bool, deadline: float, lab: str | None, file: Path | None) -> None:
    """Move the live connections of GATEWAY to another one, so that it may be stopped. To be run on its machine.

    It stays drained, also over restarts, until `braid undrain`.
    """
    from braid import commands_drain

    with bad_input(commands_drain.BadOrder):
        sys.exit(commands_drain.drain(gateway, to, routed, deadline, file, lab))


@braid.command()
@click.argument("gateway")
@click.option("--deadline", type=click.FloatRange(min=1), default=60.0, help="Seconds to wait.")
@click.option("--lab", metavar="NAME", help="In a running lab.")
@click.option("-t", "--topology", "file", type=topology_file, envvar="BRAID_TOPOLOGY", help="Topology file.")
def undrain(gateway: str, deadline: float, lab: str | None, file: Path | None) -> None:
    """Bring the connections of GATEWAY home again."""
    from braid import commands_drain

    with bad_input(commands_drain.BadOrder):
        sys.exit(commands_drain.undrain(gateway, deadline, file, lab))


def main() -> NoReturn:
    braid(prog_name="braid")
    raise AssertionError("click ends the process")


@contextmanager
def _bad_url() -> Iterator[None]:
    from braid.status.client import BadUrl

    try:
        yield
    except BadUrl as error:
        fail(BAD_INPUT, str(error))


def _show(
    what: str,
    path: str,
    *,
    nodes: Sequence[str],
    file: Path | None,
    lab: str | None,
    as_json: bool,
    watch: bool,
    interval: float,
    timeout: float,
) -> None:
    from braid.status.ask import UnknownNode, ask, choose_endpoints
    from braid.status.show import show

    with _bad_url(), bad_input(UnknownNode):
        endpoints = choose_endpoints(nodes, topology=load(file) if file and not lab else None, lab=lab)
    reached = show(what, lambda: ask(endpoints, path, timeout), as_json=as_json, watch=interval if watch else None)
    if not reached:
        fail(NOT_REACHABLE, "no node answered; name one by URL, or all of them with -t FILE or --lab NAME")

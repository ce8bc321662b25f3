"""``braid lab``: a topology in network namespaces."""

from __future__ import annotations

import functools
import json
import sys
from typing import TYPE_CHECKING, Any, ParamSpec

import click

from lab import commands, link
from lab.errors import LabError
from lab.impairment import Impairment, as_dict
from topology.check import TopologyError

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")


@click.group("lab")
def lab_group() -> None:
    """Run a topology in network namespaces, with links that lose, delay and reorder at will (root)."""


def _fails_clearly(command: Callable[P, None]) -> Callable[P, None]:
    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except TopologyError as error:
            click.echo("\n".join(str(problem) for problem in error.problems), err=True)
            sys.exit(2)
        except LabError as error:
            click.echo(f"braid lab: {error}", err=True)
            sys.exit(2 if error.bad_input else 1)

    return wrapped


@lab_group.command("up")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--no-nodes", is_flag=True, help="Namespaces and links only; start `braid run` yourself.")
@click.option("--direct", is_flag=True, help="Plain veth pairs between nodes: fastest, but not impairable.")
@_fails_clearly
def up(file: str, no_nodes: bool, direct: bool) -> None:
    """Make every node and host of FILE, start them, wait until they are ready."""
    commands.lab_up(file, nodes=not no_nodes, direct=direct, say=click.echo)


@lab_group.command("down")
@click.argument("file_or_name")
@_fails_clearly
def down(file_or_name: str) -> None:
    """Remove the lab, also after a crash."""
    commands.lab_down(file_or_name, click.echo)


@lab_group.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("file_or_name")
@click.argument("node")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@_fails_clearly
def execute(file_or_name: str, node: str, command: tuple[str, ...]) -> None:
    """Run COMMAND in the namespace of a node or host."""
    commands.lab_exec(file_or_name, node, command)


@lab_group.command("impair")
@click.argument("file_or_name")
@click.argument("a")
@click.argument("b")
@click.argument("impairment", nargs=-1, required=True)
@click.option("--direction", type=click.Choice(["both", "a-to-b", "b-to-a"]), default="both", show_default=True)
@_fails_clearly
def impair(file_or_name: str, a: str, b: str, impairment: tuple[str, ...], direction: link.Direction) -> None:
    """Set the link between nodes A and B, as loss=5% delay_ms=20 jitter_ms=2, or none to make it perfect again.

    Keys: delay_ms jitter_ms jitter_shape loss burst_enter burst_leave burst_loss_good burst_loss_bad joint_seed
    joint_loss joint_slot_ms rate_mbit queue_ms reorder reorder_ms duplicate corrupt blackhole mtu seed.
    """
    commands.lab_impair(file_or_name, a, b, direction, impairment)


@lab_group.command("links")
@click.argument("file_or_name")
@click.option("--json", "as_json", is_flag=True)
@_fails_clearly
def links(file_or_name: str, as_json: bool) -> None:
    """What is set on each link and what it did to packets."""
    entries = commands.lab_links(file_or_name)
    if as_json:
        click.echo(json.dumps(entries, indent=2))
        return
    for entry in entries:
        click.echo(f"{entry['from']} -> {entry['to']}: {_setting(entry)}{_counted(entry['counters'])}")


def _setting(entry: dict[str, Any]) -> str:
    if entry["impairment"] is None:
        return "perfect"
    default = as_dict(Impairment())
    return (
        " ".join(f"{key}={value}" for key, value in entry["impairment"].items() if default.get(key) != value)
        or "perfect"
    )


def _counted(counters: dict[str, int]) -> str:
    shown = ", ".join(f"{key} {value}" for key, value in counters.items() if value)
    return f" ({shown})" if shown else ""

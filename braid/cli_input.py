"""What commands are given: the topology file, and how bad input ends them, with a line for each problem."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from topology.model import Topology

FAILED, BAD_INPUT, NOT_REACHABLE = 1, 2, 3

topology_file = click.Path(dir_okay=False, path_type=Path)
file_option = click.option("-t", "--topology", "file", type=topology_file, required=True, help="Topology file.")


def load(file: Path) -> Topology:
    """The topology of a file, or the end of the command."""
    from topology import source

    with bad_input():
        return source.load(file)


@contextmanager
def bad_input(*also: type[Exception]) -> Iterator[None]:
    """Topology errors, and the given ones, become one line per problem and exit code 2.

    What the system refuses (a full disk, a directory without permission) becomes one line and exit code 1.
    """
    from topology.problem import TopologyError

    caught: tuple[type[Exception], ...] = (TopologyError, *also)
    try:
        yield
    except caught as error:
        fail(BAD_INPUT, str(error))
    except OSError as error:
        fail(FAILED, str(error))


def fail(code: int, message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)

"""Runs many ``braid`` commands, each in a process forked from this one, which has imported everything already.

Reads a JSON list of [directory, words] on stdin; writes a JSON list of {code, out, err, seen, files} on stdout. There
``seen`` is what this process's network namespace and /run hold after each command: start it with those of its own.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    for module in ("braid.node", "lab.cli", "topology.effective"):
        importlib.import_module(module)
    command = importlib.import_module("braid.cli").main
    json.dump([run(command, directory, words) for directory, words in json.load(sys.stdin)], sys.stdout)


def run(command: Callable[[], object], directory: str, words: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            try:
                os.chdir(directory)
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                sys.argv = ["braid", *words]
                command()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            except BaseException:  # noqa: BLE001 - as the interpreter would
                traceback.print_exc()
                code = 1
            else:
                code = 0
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        return {
            "code": os.waitstatus_to_exitcode(status),
            "out": out.read().decode(),
            "err": err.read().decode(),
            "seen": seen(),
            "files": sorted(path.name for path in Path(directory).iterdir()),
        }


def seen() -> list[str]:
    """Interfaces, addresses and routes of this namespace, and every file in /run."""
    tables = [
        Path("/proc/net", table) for table in ("dev", "route", "ipv6_route", "if_inet6", "fib_trie", "udp", "tcp")
    ]
    kernel = [f"{table.name}: {line}" for table in tables if table.exists() for line in table.read_text().splitlines()]
    return kernel + sorted(str(path) for path in Path("/run").rglob("*"))


if __name__ == "__main__":
    main()

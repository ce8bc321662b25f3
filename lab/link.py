"""Impairment of links: what can be asked for, and the client of the emulator process ``braid-link``.

The emulator runs in the hub namespace, takes a link off its bridge while at least one direction is impaired and
counts every frame. It is started by the first ``impair`` of a lab.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lab import namespaces, state
from lab.errors import LabError
from lab.impairment import Impairment, as_dict

if TYPE_CHECKING:
    from lab.plan import Plan, UnderlayLink

Direction = Literal["both", "a-to-b", "b-to-a"]
Counters = Mapping[str, int]
"""Keys are COUNTERS. received + duplicated = delivered + queued + send_errors + blackholed + all lost_*."""


COUNTERS = (
    "received",
    "delivered",
    "lost_random",
    "lost_burst",
    "lost_joint",
    "lost_size",
    "lost_rate",
    "lost_queue",
    "blackholed",
    "duplicated",
    "reordered",
    "corrupted",
    "queued",
    "send_errors",
    "kernel_drops",
)


def impair(
    plan: Plan,
    a: str,
    b: str,
    impairment: Impairment | None,
    direction: Direction,
    start: Callable[[Sequence[str]], None],
) -> None:
    """Applies one change. ``start`` runs the emulator's command line in the hub namespace and returns at once."""
    if plan.direct:
        raise LabError(
            "the links of a direct lab are plain veth pairs and cannot be impaired",
            "bring it up without --direct",
            bad_input=True,
        )
    if direction not in ("both", "a-to-b", "b-to-a"):
        raise LabError(f"direction {direction!r}", "give both, a-to-b or b-to-a", bad_input=True)
    link, swapped = plan.link(a, b)
    path = _socket_path(plan)
    if not _answers(path):
        if impairment is None:
            return
        start([str(binary()), "--socket", str(path)])
        _wait_for(path)
    wire = None if impairment is None else as_dict(impairment)
    command: dict[str, Any] = {"op": "set", "link": link.name, "bridge": link.bridge, "a": link.hub_a, "b": link.hub_b}
    for key, ours in (("a_to_b", "b-to-a" if swapped else "a-to-b"), ("b_to_a", "a-to-b" if swapped else "b-to-a")):
        if direction in ("both", ours):
            command[key] = wire
    _segment_in_kernel(plan, link, one_by_one=True)
    attached = request(path, command)["attached"]
    if not attached:
        _segment_in_kernel(plan, link, one_by_one=False)


_ZERO = dict.fromkeys(COUNTERS, 0)


def counters(plan: Plan, a: str, b: str) -> dict[str, Counters]:
    """Both directions, named in the order of the arguments; all zero when the link was never impaired."""
    link, swapped = plan.link(a, b)
    found = all_counters(plan).get(link.name)
    there, back = (found["a_to_b"], found["b_to_a"]) if found else (_ZERO, _ZERO)
    return {"a-to-b": back, "b-to-a": there} if swapped else {"a-to-b": there, "b-to-a": back}


def all_counters(plan: Plan) -> dict[str, Any]:
    """Per link name that was ever impaired: attached, a_to_b, b_to_a and the impairments in force."""
    path = _socket_path(plan)
    if not _answers(path):
        return {}
    found: dict[str, Any] = request(path, {"op": "counters"})["links"]
    return found


def binary() -> Path:
    """The emulator program: $BRAID_LINK, or beside this package as ``make build`` leaves it, or on PATH."""
    return tool("braid-link", "BRAID_LINK")


def tool(name: str, variable: str) -> Path:
    chosen = os.environ.get(variable)
    built = Path(__file__).resolve().parent.parent / "dataplane" / "target" / "release" / name
    for candidate in (Path(chosen) if chosen else built, Path(shutil.which(name) or "/nonexistent")):
        if candidate.is_file():
            return candidate
    raise LabError(f"the program {name} is missing ({chosen or built})", f"`make build`, or point {variable} to it")


def request(path: Path, command: Mapping[str, Any], timeout: float = 10.0) -> Any:
    """One command, one answer. LabError with the emulator's own words when it refuses or does not answer."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout)
            sock.connect(str(path))
            sock.sendall(json.dumps(command).encode() + b"\n")
            with sock.makefile("rb") as lines:
                answer = json.loads(lines.readline() or b"{}")
    except (OSError, ValueError) as error:
        raise LabError(
            f"the link emulator does not answer at {path}: {error}", f"see {path.parent}/braid-link.log"
        ) from error
    if not answer.get("ok"):
        raise LabError(f"the link emulator refused: {answer.get('error', 'no answer')}")
    return answer


def _socket_path(plan: Plan) -> Path:
    return state.directory(plan.name) / "link.sock"


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(str(path))
        except OSError:
            return False
        return True


def _wait_for(path: Path, patience: float = 5.0) -> None:
    deadline = time.monotonic() + patience
    while not _answers(path):
        if time.monotonic() > deadline:
            raise LabError("the link emulator did not start", f"see {path.parent}/braid-link.log")
        time.sleep(0.005)


def _segment_in_kernel(plan: Plan, link: UnderlayLink, *, one_by_one: bool) -> None:
    """``one_by_one``: the senders' kernels cut segmentation batches before the link, so that frames are lost singly."""
    for port in (link.a, link.b):
        limit = 1 if one_by_one else 65535
        namespaces.ip(
            "-n", plan.members[port.member].namespace, "link", "set", port.interface, "gso_max_segs", str(limit)
        )

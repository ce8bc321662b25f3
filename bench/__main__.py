"""``python -m bench``: Braid beside the kernel's forwarding, wireguard-go and nebula in the same namespaces (root).

Contenders take turns (A B C A B C ...), so that a busy spell of the machine meets all of them. Every value goes to
bench/results.json, and docs/performance.md is written from that; ``--quick`` shows a first impression instead.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bench import core, figures, report, results, workloads
from bench.awake import awake
from bench.contenders import lab_of_contenders
from bench.goals import rows
from bench.guard import PROGRAM
from bench.machine import described, machine
from bench.offload import without_offload
from bench.search import Search
from bench.workloads import Pace
from lab.errors import LabError

if TYPE_CHECKING:
    from bench.contenders import Contender
    from bench.results import Collected, Document
    from lab.running import RunningLab

T = TypeVar("T")
RESULTS = Path(__file__).with_name("results.json")
QUICK = Path(__file__).with_name("results-quick.json")


def main() -> int:
    options = _arguments()
    if options.core_only:
        return _core_only(options.rounds)
    pace = _pace(quick=options.quick, seconds=options.seconds)
    before = machine()
    collected = results.Collected()
    try:
        with tempfile.TemporaryDirectory() as directory, lab_of_contenders(Path(directory)) as (lab, found, missing):
            print(*(f"bench: {line}" for line in missing), sep="\n", end="\n" if missing else "")
            if options.contender:
                there = {contender.key: contender for contender in found}
                found = tuple(_known(key, there, "contender") for key in options.contender)
            for contender in found:
                workloads.wake(lab, contender)
            with awake() if options.awake else nullcontext():
                for turn in range(1, options.rounds + 1):
                    _round(lab, found, pace, collected, turn, options)
        if not options.only:
            _core(collected, options.rounds)
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    document = results.document(
        collected,
        machine=before,
        options={"rounds": options.rounds, "tcp_s": pace.tcp, "udp_s": pace.udp, "round_trip_s": pace.echo},
        names={contender.key: contender.name for contender in found},
        missing=missing,
    )
    part = options.quick or options.only or options.contender or options.awake
    output: Path = options.output or (QUICK if part else RESULTS)
    _write(output, document)
    if output == RESULTS:
        report.write(document)
    _print(document)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round, to bench/results-quick.json")
    parser.add_argument(
        "--only", action="append", default=[], metavar="WORKLOAD", help='as "round trip under load"; may be repeated'
    )
    parser.add_argument("--contender", action="append", default=[], metavar="KEY", help="as braid-2; may be repeated")
    parser.add_argument(
        "--awake", action="store_true", help="CPUs never halt: what of a round trip is their waking up [no]"
    )
    parser.add_argument("--core-only", action="store_true", help="take the core's figures again, keep all others")
    parser.add_argument("--rounds", type=int, help="turns of each contender [5, quick: 1]")
    parser.add_argument("--seconds", type=float, help="of each TCP and round-trip measurement [1, quick: 0.6]")
    parser.add_argument("--output", type=Path, help="where all values go [bench/results.json and docs/performance.md]")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (0.6 if options.quick else 1.0)
    return options


def _pace(*, quick: bool, seconds: float) -> Pace:
    if quick:
        return Pace(seconds, 0.3, seconds, Search(80_000, 2, 1))
    return Pace(seconds, 0.3, seconds, Search(80_000, 2, 2), Search(0, 1.2, 1))


def _round(
    lab: RunningLab,
    found: tuple[Contender, ...],
    pace: Pace,
    collected: Collected,
    turn: int,
    options: argparse.Namespace,
) -> None:
    rounds = options.rounds
    for contender in found:
        print(f"bench: round {turn} of {rounds}: {contender.name}", flush=True)
        work = workloads.all_of(lab, contender, pace)
        if options.only:
            work = {name: _known(name, work, "workload") for name in options.only}
        _run(work, collected, figures.WITH_OFFLOAD, contender, turn)
    if options.only:
        return
    with without_offload(lab):
        for contender in found:
            print(f"bench: round {turn} of {rounds}: {contender.name}, no offload on veth", flush=True)
            work = workloads.bulk(lab, contender, pace)
            _run(work, collected, figures.WITHOUT_OFFLOAD, contender, turn)


def _known(name: str, things: dict[str, T], kind: str) -> T:
    if name not in things:
        raise LabError(f"there is no {kind} {name!r}: name one of {', '.join(things)}")
    return things[name]


def _run(
    work: dict[str, workloads.Workload], collected: Collected, group: str, contender: Contender, turn: int
) -> None:
    """What fails is told and kept as a failure; the rest goes on."""
    for name, workload in work.items():
        try:
            collected.add(group, contender.key, workload())
        except LabError as error:
            print(f"bench: FAILED {contender.name}, {name}: {error}", file=sys.stderr, flush=True)
            collected.fail(group, contender.key, name, turn, str(error))


def _core(collected: Collected, rounds: int) -> None:
    print("bench: the core alone", flush=True)
    for _ in range(rounds):
        collected.add_core(core.speed(PROGRAM))
        collected.add_core(core.shards(PROGRAM))
    for _ in range(min(rounds, 3)):
        collected.add_core(core.many_flows(PROGRAM))
    collected.add_core(core.memory(PROGRAM))


def _core_only(rounds: int) -> int:
    collected = results.Collected()
    try:
        document = json.loads(RESULTS.read_text())
        _core(collected, rounds)
    except (FileNotFoundError, LabError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    document["core"] = results.core(collected)
    document["core_measured"] = machine()["measured"]
    _write(RESULTS, document)
    report.write(document)
    return 0


def _write(file: Path, document: Document) -> None:
    """Whole or not at all."""
    temporary = file.with_name(f"{file.name}.tmp")
    temporary.write_text(json.dumps(document, indent=1) + "\n")
    temporary.replace(file)


def _print(document: Document) -> None:
    print(f"\n{described(document['machine'])}")
    for group, contenders in document["groups"].items():
        print(f"\n{group}\n{results.plain(results.table(contenders, document['contenders']))}")
    heading = ["what", "at least", "goal", "measured", "met?"]
    print(f"\n{results.plain([heading, *([r.what, r.least, r.goal, r.measured, r.met] for r in rows(document))])}")
    for failure in document["failures"]:
        print("bench: FAILED in round {round}: {contender}, {workload}, {group}: {problem}".format(**failure))


if __name__ == "__main__":
    sys.exit(main())

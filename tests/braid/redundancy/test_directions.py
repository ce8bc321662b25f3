"""All applications of a node: counts of the data plane in, sets of paths out."""

from __future__ import annotations

from random import Random

from braid.desired import PathChoice
from braid.events import Losses, SentOn, Stream
from braid.redundancy.application import Mode
from braid.redundancy.losses import Candidate
from braid.redundancy.node import Redundancy, Selection
from braid.redundancy.verdict import Word
from topology.policy import TargetLoss

PEER, SHOP, MAIL = 31, 16, 17
POLICY = TargetLoss(1e-4)


def selection(paths: int, policies: dict[int, TargetLoss] | None = None, *, first: int = 0) -> Selection:
    ids = range(first, first + paths)
    return Selection(
        policies or {SHOP: POLICY},
        tuple(PathChoice(path, (20 + path, PEER)) for path in ids),
        tuple(Candidate(path, 10.0 + path, frozenset({f"region {path}"})) for path in ids),
    )


class Wire:
    """Plays the data plane: 100 packets of each application in 100 ms on its set, a probe on every candidate."""

    def __init__(self, redundancy: Redundancy, given: Selection, seed: int = 1) -> None:
        self.redundancy, self.given, self.rng = redundancy, given, Random(seed)
        self.now = 0.0
        redundancy.configure({PEER: given}, 0.0)
        self.sets = self.taken()

    def taken(self) -> dict[int, frozenset[int]]:
        return {paths.set: frozenset(path.id for path in paths.paths) for paths in self.redundancy.path_sets()}

    def run(
        self, seconds: float, loss: dict[int, float] | None = None, packets: int = 100, shards: int = 1
    ) -> list[float]:
        """The times at which sets were changed."""
        changed = []
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            changes = []
            for shard in range(shards):
                changes += self.redundancy.receive(self._tick(loss or {}, packets // shards), self.now + shard / 1000)
            if self.redundancy.next_timeout() <= self.now:
                changes += self.redundancy.handle_timeout(self.now)
            if changes:
                changed.append(self.now)
                self.sets = self.taken()
        return changed

    def _tick(self, loss: dict[int, float], packets: int) -> Losses:
        streams, sent = [], []
        lost: dict[int, int] = {}
        both: dict[tuple[int, int], int] = {}
        every = frozenset(choice.id for choice in self.given.choices)
        for number, on, count in [*((n, s, packets) for n, s in self.sets.items()), (None, every, 1)]:
            repaired = gone = 0
            for _ in range(count):
                missing = sorted(path for path in on if self.rng.random() < loss.get(path, 0.0))
                for place, path in enumerate(missing):
                    lost[path] = lost.get(path, 0) + 1
                    for other in missing[:place]:
                        both[other, path] = both.get((other, path), 0) + 1
                repaired += 0 < len(missing) < len(on)
                gone += len(missing) == len(on)
            streams.append(Stream(number, on, count, repaired, gone))
            if number is not None:
                sent.append(SentOn(number, count, count * len(on), 1000 * count * (len(on) - 1)))
        return Losses(PEER, 0.1, tuple(streams), lost, both, tuple(sent), dict.fromkeys(every, 0.01))


def test_the_others_stand_by_and_every_set_is_measured() -> None:
    wire = Wire(Redundancy(), selection(5))
    (paths,) = wire.redundancy.path_sets()
    assert (paths.peer, paths.set, paths.measured) == (PEER, SHOP, True)
    assert [[path.id for path in group] for group in (paths.paths, paths.spares)] == [[0, 1], [2, 3, 4]]


def test_trouble_is_answered_within_half_a_second_and_left_for_a_pair_that_is_proved_to_be_good() -> None:
    wire = Wire(Redundancy(), selection(5))
    assert wire.run(120) == []
    began, bad = wire.now, dict.fromkeys(range(3), 0.5)
    changed = wire.run(1, bad)
    assert changed[0] - began <= 0.4
    assert len(wire.sets[SHOP]) == 5
    wire.run(14, bad)
    assert wire.sets[SHOP] == {3, 4}
    (standing,) = wire.redundancy.standings()
    assert (standing.application.mode, standing.application.ledger.surges) == (Mode.STEADY, 1)
    assert 900 < standing.rate < 1100


def test_two_copies_are_back_ten_to_thirteen_seconds_after_trouble_on_all_paths() -> None:
    wire = Wire(Redundancy(), selection(5))
    wire.run(120)
    wire.run(10, dict.fromkeys(range(5), 0.4))
    assert len(wire.sets[SHOP]) == 5
    ended = wire.now
    changed = wire.run(30)
    assert len(wire.sets[SHOP]) == 2
    assert 10 <= changed[-1] - ended <= 13


def test_applications_share_what_is_known_of_paths_and_choose_for_themselves() -> None:
    policies = {SHOP: POLICY, MAIL: TargetLoss(1e-2, min_copies=1, max_copies=2)}
    wire = Wire(Redundancy(), selection(4, policies))
    wire.run(30)
    assert [len(wire.sets[number]) for number in (SHOP, MAIL)] == [2, 1]
    wire.run(1.5, {0: 0.3, 1: 0.3})
    assert [len(standing.application.using) for standing in wire.redundancy.standings()] == [4, 2]
    wire.run(3.5, {0: 0.3, 1: 0.3})
    ledgers = [standing.application.ledger for standing in wire.redundancy.standings()]
    assert [ledger.packets for ledger in ledgers] == [35_000, 35_000]
    assert ledgers[0].repaired > 300
    assert ledgers[0].bytes_of_copies > ledgers[1].bytes_of_copies > 0


def test_reports_of_several_shards_are_one_tick() -> None:
    """A burst in every shard at once is no more of an alarm than one burst."""
    wire = Wire(Redundancy(), selection(4))
    wire.run(20, shards=4)
    assert wire.run(0.1, {0: 0.2}, shards=4) == []
    assert wire.run(2, shards=4) == []
    (standing,) = wire.redundancy.standings()
    assert 20_000 < standing.application.ledger.packets < 23_000
    assert wire.run(1, {0: 0.6}, shards=4) != []


def test_a_path_that_is_gone_is_replaced_at_once_and_remembered() -> None:
    redundancy = Redundancy()
    wire = Wire(redundancy, selection(4))
    wire.run(60, {1: 0.04})
    before = redundancy._directions[PEER].losses.path(1)
    redundancy.configure({PEER: selection(3, first=1)}, wire.now)
    assert wire.taken()[SHOP] >= {1, 2} - {0}
    assert 0 not in wire.taken()[SHOP]
    assert len(wire.taken()[SHOP]) == 2
    redundancy.configure({PEER: selection(4)}, wire.now)
    assert redundancy._directions[PEER].losses.path(1) == before
    other = selection(4)
    renamed = Selection(other.policies, (PathChoice(0, (99, PEER)), *other.choices[1:]), other.candidates)
    redundancy.configure({PEER: renamed}, wire.now)
    assert redundancy._directions[PEER].losses.path(0).estimate != 0


def test_a_policy_that_changes_begins_anew_and_a_peer_that_goes_is_forgotten() -> None:
    redundancy = Redundancy()
    wire = Wire(redundancy, selection(4))
    wire.run(10)
    redundancy.configure({PEER: selection(4, {SHOP: TargetLoss(1e-4, min_copies=3)})}, wire.now)
    assert len(wire.taken()[SHOP]) == 3
    redundancy.configure({}, wire.now)
    assert (redundancy.path_sets(), redundancy.standings()) == ((), ())
    assert redundancy.receive(Losses(PEER, 0.1, (), {}, {}), wire.now) == []


def test_a_clean_pair_is_proved_by_and_by() -> None:
    wire = Wire(Redundancy(), selection(4, {SHOP: TargetLoss(1e-3)}))
    (standing,) = wire.redundancy.standings()
    assert standing.verdict.word is Word.NOT_PROVABLE_YET
    wire.run(30)
    (standing,) = wire.redundancy.standings()
    assert standing.verdict.word is Word.MET

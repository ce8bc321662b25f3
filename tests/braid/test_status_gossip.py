"""Summaries passed on: everybody learns of everybody, nothing circles, rate and memory are bounded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from braid.status.changes import Kind, Tone
from braid.status.gossip import BURST, FANOUT, INTERVAL, LONGEST, QUIET, RATE, SPREAD, TAKEN, WAIT_LONGER, Gossip
from braid.status.summary import ChangeReport, LinkReport, Summary
from braid.status.wire import encode, identity, joined, parted


def summary(number: int, uptime: int = 1, links: int = 3) -> Summary:
    reports = tuple(LinkReport(index + 1, True, 1, 1, None, None) for index in range(links))
    return Summary(number, True, False, False, "0" * 12, uptime, "", links=reports)


@dataclass
class Network:
    """Nodes joined by links. Messages arrive at once, unless a link loses them; they are passed on at the next beat."""

    links: set[frozenset[int]]
    seed: int = 1
    loss: float = 0.0
    messages: int = 0
    nodes: dict[int, Gossip] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = Random(self.seed)
        self.around: dict[int, set[int]] = {}
        for one, other in map(tuple, self.links):
            self.around.setdefault(one, set()).add(other)
            self.around.setdefault(other, set()).add(one)
        for number in sorted(self.around):
            self.nodes[number] = Gossip(number, Random(number))
            self.nodes[number].set_members(self.around.keys() - {number})

    def neighbours(self, number: int) -> dict[int, int]:
        return {other: len(self.around[other]) for other in sorted(self.around[number])}

    def tell(self, number: int, now: float, links: int = 3, *, news: bool = False) -> None:
        self.nodes[number].tell(summary(number, int(now), links), now, now, news=news)

    def beat(self, now: float, links: int = 3) -> None:
        """A second at all nodes, each at its own moment of it."""
        for place, (number, node) in enumerate(self.nodes.items()):
            at = now + place / len(self.nodes)
            if node.due(at, False):
                self.tell(number, at, links)
            self.pass_on(number, at)

    def pass_on(self, number: int, now: float) -> None:
        for to, control in self.nodes[number].pass_on(self.neighbours(number), now):
            self.messages += 1
            if self.rng.random() >= self.loss:
                self.nodes[to].receive(number, control, now)

    def heard(self, number: int) -> int:
        counts = self.nodes[number].counts
        return counts["received"] + counts["old"]


def ring(count: int) -> set[frozenset[int]]:
    return {frozenset((number, number % count + 1)) for number in range(1, count + 1)}


def star(leaves: int) -> set[frozenset[int]]:
    """Two nodes in the middle, 1 and 2; all others have these two neighbours."""
    return {frozenset((middle, leaf)) for middle in (1, 2) for leaf in range(3, 3 + leaves)}


def test_everybody_learns_of_everybody() -> None:
    network = Network(ring(9))
    for second in range(10, 15):
        network.beat(second)
    for number, node in network.nodes.items():
        assert set(node.known(15.0)) == set(network.nodes) - {number}
    assert network.messages <= 5 * 2 * 9


def test_nothing_circles_and_a_dense_overlay_costs_a_fixed_number_per_node() -> None:
    count = 40
    dense = Network({frozenset((a, b)) for a in range(1, count + 1) for b in range(1, a)})
    dense.tell(1, 10.0, news=True)
    for second in range(10, 20):
        for number in dense.nodes:
            dense.pass_on(number, second)
    assert dense.messages <= 1.2 * count * FANOUT
    for second in range(20, 60):
        dense.beat(second)
    reached = [len(node.known(60.0)) for node in dense.nodes.values()]
    assert sum(reached) >= 0.98 * count * (count - 1)


def test_a_leaf_of_a_star_hears_of_everybody_as_often_as_the_middle_does() -> None:
    """It has no other neighbours to hear from; and the middle does not hear everything again from each leaf."""
    network = Network(star(50))
    for second in range(10, 40):
        network.beat(second)
    before, received = network.messages, {number: network.heard(number) for number in network.nodes}
    for second in range(40, 100):
        network.beat(second)
        if second % 10 == 0:
            for node in network.nodes.values():
                assert [number for number, known in node.known(second).items() if known.stale(second)] == []
    ages = [100 - known.heard for node in network.nodes.values() for known in node.known(100.0).values()]
    assert max(ages) <= LONGEST + 10
    heard = {number: (network.heard(number) - received[number]) / 60 for number in network.nodes}
    assert max(heard.values()) < 2 * QUIET
    assert (network.messages - before) / 60 < 0.6 * 2 * RATE
    network.tell(7, 100.0, links=9, news=True)
    for second in range(100, 103):
        network.beat(second)
    told = [node.known(103.0)[7] for number, node in network.nodes.items() if number != 7]
    assert all(len(known.summary.links) == 9 for known in told), "news reach all within seconds"


def test_where_one_node_is_the_only_way_everything_goes_through_it() -> None:
    """3 has one neighbour among the many of the middle."""
    chain = {frozenset((1, leaf)) for leaf in range(10, 50)} | {frozenset((1, 2)), frozenset((2, 3))}
    network = Network(chain)
    for second in range(10, 40):
        network.beat(second)
    assert all(3 in node.known(40.0) for number, node in network.nodes.items() if number != 3)
    assert len(network.nodes[3].known(40.0)) == len(network.nodes) - 1


def test_losses_are_made_good_by_the_next_round() -> None:
    network = Network(ring(8), loss=0.3)
    for second in range(10, 34):
        network.beat(second)
    assert all(len(node.known(34.0)) == 7 for node in network.nodes.values())


def test_the_newest_counts_and_old_news_go() -> None:
    network = Network(ring(3))
    network.beat(10.0)
    network.beat(13.0)
    known = network.nodes[1].known(14.0)[2]
    assert known.summary.uptime_s == 13
    assert not known.stale(14.0)
    assert known.stale(14 + 3 * (INTERVAL + 1))
    assert 2 not in network.nodes[1].known(14 + 12 * (INTERVAL + 1))


def test_a_node_that_restarts_with_its_clock_set_back_is_heard_again() -> None:
    network = Network(ring(3))
    network.beat(1000.0)
    network.nodes[2] = node = Gossip(2, Random(2))
    node.set_members({1, 3})
    node.tell(summary(2, 0), 1001.0, wall=5.0)
    network.pass_on(2, 1001.0)
    assert network.nodes[1].known(1001.0)[2].summary.uptime_s == 1000
    node.receive(1, encode(summary(2, 99), 2_000_000, 2.0)[0], 1001.0)
    node.tell(summary(2, 7), 1002.0, wall=7.0)
    network.pass_on(2, 1002.0)
    assert network.nodes[1].known(1002.0)[2].summary.uptime_s == 7


def test_strangers_and_our_own_name_are_not_taken_over() -> None:
    node = Gossip(1, Random(1))
    node.set_members({2, 3})
    for origin in (1, 9):
        for message in encode(summary(origin), 5, 2.0):
            node.receive(2, message, 1.0)
    assert node.known(1.0) == {}
    assert node.counts["foreign"] == 1
    node.receive(2, b"\x01\x02nonsense", 1.0)
    assert node.counts["bad"] == 1
    assert node.pass_on({2: 2, 3: 2}, 9.0) == []


def test_who_leaves_the_topology_is_forgotten() -> None:
    node = Gossip(1, Random(1))
    node.set_members({2})
    node.receive(2, encode(summary(2), 5, 2.0)[0], 1.0)
    assert set(node.known(1.0)) == {2}
    node.set_members(set())
    assert node.known(1.0) == {}
    assert node.pass_on({3: 1}, 9.0) == []


def test_a_summary_counts_when_all_of_it_is_there() -> None:
    node = Gossip(1, Random(1))
    node.set_members({2})
    messages = encode(summary(2, links=150), 5, 2.0)
    assert len(messages) == 3
    for index in (2, 0):
        node.receive(2, messages[index], 1.0)
        node.receive(2, messages[index], 1.0)
    assert node.known(1.0) == {}
    node.receive(2, messages[1], 1.0)
    assert len(node.known(1.0)[2].summary.links) == 150
    assert node.counts["old"] == 2


def test_messages_travel_together_and_not_to_who_has_them() -> None:
    node = Gossip(1, Random(1))
    node.set_members(range(2, 12))
    controls = joined(encode(summary(origin), 5, 2.0)[0] for origin in range(2, 10))
    assert len(controls) == 1
    node.receive(2, controls[0], 1.0)
    node.receive(3, encode(summary(5), 5, 2.0)[0], 1.1)
    sent = dict(node.pass_on({2: 2, 3: 2, 11: 2}, 1.5))
    told = {number: [identity(message)[0] for message in parted(control)] for number, control in sent.items()}
    assert told == {3: [2, 4, 6, 7, 8, 9], 11: list(range(2, 10))}
    assert node.pass_on({2: 2, 3: 2, 11: 2}, 2.5) == []


def test_changes_are_told_when_there_are_new_ones_and_once_a_minute_and_are_kept_meanwhile() -> None:
    origin, node = Gossip(2, Random(2)), Gossip(1, Random(1))
    origin.set_members({1})
    node.set_members({2})
    change = ChangeReport(3, Kind.PATH, Tone.BAD, "path is silent", "cut")
    sizes = []
    for second in range(0, 130, 2):
        told = replace(summary(2, second), changes=(replace(change, age_s=3 + second),))
        origin.tell(told, second, second, news=second == 10)
        ((_, control),) = origin.pass_on({1: 1}, second)
        sizes.append(len(control))
        node.receive(2, control, second)
        assert node.known(second)[2].summary.changes == told.changes
    assert [2 * turn for turn, size in enumerate(sizes) if size == max(sizes)] == [0, 10, 70]


def test_what_follows_a_good_message_may_be_bad() -> None:
    node = Gossip(1, Random(1))
    node.set_members({2, 3})
    (good,) = encode(summary(2), 5, 2.0)
    for bad in (b"\x01\x02", b"\x01\x02\x00\x05\x00", b"\x01\x02\xff\xff" + bytes(60)):
        node.receive(2, good + bad, 1.0)
    assert set(node.known(1.0)) == {2}
    assert node.counts["bad"] == 3


def test_what_a_node_sends_is_bounded_whatever_it_hears() -> None:
    node = Gossip(1, Random(1))
    node.set_members(range(2, 2000))
    sent = 0
    for step in range(5000):
        (message,) = encode(summary(2 + step % 1990), step, 2.0, news=True)
        node.receive(2 + step % 90, message, 10.0 + step / 5000)
        sent += len(node.pass_on(dict.fromkeys((3, 4, 5, 6), 2), 10.0 + step / 5000))
    assert sent <= BURST + RATE + FANOUT
    assert node.counts["held_back"] > 0


def test_a_neighbour_that_floods_is_not_listened_to_beyond_its_rate() -> None:
    node = Gossip(1, Random(1))
    node.set_members({2, 3})
    for step in range(1000):
        control = b"".join(encode(summary(2), 5 * step + each, 2.0)[0] for each in range(5))
        node.receive(3, control, 10.0 + step / 1000)
    assert node.counts["received"] <= 3 * TAKEN
    assert node.counts["excess"] >= 1000 - 3 * TAKEN / 5
    node.receive(2, encode(summary(2, uptime=77), 9999, 2.0)[0], 11.0)
    assert node.known(11.0)[2].summary.uptime_s == 77


def test_the_larger_the_overlay_the_rarer_and_shorter_the_summaries() -> None:
    node = Gossip(1, Random(1))
    node.set_members(range(2, 402))
    node.tell(summary(1, links=1000), 10.0, 10.0)
    told = node.pass_on(dict.fromkeys(range(2, 202), 200), 10.0 + 2 * WAIT_LONGER)
    assert FANOUT <= len(told) <= 4 * FANOUT
    assert not node.due(9.0 + LONGEST * (1 - SPREAD), False)
    assert node.due(11.0, True)
    assert node.due(10.0 + 400 * FANOUT / RATE, False)

"""Summaries passed on: everybody learns of everybody, nothing circles, rate and memory are bounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from braid.status.gossip import BURST, FANOUT, INTERVAL, LONGEST, RATE, TAKEN, Gossip
from braid.status.summary import LinkReport, Summary
from braid.status.wire import encode


def summary(number: int, uptime: int = 1, links: int = 3) -> Summary:
    reports = tuple(LinkReport(index + 1, True, 1, 1, None, None) for index in range(links))
    return Summary(number, True, False, False, "0" * 12, uptime, "", links=reports)


@dataclass
class Network:
    """Nodes joined by links; messages arrive at once, unless a link loses them."""

    links: set[frozenset[int]]
    seed: int = 1
    loss: float = 0.0
    messages: int = 0
    most_at_once: int = 0
    nodes: dict[int, Gossip] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = Random(self.seed)
        numbers = set().union(*self.links)
        for number in sorted(numbers):
            self.nodes[number] = Gossip(number, Random(number))
            self.nodes[number].set_members(numbers - {number})

    def neighbours(self, number: int) -> list[int]:
        return sorted(other for link in self.links if number in link for other in link if other != number)

    def tick(self, now: float, only: int | None = None, links: int = 3) -> None:
        for number, node in self.nodes.items():
            if only in (None, number) and node.due(now, False):
                told = node.tell(summary(number, int(now), links), self.neighbours(number), now, now)
                self.deliver([(number, to, message) for to, message in told], now)

    def deliver(self, waiting: list[tuple[int, int, bytes]], now: float) -> None:
        while waiting:
            sender, number, message = waiting.pop(0)
            self.messages += 1
            if self.rng.random() >= self.loss:
                onward = self.nodes[number].receive(sender, message, self.neighbours(number), now)
                waiting += [(number, to, copy) for to, copy in onward]


def ring(count: int) -> set[frozenset[int]]:
    return {frozenset((number, number % count + 1)) for number in range(1, count + 1)}


def test_everybody_learns_of_everybody() -> None:
    network = Network(ring(9))
    network.tick(10.0)
    for number, node in network.nodes.items():
        assert set(node.known(10.0)) == set(network.nodes) - {number}
    assert network.messages <= 9 * 2 * 9


def test_nothing_circles_and_a_dense_overlay_costs_a_fixed_number_per_node() -> None:
    count = 60
    dense = Network({frozenset((a, b)) for a in range(1, count + 1) for b in range(1, a)})
    dense.tick(10.0, only=1)
    assert dense.messages <= count * FANOUT
    for number in dense.nodes:
        dense.tick(20.0 + number / 10, only=number)
    reached = [len(node.known(26.0)) for node in dense.nodes.values()]
    assert sum(reached) >= 0.9 * count * (count - 1)


def test_losses_are_made_good_by_the_next_round() -> None:
    network = Network(ring(8), loss=0.3)
    for turn in range(8):
        network.tick(10.0 + turn * 3)
    assert all(len(node.known(31.0)) == 7 for node in network.nodes.values())


def test_the_newest_counts_and_old_news_go() -> None:
    network = Network(ring(3))
    network.tick(10.0)
    network.tick(13.0)
    known = network.nodes[1].known(14.0)[2]
    assert known.summary.uptime_s == 13
    assert not known.stale(14.0)
    assert known.stale(13 + 3 * (INTERVAL + 1) + 1)
    assert 2 not in network.nodes[1].known(13 + 12 * (INTERVAL + 1) + 1)


def test_a_node_that_restarts_with_its_clock_set_back_is_heard_again() -> None:
    network = Network(ring(3))
    network.tick(1000.0)
    network.nodes[2] = Gossip(2, Random(2))
    network.nodes[2].set_members({1, 3})
    early = network.nodes[2].tell(summary(2, 0), [1, 3], 2000.0, wall=5.0)
    network.deliver([(2, to, message) for to, message in early], 2000.0)
    network.nodes[2].receive(1, encode(summary(2, 99), 1_000_000, 2.0)[0], [1, 3], 1001.0)
    later = network.nodes[2].tell(summary(2, 7), [1, 3], 1002.0, wall=7.0)
    network.deliver([(2, to, message) for to, message in later], 1002.0)
    assert network.nodes[1].known(1002.0)[2].summary.uptime_s == 7


def test_strangers_and_our_own_name_are_not_taken_over() -> None:
    node = Gossip(1, Random(1))
    node.set_members({2, 3})
    for origin in (1, 9):
        for message in encode(summary(origin), 5, 2.0):
            assert node.receive(2, message, [2, 3], 1.0) == []
    assert node.known(1.0) == {}
    assert node.counts["foreign"] == 1
    assert node.receive(2, b"\x01\x02nonsense", [2, 3], 1.0) == []
    assert node.counts["bad"] == 1


def test_who_leaves_the_topology_is_forgotten() -> None:
    node = Gossip(1, Random(1))
    node.set_members({2})
    node.receive(2, encode(summary(2), 5, 2.0)[0], [2], 1.0)
    assert set(node.known(1.0)) == {2}
    node.set_members(set())
    assert node.known(1.0) == {}


def test_a_summary_counts_when_all_of_it_is_there() -> None:
    node = Gossip(1, Random(1))
    node.set_members({2})
    messages = encode(summary(2, links=150), 5, 2.0)
    assert len(messages) == 3
    for index in (2, 0):
        node.receive(2, messages[index], [2], 1.0)
        node.receive(2, messages[index], [2], 1.0)
    assert node.known(1.0) == {}
    node.receive(2, messages[1], [2], 1.0)
    assert len(node.known(1.0)[2].summary.links) == 150
    assert node.counts["old"] == 2


def test_what_a_node_sends_is_bounded_whatever_it_hears() -> None:
    node = Gossip(1, Random(1))
    node.set_members(range(2, 2000))
    sent = 0
    for step in range(5000):
        (message,) = encode(summary(2 + step % 1990), step, 2.0)
        sent += len(node.receive(2 + step % 90, message, [3, 4, 5, 6], 10.0 + step / 5000))
    assert sent <= BURST + RATE + FANOUT
    assert node.counts["held_back"] > 0


def test_a_neighbour_that_floods_is_not_listened_to_beyond_its_rate() -> None:
    node = Gossip(1, Random(1))
    node.set_members({2, 3})
    for step in range(5000):
        (message,) = encode(summary(2), step, 2.0)
        node.receive(3, message, [2, 3], 10.0 + step / 5000)
    assert node.counts["received"] <= 3 * TAKEN
    assert node.counts["excess"] >= 5000 - 3 * TAKEN
    node.receive(2, encode(summary(2, uptime=77), 9999, 2.0)[0], [2, 3], 11.0)
    assert node.known(11.0)[2].summary.uptime_s == 77


def test_the_larger_the_overlay_the_rarer_and_shorter_the_summaries() -> None:
    node = Gossip(1, Random(1))
    node.set_members(range(2, 402))
    told = node.tell(summary(1, links=1000), list(range(2, 202)), 10.0, 10.0)
    assert len(told) == FANOUT
    assert not node.due(10.0 + LONGEST, False)
    assert node.due(11.0, True)
    assert node.due(10.0 + 401 * FANOUT / RATE, False)

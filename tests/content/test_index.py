"""The index against a plain list that says the same."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from content.entry import BLOCK, Entry
from content.freshness import Times
from content.index import MOST_VARIANTS, ROOM, Index
from content.message import Head

LIMIT = 12 * BLOCK


class IndexMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.index = Index(LIMIT)
        self.model: list[Entry] = []
        self.count = 0
        """The one used last comes last."""
        self.followed: dict[str, list[Entry]] = {}
        """As somebody knows it who looks when a key has changed."""
        self.index.changed = lambda key: self.followed.update({key: self.index.find(key)})

    @rule(key=st.sampled_from("abc"), variant=st.sampled_from([b"x", b"y"]), length=st.integers(0, 9 * BLOCK))
    def add(self, key: str, variant: bytes, length: int) -> None:
        self.count += 1
        times = Times(self.count, self.count)
        entry = Entry(f"{self.count:032x}", key, ((b"v", variant),), Head(200), times, length, 0)
        gone = self.index.add(entry)
        kept = [each for each in self.model if (each.key, each.selecting) != (entry.key, entry.selecting)] + [entry]
        while sum(each.cost for each in kept) > LIMIT:
            kept.pop(0)
        assert {each.id for each in gone} == {each.id for each in (*self.model, entry)} - {each.id for each in kept}
        self.model = kept

    @rule(data=st.data())
    def touch(self, data: st.DataObject) -> None:
        if self.model:
            entry = data.draw(st.sampled_from(self.model))
            self.index.touch(entry)
            self.model.remove(entry)
            self.model.append(entry)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.model:
            entry = data.draw(st.sampled_from(self.model))
            assert self.index.remove(entry.id)
            assert not self.index.remove(entry.id)
            self.model.remove(entry)

    @rule(wanted=st.integers(0, LIMIT + 1))
    def shrink(self, wanted: int) -> None:
        """The disk is full."""
        left = self.index.bytes - max(self.index.bytes // ROOM, wanted)
        gone = self.index.shrink(wanted)
        expected = []
        while self.model and sum(each.cost for each in self.model) > left:
            expected.append(self.model.pop(0))
        assert gone == expected

    @invariant()
    def same(self) -> None:
        assert list(self.index) == self.model[::-1]
        assert self.index.bytes == sum(entry.cost for entry in self.model) <= LIMIT
        for key in "abc":
            newest_first = sorted((e for e in self.model if e.key == key), key=lambda e: -e.times.received)
            assert self.index.find(key) == newest_first == self.followed.get(key, [])


TestIndex = IndexMachine.TestCase
TestIndex.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_variants_of_a_key_are_bounded() -> None:
    index = Index(1 << 30)
    for number in range(MOST_VARIANTS + 5):
        selecting = ((b"v", b"%d" % number),)
        index.add(Entry(f"{number:032x}", "a", selecting, Head(200), Times(number, number), 0, 0))
    assert [entry.times.received for entry in index.find("a")] == list(range(MOST_VARIANTS + 4, 4, -1))
    assert len(index.under("")) == len(index) == MOST_VARIANTS

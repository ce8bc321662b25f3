"""Pieces of flows reach the core of the other gateway once and all, whatever is lost, repeated or overtakes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from braid.moves import Flows, Have
from gateway.drain.window import AT_ONCE, RESEND, Receiving, Sending

ID = b"12345678"


def pair() -> tuple[Sending, Receiving, list[bytes]]:
    taken: list[bytes] = []

    def take(_shard: int, piece: bytes) -> tuple[int, int, int]:
        taken.append(piece)
        return 3, 0, 1

    return Sending(ID), Receiving(ID, take), taken


def test_a_window_of_pieces_is_under_way_and_each_is_sent_again_until_it_is_answered() -> None:
    sending, receiving, taken = pair()
    sending.put(0, [bytes([n]) for n in range(AT_ONCE + 2)])
    first = sending.due(0.0)
    assert [piece.number for piece in first] == list(range(AT_ONCE))
    assert sending.due(RESEND / 2) == []
    answers = [receiving.receive(piece) for piece in first]
    assert answers[1] is not None
    sending.receive(answers[1])
    assert sending.due(RESEND / 2) == [], "the oldest holds the window, so that the other side may forget"
    assert answers[0] is not None
    sending.receive(answers[0])
    assert [piece.number for piece in sending.due(RESEND / 2)] == [AT_ONCE, AT_ONCE + 1]
    assert [piece.number for piece in sending.due(RESEND)] == list(range(2, AT_ONCE))
    assert (sending.new, sending.refused, len(taken)) == (6, 2, AT_ONCE)
    assert sending.again == AT_ONCE - 2


def test_what_is_of_another_drain_counts_nothing() -> None:
    sending, receiving, taken = pair()
    sending.put(0, [b"a"])
    (piece,) = sending.due(0.0)
    assert receiving.receive(Flows(b"another.", 0, 0, b"a")) is None
    sending.receive(Have(b"another.", 0, 9, 9, 9))
    assert (sending.new, taken, sending.idle) == (0, [], False)
    assert receiving.receive(piece) == receiving.receive(piece), "answered from memory"
    assert taken == [b"a"]


@given(
    st.integers(1, 120),
    st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 50)), max_size=400),
)
def test_all_pieces_come_once_in_spite_of_loss_repetition_and_any_order(
    count: int, fates: list[tuple[bool, bool, int]]
) -> None:
    sending, receiving, taken = pair()
    sending.put(0, [n.to_bytes(2, "big") for n in range(count)])
    now, wire, fate = 0.0, [], iter(fates)
    while not sending.idle:
        now += RESEND / 3
        wire += sending.due(now)
        for _ in range(len(wire)):
            lost, repeated, place = next(fate, (False, False, 0))
            message = wire.pop(place % len(wire))
            if repeated:
                wire.append(message)
            if lost:
                continue
            if isinstance(message, Flows):
                answer = receiving.receive(message)
                if answer is not None:
                    wire.append(answer)
            else:
                sending.receive(message)
        assert len(receiving._had) <= 2 * AT_ONCE
    assert sorted(taken) == [n.to_bytes(2, "big") for n in range(count)]
    assert (sending.new, sending.refused) == (3 * count, count)

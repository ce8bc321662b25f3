"""What a gateway that leaves has yet to tell its sibling of connections that content proxies have."""

from __future__ import annotations

from math import inf

from gateway.transfer.entrusting import AT_ONCE, PATIENCE, RESEND, Entrusting

IDS = [number.to_bytes(16) for number in range(AT_ONCE + 5)]


def test_a_few_at_a_time_and_again_until_they_are_answered() -> None:
    entrusting = Entrusting()
    assert entrusting.next_timeout() == inf
    entrusting.add(IDS)
    entrusting.add(IDS)
    assert len(entrusting) == len(IDS)
    assert entrusting.due(1.0) == IDS[:AT_ONCE]
    assert entrusting.next_timeout() == 1.0 + RESEND
    assert entrusting.due(1.0) == []
    for id_ in IDS[:3]:
        entrusting.answered(id_, done=True)
    assert entrusting.due(1.0) == IDS[AT_ONCE : AT_ONCE + 3]
    again = entrusting.due(1.0 + RESEND)
    assert sorted(again) == IDS[3 : AT_ONCE + 3], "those without an answer"
    for id_ in IDS:
        entrusting.answered(id_, done=True)
        entrusting.due(2.0)
    for id_ in IDS[-2:]:
        entrusting.answered(id_, done=True)
    assert (len(entrusting), entrusting.next_timeout()) == (0, inf)


def test_what_is_refused_or_not_answered_stays() -> None:
    entrusting = Entrusting()
    entrusting.add(IDS[:2])
    entrusting.due(0.0)
    entrusting.answered(IDS[0], done=False)
    assert IDS[0] not in entrusting
    assert entrusting.due(PATIENCE - 0.001) == IDS[1:2]
    assert entrusting.due(PATIENCE) == []
    entrusting.add(IDS[:2])
    assert len(entrusting) == 0
    entrusting.forget(IDS[1])
    entrusting.add(IDS[:2])
    assert entrusting.due(PATIENCE) == IDS[1:2]


def test_what_there_is_more_to_say_of_is_said_when_the_answer_is_there() -> None:
    entrusting = Entrusting()
    entrusting.add(IDS[:1])
    entrusting.due(0.0)
    entrusting.again(IDS[0])
    assert entrusting.due(0.01) == [], "an answer to it would be to what was said before"
    entrusting.answered(IDS[0], done=True)
    assert entrusting.due(0.02) == IDS[:1]
    entrusting.answered(IDS[0], done=True)
    assert (entrusting.due(1.0), len(entrusting)) == ([], 0)

"""What a proxy says of its answers until its gateway has heard it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from braid.repeated import AGAIN, Say
from braid.transfer_progress import Promised, decode_promised, heard_of
from content.unheard import FOR, Unheard

GATEWAY, ANOTHER = 31, 32
FIRST = Promised(bytes(16), 1000, 500, b"head", 0, 10, 10, b'"1"', last=False, request=b"")
SECOND = replace(FIRST, request_end=600)


def said_again(unheard: Unheard, until: float) -> list[tuple[float, Say]]:
    said = []
    while (now := unheard.next_timeout()) < until:
        said += [(now, say) for say in unheard.handle_timeout(now)]
    return said


def test_a_promise_is_said_until_the_gateway_has_heard_it() -> None:
    unheard = Unheard()
    (first,) = unheard.promise(GATEWAY, FIRST, 0.0)
    assert (first.peer, decode_promised(first.message)) == (GATEWAY, FIRST)
    times = [at for at, say in said_again(unheard, 0.3) if say == first]
    assert times == pytest.approx([AGAIN, 2.5 * AGAIN, 4.75 * AGAIN])
    unheard.receive(ANOTHER, heard_of(FIRST))
    assert len(unheard) == 1
    unheard.receive(GATEWAY, heard_of(FIRST))
    assert (len(unheard), said_again(unheard, 10.0)) == (0, [])


def test_the_last_one_counts_and_only_for_a_while() -> None:
    unheard = Unheard()
    unheard.promise(GATEWAY, FIRST, 0.0)
    (second,) = unheard.promise(GATEWAY, SECOND, 0.0)
    unheard.receive(GATEWAY, heard_of(FIRST))
    said = said_again(unheard, 10.0)
    assert {say for _, say in said} == {second}
    assert FOR - 0.2 < said[-1][0] < FOR
    assert len(said) < 20
    unheard.follow(SECOND.id, ANOTHER, 20.0)
    said = said_again(unheard, 30.0)
    assert {say for _, say in said} == {Say(ANOTHER, second.message)}, "whoever asks hears it"
    assert said[0][0] == 20.0
    unheard.receive(ANOTHER, heard_of(SECOND))
    assert len(unheard) == 0
    unheard.promise(GATEWAY, FIRST, 20.0)
    unheard.forget(FIRST.id)
    assert (len(unheard), said_again(unheard, 30.0)) == (0, [])


def test_another_gateway_hears_what_the_one_before_may_not_have_heard() -> None:
    unheard = Unheard()
    unheard.follow(FIRST.id, ANOTHER, 0.0)
    (first,) = unheard.promise(GATEWAY, FIRST, 0.0)
    unheard.follow(FIRST.id, ANOTHER, 0.0)
    assert unheard.handle_timeout(0.0) == [Say(ANOTHER, first.message)]
    unheard.receive(GATEWAY, heard_of(FIRST))
    assert len(unheard) == 1
    unheard.receive(ANOTHER, heard_of(FIRST))
    assert len(unheard) == 0

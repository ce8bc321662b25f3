"""Impairments as written on a command line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import LabError
from lab.impairment import Impairment, parse


def test_words_become_an_impairment() -> None:
    words = ["loss=5%", "delay_ms=20", "jitter_ms=2.5", "jitter_shape=normal", "blackhole=no", "mtu=1280", "seed=7"]
    assert parse(words) == Impairment(loss=0.05, delay_ms=20, jitter_ms=2.5, jitter_shape="normal", mtu=1280, seed=7)
    assert parse(["none"]) is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "key=value"),
        (["loss"], "key=value"),
        (["lose=1"], "delay_ms"),
        (["loss=much"], "no value for loss"),
        (["loss=101%"], "no probability"),
        (["loss=nan"], "no probability"),
        (["delay_ms=-1"], "milliseconds"),
        (["delay_ms=inf"], "milliseconds"),
        (["joint_slot_ms=0"], "microsecond"),
        (["rate_mbit=-3"], "no limit"),
        (["jitter_shape=square"], "uniform or normal"),
        (["blackhole=perhaps"], "no value for blackhole"),
        (["seed=-1"], "out of range"),
        (["mtu=67"], "68 to 65535"),
        (["mtu=-1"], "68 to 65535"),
        (["none", "loss=1%"], "key=value"),
    ],
)
def test_wrong_words_are_bad_input_with_a_remedy(words: list[str], told: str) -> None:
    with pytest.raises(LabError, match=told) as caught:
        parse(words)
    assert caught.value.bad_input


@given(st.lists(st.text(max_size=20), max_size=4))
def test_any_words_parse_or_are_refused(words: list[str]) -> None:
    bad_input = True
    try:
        parse(words)
    except LabError as error:
        bad_input = error.bad_input
    assert bad_input

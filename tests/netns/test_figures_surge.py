"""Applications with a target loss on real packets: trouble is met by more copies, and common loss is named.

The longer scenarios are ``python -m bench.surge``; these are their shorter forms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import surge

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.netns


def test_trouble_on_three_of_five_paths_brings_more_copies_within_half_a_second(
    figure: Callable[[str, object], None],
) -> None:
    """1,000 packets/s. The best of up to three: on a machine that does something else, all comes later. Half a second
    is what it is for; ``bench.surge`` measures it."""
    found: list[dict[str, float]] = []
    with surge.running(surge.document("surge-test")) as lab:
        while len(found) < 3 and min((each["surge_s"] for each in found), default=1.0) > 0.5:
            found.append(surge.trouble_on_three(lab, quiet=6.0, bad=2.0, back=not found))
    told = ", ".join(f"{each['surge_s']:.2f}" for each in found)
    figure("50 % loss on 3 of 5 paths, both used ones among them", f"data on a fourth path after {told} s")
    figure("after it, two copies again", f"{found[0]['back_s']:.1f} s after the end of trouble on all paths")
    assert min(each["surge_s"] for each in found) <= 2.5
    assert found[0]["paths"] == 5
    # Ten seconds of hold and one in which the old paths are still used; the rest is a busy machine's.
    assert 10.0 <= found[0]["back_s"] <= 25.0


def test_common_loss_is_never_met_and_is_named(figure: Callable[[str, object], None]) -> None:
    with surge.running(surge.document("surge-common-test", relays=2)) as lab:
        found = surge.common_loss(lab, seconds=15.0)
    figure(
        "1 % loss on both paths, 60 % of it common", f"NOT DIVERSE after {found['not_diverse_s']} s: {found['text']}"
    )
    assert found["not_diverse_s"] is not None
    assert found["met_s"] == 0

"""Durations by buckets, and what becomes of them on the metrics page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from braid.status.durations import BOUNDS_MS, Durations
from braid.status.metrics import exposition
from braid.status.transfers import TransferStatus, transfer_status
from tests.braid.test_status_metrics import gateway_status, registry


@pytest.mark.parametrize(
    ("milliseconds", "bucket"),
    [(0.0, "0.5"), (0.5, "0.5"), (0.51, "1"), (7.5, "7.5"), (8, "10"), (1000, "1000"), (1001, "inf"), (6e6, "inf")],
)
def test_the_bucket_is_the_first_whose_bound_is_not_exceeded(milliseconds: float, bucket: str) -> None:
    took = Durations()
    took.add(milliseconds / 1000)
    assert {name for name, count in took.counts().items() if count} == {bucket}
    assert took.seconds == milliseconds / 1000


def page(transfers: TransferStatus) -> list[str]:
    text = exposition(registry(lambda: replace(gateway_status(), transfers=transfers))).decode()
    return [line for line in text.splitlines() if line.startswith("braid_transfer_duration_seconds")]


def test_prometheus_gets_a_histogram_with_all_that_took_no_longer_in_each_bucket() -> None:
    took = Durations()
    for milliseconds in (0.4, 2.5, 2.75, 4000):
        took.add(milliseconds / 1000)
    shown = dict(line.rsplit(" ", 1) for line in page(transfer_status({"moved": 4}, open_=0, took=took)))
    bucket = 'braid_transfer_duration_seconds_bucket{le="%s"}'
    assert [shown[bucket % bound] for bound in ("0.0005", "0.002", "0.003", "1.0", "+Inf")] == [
        "1.0",
        "1.0",
        "3.0",
        "3.0",
        "4.0",
    ]
    assert shown["braid_transfer_duration_seconds_count"] == "4.0"
    assert float(shown["braid_transfer_duration_seconds_sum"]) == pytest.approx(4.00565)


def test_every_bucket_is_there_before_anything_was_moved() -> None:
    """A rate of what is absent at first lacks its first one."""
    lines = [line for line in page(TransferStatus()) if "_bucket" in line]
    assert len(lines) == len(BOUNDS_MS) + 1
    assert all(line.endswith(" 0.0") for line in lines)

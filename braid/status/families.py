"""Metric families from samples, so that no label set comes twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterable

Sample = tuple[tuple[str, ...], float]


def gauge(name: str, text: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> GaugeMetricFamily:
    """Of two samples with equal labels the last one stands."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in dict(samples).items():
        family.add_metric(values, value)
    return family


def counter(name: str, text: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> CounterMetricFamily:
    """Samples with equal labels are added up: a counter never has one label set twice."""
    family = CounterMetricFamily(name, text, labels=labels)
    sums: dict[tuple[str, ...], float] = {}
    for values, value in samples:
        sums[values] = sums.get(values, 0) + value
    for values, value in sums.items():
        family.add_metric(values, value)
    return family

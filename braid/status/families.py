"""Metric families from samples, so that no label set comes twice."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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


def histogram(
    name: str, text: str, labels: tuple[str, ...], counts: Iterable[Sample], sums: Mapping[tuple[str, ...], float]
) -> HistogramMetricFamily:
    """The last label of a count is the upper bound of its bucket, the highest one ``inf``; a bucket has what is in no
    smaller one."""
    family = HistogramMetricFamily(name, text, labels=labels)
    buckets: dict[tuple[str, ...], dict[float, float]] = {}
    for (*values, bound), count in counts:
        buckets.setdefault(tuple(values), {})[float(bound)] = count
    for own, found in buckets.items():
        bounds = sorted(found)
        below = accumulate(found[bound] for bound in bounds)
        names = ["+Inf" if bound == math.inf else str(bound) for bound in bounds]
        family.add_metric(own, list(zip(names, below, strict=True)), sums.get(own, 0))
    return family

"""Which target servers get new flows: results of checks in, healthy or not out. Pure.

A target counts as healthy until its first check, whose result is believed at once; after that it takes ``rise``
passes or ``fall`` failures in a row to change the verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from topology.model import CheckKind, HealthCheck, IPAddress

if TYPE_CHECKING:
    from topology.model import Application, Target

TargetKey = tuple[str, IPAddress]
"""Application name and address of a target."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    passed: bool
    detail: str
    """What was seen, for people: "connected", "HTTP 503", "timeout"."""


@dataclass(frozen=True, slots=True)
class Health:
    healthy: bool = True
    checked: bool = False
    streak: int = 0
    """Results in a row that contradict ``healthy``."""
    detail: str = ""


def judge(health: Health, result: CheckResult, check: HealthCheck) -> Health:
    if not health.checked:
        return Health(result.passed, True, 0, result.detail)
    if result.passed == health.healthy:
        return Health(health.healthy, True, 0, result.detail)
    streak = health.streak + 1
    needed = check.rise if result.passed else check.fall
    if streak >= needed:
        return Health(result.passed, True, 0, result.detail)
    return Health(health.healthy, True, streak, result.detail)


@dataclass(frozen=True, slots=True)
class Probe:
    """One target to be checked, and how."""

    key: TargetKey
    port: int
    check: HealthCheck


def probes(applications: tuple[Application, ...]) -> tuple[Probe, ...]:
    """The checks a gateway does for its applications; none for those whose check is "none"."""
    return tuple(
        Probe((application.name, target.address), _port(application, target), application.check)
        for application in applications
        if application.check.kind is not CheckKind.NONE
        for target in application.targets
    )


def _port(application: Application, target: Target) -> int:
    return application.check.port or target.port or 80


class TargetTable:
    """Health of all targets of one gateway; what is not checked is healthy."""

    def __init__(self) -> None:
        self._health: dict[TargetKey, Health] = {}

    def keep(self, keys: frozenset[TargetKey]) -> None:
        """Forget targets that are no longer checked."""
        self._health = {key: health for key, health in self._health.items() if key in keys}

    def receive(self, probe: Probe, result: CheckResult) -> bool:
        """Take in one result; True when the verdict on the target changed."""
        before = self.of(probe.key)
        self._health[probe.key] = after = judge(before, result, probe.check)
        return before.healthy != after.healthy

    def of(self, key: TargetKey) -> Health:
        return self._health.get(key, Health())

    def healthy(self, key: TargetKey) -> bool:
        return self.of(key).healthy

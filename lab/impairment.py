"""What one direction of a link may do to frames, and how it is written on a command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Impairment:
    """One direction of a link; the default is a perfect one. The same values and seed give the same decisions."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """Half the width of a uniform distribution, or the standard deviation of a normal one; never below no delay."""
    jitter_shape: Literal["uniform", "normal"] = "uniform"
    loss: float = 0.0
    """Probability that a frame is lost, independent of all others."""
    burst_enter: float = 0.0
    """Gilbert-Elliott p: probability per frame to go from the good to the bad state."""
    burst_leave: float = 1.0
    """Gilbert-Elliott r: probability per frame to go back; the mean length of a burst is 1/r frames."""
    burst_loss_good: float = 0.0
    burst_loss_bad: float = 1.0
    joint_seed: int = 0
    """Links with the same ``joint_seed``, ``joint_loss`` and ``joint_slot_ms`` share a risk and lose together."""
    joint_loss: float = 0.0
    """Probability that a time slot is lost: every frame that arrives in it, on every link that shares the risk."""
    joint_slot_ms: float = 10.0
    rate_mbit: float = 0.0
    """Megabits per second of whole Ethernet frames; 0 is no limit."""
    queue_ms: float = 50.0
    """The longest wait in the queue of the rate limit; what would wait longer is lost."""
    reorder: float = 0.0
    """Probability that a frame is held back by ``reorder_ms`` and others overtake it."""
    reorder_ms: float = 5.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    """Probability that one random bit after the Ethernet header is flipped; checksums are completed before."""
    blackhole: bool = False
    mtu: int = 0
    """Longer IP packets are lost, and no ICMP tells of it; 0 is no limit."""
    seed: int = 1

    def __post_init__(self) -> None:
        for name in _PROBABILITIES:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise LabError(
                    f"{name}={getattr(self, name)} is no probability", "give a number from 0 to 1", bad_input=True
                )
        for name in _DURATIONS:
            if not 0.0 <= getattr(self, name) <= 60_000.0:
                raise LabError(
                    f"{name}={getattr(self, name)} is out of range", "give 0 to 60000 milliseconds", bad_input=True
                )
        if self.joint_slot_ms < 0.001:
            raise LabError("joint_slot_ms is below a microsecond", "give 0.001 or more", bad_input=True)
        if not 0.0 <= self.rate_mbit <= 1_000_000.0:
            raise LabError(
                f"rate_mbit={self.rate_mbit} is out of range", "give 0 (no limit) to 1000000", bad_input=True
            )
        if self.mtu and not 68 <= self.mtu <= 65535:
            raise LabError(f"mtu={self.mtu} is out of range", "give 68 to 65535 bytes, or 0 (no limit)", bad_input=True)
        if self.jitter_shape not in ("uniform", "normal"):
            raise LabError(f"jitter_shape={self.jitter_shape!r}", "give uniform or normal", bad_input=True)
        for name in ("seed", "joint_seed"):
            if not 0 <= getattr(self, name) < 1 << 64:
                raise LabError(
                    f"{name}={getattr(self, name)} is out of range", "give 0 to 18446744073709551615", bad_input=True
                )


_PROBABILITIES = (
    "loss",
    "burst_enter",
    "burst_leave",
    "burst_loss_good",
    "burst_loss_bad",
    "joint_loss",
    "reorder",
    "duplicate",
    "corrupt",
)
_DURATIONS = ("delay_ms", "jitter_ms", "joint_slot_ms", "queue_ms", "reorder_ms")


def parse(words: Sequence[str]) -> Impairment | None:
    """``key=value`` words as on the command line, percentages allowed; ``none`` alone clears. LabError (bad input)."""
    if list(words) == ["none"]:
        return None
    known = {f.name: f.type for f in fields(Impairment)}
    values: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if key not in known or not equals:
            raise LabError(
                f"{word!r} is no impairment",
                f"write key=value with a key of {', '.join(known)}; or none",
                bad_input=True,
            )
        try:
            values[key] = _value(str(known[key]), text)
        except ValueError:
            raise LabError(
                f"{word!r}: {text!r} is no value for {key}", f"{key} is a {known[key]}", bad_input=True
            ) from None
    if not values:
        raise LabError(
            "no impairment given", "write key=value words, such as loss=5% delay_ms=20, or none", bad_input=True
        )
    return Impairment(**values)


def _value(kind: str, text: str) -> float | int | bool | str:
    if kind == "float":
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    if kind == "int":
        return int(text)
    if kind == "bool":
        if text not in _WORDS_FOR_BOOL:
            raise ValueError(text)
        return _WORDS_FOR_BOOL[text]
    return text


_WORDS_FOR_BOOL = {
    "yes": True,
    "true": True,
    "on": True,
    "1": True,
    "no": False,
    "false": False,
    "off": False,
    "0": False,
}


def as_dict(impairment: Impairment) -> dict[str, Any]:
    """The wire form: what the emulator reads and answers with."""
    return asdict(impairment)

"""Reads the golden vectors: blocks of `name = hexadecimal` lines, one case each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DIRECTORY = Path(__file__).parent.parent / "vectors"


@dataclass(frozen=True)
class Case:
    comment: str
    fields: dict[str, str]

    def __str__(self) -> str:
        return self.comment

    def __getitem__(self, name: str) -> bytes:
        return bytes.fromhex(self.fields[name])

    def number(self, name: str) -> int:
        return int.from_bytes(self[name], "big")


def cases(file: str, case: str) -> list[Case]:
    """The blocks of this case; there must be some."""
    found = []
    for block in (DIRECTORY / file).read_text().split("\n\n"):
        lines = [line for line in block.splitlines() if line]
        comment = " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))
        pairs = [line.split(" =", 1) for line in lines if not line.startswith("#")]
        fields = {name: value.strip() for name, value in pairs}
        if fields.get("case") == case:
            found.append(Case(comment, fields))
    assert found, f"{file} has no {case}"
    return found

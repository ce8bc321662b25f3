"""``dig`` as a client: one question, its printed answer taken apart."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

DIG = shutil.which("dig")


@dataclass(frozen=True)
class Row:
    """What to ask, as arguments of dig, and what must come back. The name is that of the table of behaviours."""

    name: str
    arguments: str
    status: str = "NOERROR"
    flags: str = "qr aa"
    """Exactly these, in dig's order."""
    answer: tuple[str, ...] = ()
    """A word per record that it must contain, in any order; no others."""
    authority: tuple[str, ...] = ()
    opt: str | None = ""
    """None: no OPT record. Else a part of its printed form."""
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    size: int = 1232
    only: str = ""
    """"udp" or "tcp" where the row is about one of them."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Printed:
    text: str
    status: str
    opcode: str
    flags: str
    answer: tuple[str, ...]
    authority: tuple[str, ...]
    opt: str | None
    size: int


def dig(server: str, port: int, arguments: str) -> Printed:
    assert DIG is not None
    command = [DIG, f"@{server}", "-p", str(port), "+tries=1", "+time=10", "+qr", *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    text = done.stdout
    # With +qr the question comes first, and answers without a question section look like it.
    received = re.split(r"^;; Got answer:$", text, flags=re.MULTILINE)[-1] if ";; Got answer:" in text else ""
    head = re.search(r"opcode: (\w+), status: (\w+), id: .*\n;; flags: ?([a-z ]*);", received)
    assert head is not None, text + done.stderr
    opt = re.search(r"OPT PSEUDOSECTION:\n(.*?)(?=^;; |^$|\Z)", received, re.DOTALL | re.MULTILINE)
    size = re.search(r"MSG SIZE  rcvd: (\d+)", received)
    assert size is not None, text
    return Printed(
        received, head[2], head[1], head[3].strip(), _section(received, "ANSWER"), _section(received, "AUTHORITY"),
        opt[1] if opt else None, int(size[1]),
    )  # fmt: skip


def check(row: Row, got: Printed) -> None:
    assert (got.status, got.flags) == (row.status, row.flags), got.text
    for words, lines in ((row.answer, got.answer), (row.authority, got.authority)):
        assert len(words) == len(lines), got.text
        for word in words:
            assert any(word in line for line in lines), (word, got.text)
    if row.opt is None:
        assert got.opt is None, got.text
    else:
        assert got.opt is not None, got.text
        assert "version: 0" in got.opt
        assert "udp: 1232" in got.opt
        assert row.opt in got.opt, got.text
    for word in row.has:
        assert word in got.text, (word, got.text)
    for word in (*row.lacks, "MBZ", "malformed"):
        assert word not in got.text, (word, got.text)
    assert got.size <= row.size


def _section(text: str, name: str) -> tuple[str, ...]:
    found = re.search(rf"^;; {name} SECTION:\n(.*?)^$", text, re.DOTALL | re.MULTILINE)
    return tuple(found[1].splitlines()) if found else ()

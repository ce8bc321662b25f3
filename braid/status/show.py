"""Tables and JSON on the terminal, once or again and again."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Literal

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as RichTable
from rich.text import Text

from braid.status.path_table import changes_table, paths_table, services_table
from braid.status.redundancy import redundancy_table
from braid.status.table import Table, flows_table, node_tables, nodes_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid.status.ask import Answers

STYLES = {"good": "green", "warn": "yellow", "bad": "bold red", "dim": "dim", "": ""}
WIDTH_OF_A_PIPE = 200
FOLDED_AT = 16
"""Characters that a column keeps on a narrow terminal, if it has as many."""


def tables_of(what: str, answers: Answers) -> list[Table]:
    """``what`` is status, paths or flows. One node alone is shown in detail."""
    if what == "paths":
        more = (services_table(answers.documents), *_redundancy(answers), changes_table(answers.documents))
        return [paths_table(answers.documents), *(table for table in more if table.rows)]
    if what == "flows":
        return [flows_table(answers.documents)]
    tables = [nodes_table(answers.documents, answers.unreachable)]
    if len(answers.documents) == 1 and not answers.unreachable:
        (document,) = answers.documents.values()
        tables += [*node_tables(document), paths_table(answers.documents)]
    return tables


def _redundancy(answers: Answers) -> tuple[Table, ...]:
    """Nothing where no application has a target loss."""
    table = redundancy_table(answers.documents)
    return (table,) if table.rows else ()


def show(what: str, gather: Callable[[], Answers], *, as_json: bool, watch: float | None) -> bool:
    """Print what ``gather`` brings, every ``watch`` seconds until Ctrl-C. False when no node answered at last."""
    answers = gather()
    if as_json:
        print_json(answers, lines=watch is not None)
    if watch is None:
        if not as_json:
            console = _console()
            console.print(_rendered(what, answers))
            _report_missing(what, answers)
        return bool(answers.documents)
    try:
        if as_json:
            while True:
                time.sleep(watch)
                answers = gather()
                print_json(answers, lines=True)
        with Live(_rendered(what, answers), console=_console(), screen=sys.stdout.isatty(), auto_refresh=False) as live:
            while True:
                time.sleep(watch)
                answers = gather()
                live.update(_rendered(what, answers), refresh=True)
    except KeyboardInterrupt:
        return bool(answers.documents)


def print_json(answers: Answers, *, lines: bool) -> None:
    """``lines``: one document per line, for programs that read along."""
    print(json.dumps(answers.as_json(), indent=None if lines else 2), flush=True)


def printable(text: str) -> str:
    """Without control characters: what a node says must not drive the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_PIPE, highlight=False)


def _rendered(what: str, answers: Answers) -> Group:
    parts: list[RichTable | Text] = []
    for table in tables_of(what, answers):
        parts += [Text(), _rich(table)] if parts else [_rich(table)]
    return Group(*parts)


def _rich(table: Table) -> RichTable | Text:
    if not table.rows:
        return Text(f"{table.title}: none")
    made = RichTable(title=table.title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(table.columns):
        longest = max(len(row[index].text) for row in table.rows)
        justify: Literal["left", "right"] = "right" if column in table.numeric else "left"
        made.add_column(
            column, justify=justify, overflow="fold", no_wrap=column in table.whole, min_width=min(longest, FOLDED_AT)
        )
    for row in table.rows:
        made.add_row(*(Text(printable(cell.text), STYLES[cell.style]) for cell in row))
    return made


def _report_missing(what: str, answers: Answers) -> None:
    if what != "status":
        for name, why in answers.unreachable.items():
            print(f"{name}: unreachable: {why}", file=sys.stderr)

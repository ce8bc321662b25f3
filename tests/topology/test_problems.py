"""Every kind of mistake in a topology file: one problem, at the right line and key, with a remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.topology.base import TEXT, changed
from tests.topology.mistakes import MEANING, SHAPE, TARGETS, TEXTS, Case
from tests.topology.proxy_mistakes import PROXIES
from topology.check import TopologyError
from topology.source import load, parse

if TYPE_CHECKING:
    from pathlib import Path


def problems(text: str | bytes) -> list[tuple[int | None, str, str, str]]:
    with pytest.raises(TopologyError) as caught:
        parse(text, "t.yaml")
    for problem in caught.value.problems:
        assert problem.file == "t.yaml"
        assert problem.remedy
        assert str(problem).startswith(f"t.yaml:{problem.line}: ")
        assert "\n" not in str(problem)
    return [(problem.line, problem.key, problem.message, problem.remedy) for problem in caught.value.problems]


def test_the_base_is_right() -> None:
    assert parse(TEXT, "t.yaml").name == "small"


@pytest.mark.parametrize("case", SHAPE + MEANING + PROXIES, ids=lambda case: case.kind)
def test_one_mistake_gives_one_problem(case: Case) -> None:
    text = changed(*case.changes)
    [(line, key, message, remedy)] = problems(text)
    assert key == case.key
    assert case.says in message
    assert case.remedy in remedy
    last = [part for part in key.replace("]", "").replace("[", ".").split(".") if not part.isdigit()][-1]
    written = text.splitlines()[(line or 0) - 1]
    assert last in written or message == "missing" or key.startswith("links")


@pytest.mark.parametrize(("address", "says"), TARGETS)
def test_targets_that_clients_must_not_reach(address: str, says: str) -> None:
    [(line, key, message, remedy)] = problems(changed(("10.2.0.10}]", f'"{address}"}}, {{address: 10.2.0.10}}]')))
    assert (line, key) == (25, "applications.shop.targets[0]")
    assert says in message
    assert "own" in remedy or "is reached" in remedy


@pytest.mark.parametrize(("text", "line", "key", "says", "remedy"), [t[1:] for t in TEXTS], ids=[t[0] for t in TEXTS])
def test_texts_that_are_refused(text: str, line: int, key: str, says: str, remedy: str) -> None:
    [(at, where, message, todo)] = problems(text)
    assert (at, where) == (line, key)
    assert says in message
    assert remedy in todo


def test_not_utf8() -> None:
    assert problems(b"name: \xff") == [(1, "", "byte 6 is not UTF-8", "save the file as UTF-8")]


@pytest.mark.parametrize("text", [" " * (4 * 1024 * 1024 + 1), b" " * (4 * 1024 * 1024 + 1)])
def test_too_large(text: str | bytes) -> None:
    [(_, _, message, _)] = problems(text)
    assert message == "the file is larger than 4 MiB"


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match=r"nothing\.yaml: cannot be read: No such file"):
        load(tmp_path / "nothing.yaml")


def test_many_mistakes_are_reported_in_one_run_in_the_order_of_the_file() -> None:
    text = changed(
        ("region: n,", "region: q,"),
        ("g-1: {region: g,", "g-1: {region: g, port: 0,"),
        ("shop.apps.example", "shop.example"),
        ("kind: client", "kind: x"),
    )
    assert [key for _, key, _, _ in problems(text)] == [
        "nodes.n-1.region",
        "nodes.g-1.port",
        "applications.shop.hostnames[0]",
        "lab.hosts.alice.kind",
    ]


def test_a_broken_entry_is_not_reported_again_by_those_that_refer_to_it() -> None:
    text = changed(("  m: {role: intermediate}", "  m: {role: intermediate, foo: 1}"))
    assert [key for _, key, _, _ in problems(text)] == ["regions.m.foo"]


def test_there_are_many_kinds() -> None:
    kinds = [case.kind for case in SHAPE + MEANING + PROXIES] + [text[0] for text in TEXTS]
    assert len(set(kinds)) == len(kinds) >= 25

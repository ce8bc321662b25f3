from __future__ import annotations

import re
from pathlib import Path

import pytest

from topology import schema, values
from topology.source import load, parse

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "topology.md").read_text()
SHAPES = [shape for shape in vars(schema).values() if isinstance(shape, type) and issubclass(shape, schema.Shape)]
KEYS = sorted({key for shape in SHAPES for key in shape.model_fields})


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_described(key: str) -> None:
    assert re.search(rf"^\| [^|]*`([a-zA-Z.]+\.)?{key}[`.]", TEXT, re.MULTILINE)


def test_the_first_example_is_the_minimal_file() -> None:
    example = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert example is not None
    assert parse(example[1], "docs") == load(ROOT / "topology" / "examples" / "minimal.yaml")


def test_limits_and_defaults_are_those_of_the_schema() -> None:
    for value in (values.UDP_PORT, values.STATUS_PORT, values.MIN_MTU):
        assert str(value) in TEXT

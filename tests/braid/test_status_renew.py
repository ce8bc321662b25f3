"""Copies are those that ``dataclasses.replace`` makes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from braid.status.renew import renewed
from tests.braid.fake_node import edge_status


def test_it_copies_as_replace_does() -> None:
    status = edge_status()
    for value, changes in (
        (status, {"ready": False, "paths": ()}),
        (status.neighbours[0], {"since": 3.0, "trouble": "loses"}),
        (status.paths[0], {}),
    ):
        assert renewed(value, **changes) == replace(value, **changes)


def test_an_unknown_field_is_an_error() -> None:
    with pytest.raises(KeyError):
        renewed(edge_status(), colour="red")

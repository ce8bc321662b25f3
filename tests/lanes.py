"""Two runs of pytest that were given the same files share them: each file is run by the one that comes to it first.

``tools/namespaces.py`` loads this into both (``-p tests.lanes``), and gives them the files in opposite orders, so that
they meet somewhere and end at nearly the same time, whatever each file takes.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

CLAIMS = "BRAID_LANES"
"""Environment: a directory, empty at the beginning, in which a file is made for each that one of them has begun."""


def claimer(directory: Path) -> Callable[[Path], bool]:
    """Whether a file is the caller's to run; asked again, it says the same."""

    @cache
    def claim(file: Path) -> bool:
        try:
            (directory / file.name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    return claim


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Lane(claimer(Path(os.environ[CLAIMS]))))


class _Lane:
    def __init__(self, claim: Callable[[Path], bool]) -> None:
        self._claim = claim

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """True: nothing is left to do for it here."""
        return None if self._claim(item.path) else True

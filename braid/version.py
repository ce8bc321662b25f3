"""Which Braid this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


def version() -> str:
    """The installed package's version; "source" when run from a tree that was never installed."""
    try:
        return installed("braid")
    except PackageNotFoundError:
        return "source"

"""Authorities that certificates of others are checked with, from a file or the system."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class AuthoritiesError(Exception):
    """The file cannot be used; the message says why, and what to do."""


def trusting(directory: Path, file: str) -> ssl.SSLContext:
    """For connections to servers; ``file`` is relative to the directory, and nothing for those of the system."""
    try:
        return ssl.create_default_context(cafile=str(directory / file) if file else None)
    except OSError as error:
        # ssl.SSLError is one too: then there is a file.
        absent = not isinstance(error, ssl.SSLError)
        what = (error.strerror or str(error)).lower() if absent else "no certificate in PEM"
        raise AuthoritiesError(f"{file}: {what}; put the authorities' certificates there for this node") from None

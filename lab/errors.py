"""The lab's one way to fail."""

from __future__ import annotations


class LabError(Exception):
    """What could not be done and what the user can do about it.

    ``bad_input`` tells a wrong request (exit code 2) from a machine that refused (exit code 1).
    """

    def __init__(self, message: str, remedy: str = "", *, bad_input: bool = False) -> None:
        super().__init__(f"{message} ({remedy})" if remedy else message)
        self.bad_input = bad_input

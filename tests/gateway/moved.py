"""What content proxies have of a gateway, for tests of its drain."""

from __future__ import annotations


class Moved:
    """``left``: how many answers of the sibling are to come, one by one. Remembers what it was told to do."""

    def __init__(self, left: int = 0) -> None:
        self.left = left
        self.done: list[str] = []

    def entrust(self, to: str) -> int:
        self.done.append(f"entrust {to}")
        self.left = max(0, self.left - 1)
        return self.left

    def reclaim(self) -> None:
        self.done.append("reclaim")

    def let_be(self) -> None:
        self.done.append("let_be")

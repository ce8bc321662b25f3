"""How long the core knows that a connection is elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from gateway.transfer.owners import Owners
from tests.gateway.transfer_world import CLIENT, VIP


@dataclass
class Node:
    """``owner``: of the one connection there is."""

    owner: str = ""
    told: list[str] = field(default_factory=list)

    def set_owner(self, client: object, vip: object, owner: str, wait: bool = True) -> bool:
        assert (client, vip, wait) == (CLIENT, VIP, False)
        self.owner = owner
        self.told.append(owner)
        return True


def moving(number: int) -> Any:
    return SimpleNamespace(id=bytes([number]) * 16, client=CLIENT, vip=VIP, dissolve=lambda: None)


def test_it_knows_as_long_as_the_transfer_is_known() -> None:
    owners, node, one = Owners(), Node(), moving(1)
    told = cast("Any", node)
    owners.held(one)
    owners.set(told, one, "away", wait=False)
    owners.forget(told, one)
    assert node.told == ["away", ""]
    owners.forget(told, one)
    assert node.told == ["away", ""]


def test_what_is_refused_or_comes_back_is_this_gateways_at_once_and_stays_so() -> None:
    owners, node, one = Owners(), Node(), moving(1)
    told = cast("Any", node)
    for words in (["", "forgotten"], ["away", "held", "", "forgotten"]):
        node.told.clear()
        owners.held(one)
        for word in words:
            if word == "forgotten":
                owners.forget(told, one)
            else:
                owners.set(told, one, word, wait=False)
        assert node.told == words[:-1]


def test_the_end_of_a_transfer_is_none_of_the_next_connection_of_the_same_ends() -> None:
    owners, node, one, other = Owners(), Node(), moving(1), moving(2)
    told = cast("Any", node)
    owners.held(one)
    owners.set(told, one, "away", wait=False)
    owners.held(other)
    node.owner = "held"
    owners.forget(told, one)
    assert node.owner == "held"
    owners.set(told, other, "away", wait=False)
    owners.forget(told, one)
    assert node.owner == "away"
    owners.forget(told, other)
    assert node.owner == ""

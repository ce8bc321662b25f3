"""What a worker says is done, and what none says is refused."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from typing import Any

import pytest

from braid.errors import BadPacket
from braid.status.content import ContentStatus
from braid.status.transfers import TransferStatus
from content.carry import Answering, Source
from content.clerk import Clerk
from content.keeper import Keeper
from content.line import OWNERS
from content.words import Own, Ready, Shown, Told, Word
from tests.content.web import handle

CLIENT, VIP = "192.0.2.1:1000", "[2001:db8::1]:80"


class Node:
    """Notes what it is told to do."""

    def __init__(self) -> None:
        self.did: list[tuple[Any, ...]] = []
        never: Any = None
        self.handle = replace(
            handle(lambda: never),
            set_owner=lambda client, vip, owner, wait=True: bool(
                self.did.append((str(client), str(vip), owner)) or True
            ),
        )


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def clerk(node: Node) -> Clerk:
    return Clerk(node.handle, Keeper())


def own(owner: str) -> Own:
    return Own(CLIENT, VIP, owner)


def shown(content: object = None, **other: object) -> Shown:
    words = {"content": content, "transfers": None, "flows": [], "problems": {}} | other
    return Shown(json.dumps(words).encode())


def test_orders_are_passed_on(clerk: Clerk, node: Node) -> None:
    assert all(clerk.own(own(owner)) for owner in OWNERS)
    assert node.did == [(CLIENT, VIP, owner) for owner in OWNERS]


@pytest.mark.parametrize(
    "word",
    [
        Ready(), own("held"), Shown(b"{"), Shown(b"[]"),
        shown(content={"answers": 1}), shown(content=asdict(ContentStatus()) | {"bytes": "1"}), shown(flows=[{}]),
        shown(problems={"a": 1}), Told(1, Answering(source=Source.FILE)),
    ],
    ids=repr,
)  # fmt: skip
def test_what_no_worker_says_is_refused(clerk: Clerk, node: Node, word: Word) -> None:
    with pytest.raises(BadPacket):
        clerk.do(word, [])
    assert node.did == []


@pytest.mark.parametrize("word", [own("elsewhere"), Own("nowhere", VIP, "held"), Own(CLIENT, "", "held")], ids=repr)
def test_owners_that_are_none_are_refused(clerk: Clerk, node: Node, word: Own) -> None:
    with pytest.raises(BadPacket):
        clerk.own(word)
    assert node.did == []


def test_descriptors_that_do_not_belong_to_a_word_are_closed(clerk: Clerk) -> None:
    descriptor = os.open("/dev/null", os.O_RDONLY)
    with pytest.raises(BadPacket):
        clerk.do(Shown(b"{}"), [descriptor])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_counts_of_workers_add_up(clerk: Clerk) -> None:
    status = ContentStatus(answers=5, requests={"hit": 3}, client_bytes=10, events={"stored": 1})
    moved = TransferStatus(moved=2, seconds=0.5, durations={"0.5": 1, "inf": 1})
    for _ in range(2):
        clerk.do(shown(asdict(status), transfers=asdict(moved)), [])
        clerk.bury()
    clerk.do(shown(asdict(status), transfers=asdict(moved)), [])
    assert clerk.content == replace(status, requests={"hit": 9}, client_bytes=30, events={"stored": 3})
    assert clerk.transfers == TransferStatus(moved=6, seconds=1.5, durations={"0.5": 3, "inf": 3})
    assert clerk.counts["worker_deaths"] == 2

"""Carries out, in the node's process, what a worker says; and remembers what the workers before have counted."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any

from braid.errors import BadPacket
from braid.status.content import ContentStatus
from braid.status.flow import FlowStatus
from braid.status.transfers import TransferStatus
from content.carry import Source
from content.line import OWNERS
from content.totals import content_total, read_status, transfers_total
from content.words import Ended, Keep, Know, Own, Settled, Shown, Told
from topology.values import socket_address

if TYPE_CHECKING:
    from braid.role import NodeHandle
    from content.keeper import Keeper
    from content.words import Word

MOST_FLOWS = 1000


class Clerk:
    """Of one node, for its workers one after the other."""

    def __init__(self, node: NodeHandle, keeper: Keeper) -> None:
        self.content: ContentStatus | None = None
        """Of all workers together; None until one has shown anything."""
        self.transfers: TransferStatus | None = None
        self.flows: list[FlowStatus] = []
        self.problems: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self._node = node
        self._keeper = keeper
        self._content, self._transfers = ContentStatus(), TransferStatus()
        """Of those that are no more."""

    def do(self, word: Word, descriptors: list[int]) -> None:
        """The descriptors are closed, or kept. BadPacket for what no worker says."""
        with_file = isinstance(word, Told) and word.answering.source is Source.FILE
        if len(descriptors) != (isinstance(word, Keep) or with_file):
            _close(descriptors)
            raise BadPacket("word_descriptors")
        match word:
            case Keep():
                self._keeper.transferred(word, socket.socket(fileno=descriptors[0]))
            case Know(id_, data):
                self._keeper.know(id_, data)
            case Told(id_, answering):
                self._keeper.told(id_, answering, descriptors[0] if descriptors else -1)
            case Settled(id_):
                self._keeper.settled(id_)
            case Ended(id_):
                self._keeper.ended(id_)
            case Shown(data):
                self._shown(data)
            case _:
                raise BadPacket("word_kind")

    def own(self, own: Own) -> bool:
        if own.owner not in OWNERS:
            raise BadPacket("own_owner")
        try:
            client, vip = socket_address(own.client, 0), socket_address(own.vip, 0)
        except ValueError:
            raise BadPacket("own_address") from None
        return self._node.set_owner(client, vip, own.owner)

    def bury(self) -> None:
        """The worker is dead: what it had counted stays, what only it knew of its connections goes."""
        self.counts["worker_deaths"] += 1
        if self.content is not None:
            self._content = self.content
        if self.transfers is not None:
            self._transfers = self.transfers
        self.flows = []
        for kept in self._keeper.carry_on():
            self.own(Own(kept.client, kept.vip, "away"))

    def close(self) -> None:
        """This node ends, and so do all connections; packets that come for those that others may go on with get no
        answer of the kernel's."""
        for kept in self._keeper.left:
            self.own(Own(kept.client, kept.vip, "held"))
        self._keeper.close()

    def _shown(self, data: bytes) -> None:
        try:
            shown = json.loads(data)
            content, transfers = shown["content"], shown["transfers"]
            flows, problems = shown["flows"], shown["problems"]
        except (ValueError, RecursionError, TypeError, KeyError):
            raise BadPacket("shown") from None
        if not isinstance(flows, list) or len(flows) > MOST_FLOWS or not _is_words(problems):
            raise BadPacket("shown")
        if content is not None:
            self.content = content_total(self._content, read_status(ContentStatus, content))
        if transfers is not None:
            self.transfers = transfers_total(self._transfers, read_status(TransferStatus, transfers))
        self.flows = [read_status(FlowStatus, flow) for flow in flows]
        self.problems = problems


def _is_words(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(word, str) for word in value.values())


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)

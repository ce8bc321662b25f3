"""Questions about the server itself: class CH, TXT (RFC 4892), and NSID (RFC 5001)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dns.records import TO_QUESTION, pack_chaos, wire_name
from dns.zone import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dns.config import DnsConfig

CLASS_CH = 3


def chaos_replies(config: DnsConfig) -> Mapping[bytes, Reply]:
    """Name -> answer to TXT; what is not there is refused."""
    texts: dict[str, str] = {}
    if config.settings.version:
        texts |= dict.fromkeys(("version.bind", "version.server"), config.settings.version)
    if config.settings.identity:
        texts |= dict.fromkeys(("id.server", "hostname.bind"), config.node)
    return {wire_name(name): Reply(TO_QUESTION + pack_chaos(text), 1) for name, text in texts.items()}


def nsid(config: DnsConfig) -> bytes | None:
    return config.node.encode() if config.settings.identity else None

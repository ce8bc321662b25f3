"""What the kernel gives a node: its offloads and its sockets' buffers, and why not more. Pure."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SWITCHES = {
    "udp_gso": "--no-udp-gso",
    "udp_gro": "--no-udp-gro",
    "tun_tso": "--no-tun-offload",
    "tun_uso": "--no-tun-offload",
    "tun_tcp_writes": "--no-tun-offload",
    "tun_udp_writes": "--no-tun-offload",
}


@dataclass(frozen=True, slots=True)
class OffloadStatus:
    udp_gso: bool = False
    udp_gro: bool = False
    tun_tso: bool = False
    tun_uso: bool = False
    fallbacks: int = 0


@dataclass(frozen=True, slots=True)
class OffloadState:
    """One offload that the node could use."""

    name: str
    wanted: bool
    probe: str
    """At the start: "works", "refused", "untried" (used until it is refused) or "off"."""
    in_use: bool
    detail: str = ""
    """Why it is not in use, or why it could not be tried."""


@dataclass(frozen=True, slots=True)
class GsoRefusal:
    """A destination that is sent single datagrams to for a while, because its path refused a batch."""

    address: str
    detail: str


@dataclass(frozen=True, slots=True)
class SocketStatus:
    """Sizes in bytes, as asked for and as given (without the kernel's doubling)."""

    address: str
    receive_buffer: int
    receive_buffer_wanted: int
    send_buffer: int
    send_buffer_wanted: int
    detail: str = ""
    """The kernel settings that keep a buffer small."""


@dataclass(frozen=True, slots=True)
class KernelStatus:
    offloads: tuple[OffloadState, ...] = ()
    without_gso: tuple[GsoRefusal, ...] = ()
    sockets: tuple[SocketStatus, ...] = ()


def kernel_status(core: Mapping[str, Any]) -> KernelStatus:
    """``core`` is the decoded ``Core.snapshot``; what it lacks is left out."""
    return KernelStatus(
        offloads=tuple(_offload(entry) for entry in core.get("offloads", ())),
        without_gso=tuple(
            GsoRefusal(entry["address"], os.strerror(entry["errno"])) for entry in core.get("gso_refusals", ())
        ),
        sockets=tuple(_socket(entry) for entry in core.get("sockets", ())),
    )


def _offload(entry: Mapping[str, Any]) -> OffloadState:
    name, probe, errno = entry["name"], entry["probe"], entry["errno"]
    match probe:
        case "off":
            detail = f"switched off by {SWITCHES.get(name, 'an option')}"
        case "refused":
            detail = f"refused at the start: {os.strerror(errno)}"
        case "untried" if entry["in_use"]:
            detail = f"could not be tried at the start: {os.strerror(errno)}"
        case _ if not entry["in_use"]:
            detail = f"refused while in use: {os.strerror(errno)}"
        case _:
            detail = ""
    return OffloadState(name, entry["wanted"], probe, entry["in_use"], detail)


def _socket(entry: Mapping[str, Any]) -> SocketStatus:
    receive, send = entry["receive_buffer"], entry["send_buffer"]
    capped = [
        f"{setting} caps it, and the process has no NET_ADMIN: set it to {buffer['wanted']} or more"
        for setting, buffer in (("net.core.rmem_max", receive), ("net.core.wmem_max", send))
        if buffer["got"] < buffer["wanted"]
    ]
    return SocketStatus(
        address=entry["address"],
        receive_buffer=receive["got"],
        receive_buffer_wanted=receive["wanted"],
        send_buffer=send["got"],
        send_buffer_wanted=send["wanted"],
        detail="; ".join(capped),
    )

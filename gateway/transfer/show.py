"""Transfers of a gateway as its status endpoint shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.status.flow import FlowStatus
from braid.status.transfers import TransferStatus, transfer_status
from gateway.transfer.state import OVER

if TYPE_CHECKING:
    from gateway.transfer.service import TransferService


def flows(service: TransferService, limit: int, now: float) -> list[FlowStatus]:
    """Connections that content proxies have, or are asked for; the newest first."""
    found: list[FlowStatus] = []
    for moving in reversed(service.moving.values()):
        state = service.agent.state(moving.id)
        if state in OVER or state is None:
            continue
        if len(found) >= limit:
            break
        found.append(
            FlowStatus(
                application=moving.application,
                protocol="tcp",
                client=str(moving.client),
                vip=str(moving.vip),
                snat="",
                target=moving.proxy,
                edge=moving.edge,
                state=state.value,
                idle_s=max(0.0, now - moving.began),
                packets_in=0,
                packets_out=0,
                bytes_in=moving.bytes_in,
                bytes_out=moving.bytes_out,
                mode="transferred",
                why=moving.content,
                records={"offered": moving.offered, "steps": [list(step) for step in moving.steps()]},
            )
        )
    return found


def status(service: TransferService) -> TransferStatus:
    open_ = sum(service.agent.state(id_) not in OVER for id_ in service.moving)
    return transfer_status(service.agent.counts, open_=open_, took=service.took)

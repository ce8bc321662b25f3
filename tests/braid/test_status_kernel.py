from __future__ import annotations

from typing import Any

import pytest

from braid.status.kernel import GsoRefusal, KernelStatus, kernel_status


def offload(probe: str, errno: int, *, in_use: bool) -> dict[str, Any]:
    return {"name": "tun_uso", "wanted": probe != "off", "probe": probe, "in_use": in_use, "errno": errno}


@pytest.mark.parametrize(
    ("probe", "errno", "in_use", "detail"),
    [
        ("works", 0, True, ""),
        ("works", 22, False, "refused while in use: Invalid argument"),
        ("refused", 22, False, "refused at the start: Invalid argument"),
        ("untried", 1, True, "could not be tried at the start: Operation not permitted"),
        ("untried", 22, False, "refused while in use: Invalid argument"),
        ("off", 0, False, "switched off by --no-tun-offload"),
    ],
)
def test_an_offload_says_why_it_is_not_in_use(probe: str, errno: int, in_use: bool, detail: str) -> None:
    (state,) = kernel_status({"offloads": [offload(probe, errno, in_use=in_use)]}).offloads
    assert (state.probe, state.in_use, state.detail) == (probe, in_use, detail)
    assert state.wanted == (probe != "off")


def test_a_capped_buffer_names_the_setting() -> None:
    def sizes(wanted: int, got: int) -> dict[str, int]:
        return {"wanted": wanted, "got": got}

    entries = [
        {"address": "10.90.0.11:7400", "receive_buffer": sizes(100, 100), "send_buffer": sizes(50, 50)},
        {"address": "[fd90::11]:7400", "receive_buffer": sizes(100, 60), "send_buffer": sizes(50, 40)},
    ]
    whole, capped = kernel_status({"sockets": entries}).sockets
    assert whole.detail == ""
    assert (capped.receive_buffer, capped.receive_buffer_wanted) == (60, 100)
    assert "net.core.rmem_max" in capped.detail
    assert "100 or more" in capped.detail
    assert "net.core.wmem_max" in capped.detail


def test_destinations_that_refused_batches_are_named() -> None:
    status = kernel_status({"gso_refusals": [{"address": "192.0.2.1", "errno": 5}]})
    assert status.without_gso == (GsoRefusal("192.0.2.1", "Input/output error"),)
    assert kernel_status({}) == KernelStatus()

"""What the data thread has refused for a content proxy."""

from __future__ import annotations

from braid.transfer import REMEMBER, Reason, Send, TransferRefuse
from content.agent import ProxyAgent
from tests.gateway.transfer_world import GATEWAY, request


def test_what_was_refused_for_an_agent_is_refused_again_and_counted_once() -> None:
    proxy = ProxyAgent()
    assert proxy.refused(GATEWAY, request(1), Reason.CONTENT, 0.0)
    assert not proxy.refused(GATEWAY, request(1), Reason.CONTENT, 0.01)
    refusal = TransferRefuse(request(1).id, Reason.CONTENT)
    assert proxy.receive(GATEWAY, request(1), 0.02) == [Send(GATEWAY, refusal)]
    assert proxy.counts == {"requests": 1, "refused/content": 1}
    proxy.handle_timeout(REMEMBER + 1)
    assert len(proxy) == 0

"""Is a node ready? Asked by health checks, so it loads as little as possible."""

from __future__ import annotations

import time

from braid.status.client import Unreachable, endpoint_of, get

PAUSE_S = 0.25


def wait_until_ready(url: str, seconds: float) -> str:
    """Empty when the node is ready, at once or within ``seconds``; else what is missing. Raises ``BadUrl``.

    ``url`` may end in ``/readyz``.
    """
    endpoint = endpoint_of(url.removesuffix("/readyz"))
    end = time.monotonic() + seconds
    while True:
        try:
            answer = get(endpoint, "/readyz")
        except Unreachable as error:
            problem = f"{url}: {error}"
        else:
            if answer.code == 200:
                return ""
            problem = _failing(answer.body) or f"{url} answered {answer.code}"
        if time.monotonic() + PAUSE_S > end:
            return problem
        time.sleep(PAUSE_S)


def _failing(body: object) -> str:
    checks = body.get("checks", ()) if isinstance(body, dict) else ()
    return "; ".join(
        f"{check.get('name')}: {check.get('detail') or 'failing'}" for check in checks if not check.get("ok")
    )

"""``python -m bench.sequential HOST PORT COUNT PATH...``: connections one after the other, each asks for all the paths.

For ``bench.normal_path``: runs in a client's namespace, and prints one line of JSON. Bodies are compared with what
``lab.origin`` makes of ``/object/<size>``; of other paths the status counts.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import sys
import time
from typing import TYPE_CHECKING

from lab.origin import digest, size_of

if TYPE_CHECKING:
    from collections.abc import Sequence

OBJECT = "/object/"
TIMEOUT = 10.0


def fetch(browser: http.client.HTTPConnection, path: str, expected: str) -> bool:
    """Whether the answer is the server's."""
    browser.request("GET", path)
    answer = browser.getresponse()
    body = answer.read()
    return answer.status == 200 and (not expected or hashlib.sha256(body).hexdigest() == expected)


def main(arguments: Sequence[str]) -> int:
    host, port, count, *paths = arguments
    wanted = [(path, digest(size_of(path.removeprefix(OBJECT))) if path.startswith(OBJECT) else "") for path in paths]
    errors: dict[str, int] = {}
    requests = 0
    began = time.monotonic()
    for _ in range(int(count)):
        browser = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT)
        try:
            for path, expected in wanted:
                if not fetch(browser, path, expected):
                    errors["wrong"] = errors.get("wrong", 0) + 1
                requests += 1
        except (OSError, http.client.HTTPException) as error:
            name = type(error).__name__
            errors[name] = errors.get(name, 0) + 1
        finally:
            browser.close()
    print(json.dumps({"requests": requests, "errors": errors, "seconds": round(time.monotonic() - began, 3)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

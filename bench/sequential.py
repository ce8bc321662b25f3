"""``python -m bench.sequential HOST PORT COUNT AT_ONCE PATH...``: connections that ask for all the paths, so many at a
time, each followed by the next.

For ``bench.normal_path``: runs in a client's namespace, and prints one line of JSON. Bodies are compared with what
``lab.origin`` makes of ``/object/<size>``; of other paths the status counts.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import sys
import threading
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


def connections(host: str, port: int, count: int, wanted: Sequence[tuple[str, str]], errors: dict[str, int]) -> None:
    for _ in range(count):
        browser = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
        try:
            for path, expected in wanted:
                if not fetch(browser, path, expected):
                    errors["wrong"] = errors.get("wrong", 0) + 1
        except (OSError, http.client.HTTPException) as error:
            name = type(error).__name__
            errors[name] = errors.get(name, 0) + 1
        finally:
            browser.close()


def main(arguments: Sequence[str]) -> int:
    host, port, count, at_once, *paths = arguments
    wanted = [(path, digest(size_of(path.removeprefix(OBJECT))) if path.startswith(OBJECT) else "") for path in paths]
    errors: dict[str, int] = {}
    began = time.monotonic()
    each = int(count) // int(at_once)
    words = (host, int(port), each, wanted, errors)
    threads = [threading.Thread(target=connections, args=words) for _ in range(int(at_once))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"errors": errors, "seconds": round(time.monotonic() - began, 3)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

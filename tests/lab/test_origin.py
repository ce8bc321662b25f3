"""The lab's HTTP server over real sockets on the loopback interface."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
from typing import TYPE_CHECKING

import pytest

from lab.origin import Server, chunks, digest, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def port() -> Iterator[int]:
    server = Server(0, "origin-x")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def get(port: int, path: str, host: str = "127.0.0.1", method: str = "GET") -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read(), dict(response.getheaders())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("1000", 1000), ("64kB", 64_000), ("200MB", 200_000_000), ("1GiB", 1 << 30)]
)
def test_sizes(text: str, size: int) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1.5MB", "MB", "1 MB", "99999999999GB", "1e3", "../etc"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        size_of(text)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_the_digest_is_that_of_the_object(size: int) -> None:
    content = b"".join(chunks(size))
    assert len(content) == size
    assert digest(size) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_objects_arrive_whole_over_both_families(port: int, host: str) -> None:
    code, body, headers = get(port, "/object/2500000", host)
    assert (code, headers["Content-Length"]) == (200, "2500000")
    assert hashlib.sha256(body).hexdigest() == digest(2_500_000)


def test_head_tells_the_length_without_the_body(port: int) -> None:
    code, body, headers = get(port, "/object/1GB", method="HEAD")
    assert (code, body, headers["Content-Length"]) == (200, b"", "1000000000")


def test_the_name_the_client_and_errors(port: int) -> None:
    assert get(port, "/")[1] == b"origin-x\n"
    seen = json.loads(get(port, "/headers")[1])
    assert (seen["origin"], seen["client"]) == ("origin-x", "127.0.0.1")
    assert get(port, "/object/many")[0] == 400
    assert get(port, "/nowhere")[0] == 404


def test_connections_are_kept(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    ports = set()
    for _ in range(3):
        connection.request("GET", "/headers")
        ports.add(json.loads(connection.getresponse().read())["port"])
    connection.close()
    assert len(ports) == 1


def test_a_note_is_what_was_last_written(port: int) -> None:
    def put(path: str, body: bytes) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("PUT", path, body)
        status = connection.getresponse().status
        connection.close()
        return status

    assert get(port, "/note/a")[:2] == (200, b"")
    assert [put("/note/a", b"1"), put("/note/a", b"22"), put("/else", b"3")] == [200, 200, 400]
    status, body, headers = get(port, "/note/a")
    assert (status, body, headers["Cache-Control"]) == (200, b"22", "max-age=3600")
    assert get(port, "/note/a", method="HEAD")[1] == b""

"""``braid content`` against a running content proxy, and what the node shows of itself meanwhile."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from click.testing import CliRunner

from braid.cli import braid
from braid.role import StartError
from braid.status.metrics_content import content as content_metrics
from content.settings import take_directory
from tests.braid.fake_node import middle_status
from tests.content.test_service import until
from tests.content.web import Asked, Proxied, Reply, proxied, topology_of
from topology.content import OPERATOR_SOCKET

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

URL = "http://shop.apps.example/a"


@pytest.fixture
async def proxy(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Proxied:
    return await proxied(nursery, monkeypatch, tmp_path / "store")


async def run(proxy: Proxied, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    topology = topology_of(proxy.directory, proxy.port)
    monkeypatch.setattr("content.cli.load", lambda _file: topology)
    command = ["content", arguments[0], *arguments[1:], "-t", "net.yaml"]
    return await trio.to_thread.run_sync(lambda: CliRunner().invoke(braid, command))


async def test_push_list_purge(proxy: Proxied, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    proxy.origin.reply = lambda _asked: Reply(404)
    file = tmp_path / "page.html"
    file.write_bytes(b"<p>hello" * 20_000)
    pushed = await run(proxy, monkeypatch, "push", "c-1", URL, "--file", str(file), "--max-age", "99999999")
    assert (pushed.exit_code, pushed.output) == (0, f"{URL}  160000 bytes stored\n")
    got = await proxy.get("/a")
    assert (got.status, got.body, got.headers["content-type"]) == (200, file.read_bytes(), "text/html")
    assert (await proxy.get("/a", if_none_match=got.headers["etag"])).status == 304
    assert proxy.origin.asked == []
    listed = await run(proxy, monkeypatch, "list", "c-1", "--json")
    (entry,) = json.loads(listed.stdout)["answers"]
    assert (entry["url"], entry["status"], entry["bytes"], entry["vary"]) == (URL, 200, 160_000, {})
    assert "200, 160000 bytes, fresh for" in (await run(proxy, monkeypatch, "list", "c-1")).stdout
    assert (await run(proxy, monkeypatch, "list", "c-1", "http://other")).stdout == ""
    assert (await run(proxy, monkeypatch, "purge", "c-1", "http://shop.", "--prefix")).output == "1 answer purged\n"
    assert (await proxy.get("/a")).status == 404


async def test_the_socket_is_made_anew_when_the_directory_was_deleted(
    proxy: Proxied, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("content.operator.LOOK", 0.05)
    await proxy.get("/a")
    path = proxy.directory / OPERATOR_SOCKET
    await trio.to_thread.run_sync(shutil.rmtree, proxy.directory)
    await until(path.exists)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (await run(proxy, monkeypatch, "list", "c-1", "--json")).exit_code == 0


async def test_push_from_the_origin(proxy: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy.origin.reply = lambda asked: (
        Reply(headers={"cache-control": "max-age=1000"}, body=b"x" * 300_000)
        if asked.target == "/a"
        else Reply(headers={"cache-control": "private"})
    )
    pushed = await run(proxy, monkeypatch, "push", "c-1", URL)
    assert (pushed.exit_code, pushed.output) == (0, f"{URL}  300000 bytes stored\n")
    refused = await run(proxy, monkeypatch, "push", "c-1", "http://shop.apps.example/mine")
    assert refused.exit_code == 1
    assert "not stored: status 200, fwd=miss; detail=private" in refused.output
    assert len(proxy.origin.asked) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("purge", "c-1", "http://other.example/"), 1, "no application that this node serves"),
        (("purge", "c-1", "ftp://shop.apps.example/"), 1, "by http or https"),
        (("purge", "c-1", "http://[x/"), 1, "no URL"),
        (("push", "c-1", "http://shop.apps.example/a b"), 1, "write spaces and the like as %20"),
        (("push", "c-1", "http://shop.apps.example/" + "a" * 65_600), 1, "no client can ask for"),
        (("list", "e-1"), 2, "e-1 is no content proxy; name one of: c-1"),
    ],
)
async def test_what_cannot_be_done(
    proxy: Proxied, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, says: str
) -> None:
    done = await run(proxy, monkeypatch, *arguments)
    assert done.exit_code == code
    assert says in done.output


async def test_what_is_too_large_is_not_pushed_and_it_says_so(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy = await proxied(nursery, monkeypatch, tmp_path / "store", largest=1_000_000)
    proxy.origin.reply = lambda _asked: Reply(
        headers={"cache-control": "max-age=9"}, body=b"x" * 3_000_000, chunked=True
    )
    file = tmp_path / "large"
    file.write_bytes(b"x" * 20_000_000)
    refused = await run(proxy, monkeypatch, "push", "c-1", URL, "--file", str(file))
    assert (refused.exit_code, refused.output) == (1, "more than largest_mb: 1000000 bytes\n")
    # The origin does not say how much comes.
    refused = await run(proxy, monkeypatch, "push", "c-1", URL)
    assert (refused.exit_code, refused.output) == (1, f"{URL}: not stored: status 200, fwd=miss; detail=size\n")
    assert not list((tmp_path / "store" / "objects").rglob("*.body"))


async def test_what_is_pushed_is_asked_for_anew_and_there_afterwards(
    proxy: Proxied, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = trio.Event()

    def reply(_asked: Asked) -> Reply:
        body = b"%d" % len(proxy.origin.asked) * 1000
        return Reply(headers={"cache-control": "max-age=1000"}, body=body, hold=hold if body[0] == 0x31 else None)

    proxy.origin.reply = reply
    async with trio.open_nursery() as clients:
        clients.start_soon(proxy.get)
        await until(lambda: len(proxy.origin.asked) == 1)
        pushed = await run(proxy, monkeypatch, "push", "c-1", URL)
        assert (pushed.exit_code, pushed.output) == (0, f"{URL}  1000 bytes stored\n")
        assert (await proxy.get("/a")).body == b"2" * 1000
        assert (await run(proxy, monkeypatch, "purge", "c-1", URL)).output == "1 answer purged\n"
        hold.set()
    # What came meanwhile was asked for before the purge.
    assert len(proxy.service.cache.store.index) == 0  # type: ignore[union-attr]


async def test_a_node_that_does_not_run(proxy: Proxied, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    elsewhere = replace(proxy, directory=tmp_path / "none")
    done = await run(elsewhere, monkeypatch, "list", "c-1")
    assert done.exit_code == 3
    assert (
        "operator.sock: no such file or directory; run this on the content proxy's host, while it runs" in done.output
    )


def test_a_directory_belongs_to_one_node(tmp_path: Path) -> None:
    lock = take_directory(tmp_path / "store")
    with pytest.raises(StartError, match="another node uses it"):
        take_directory(tmp_path / "store")
    os.close(lock)
    os.close(take_directory(tmp_path / "store"))


async def test_the_operators_socket_is_for_its_owner(proxy: Proxied) -> None:
    assert (proxy.directory / "operator.sock").stat().st_mode & 0o777 == 0o600
    assert proxy.directory.stat().st_mode & 0o777 == 0o700


async def test_status_and_metrics(proxy: Proxied) -> None:
    proxy.origin.reply = lambda _asked: Reply(headers={"cache-control": "no-store"}, body=b"hello")
    await proxy.get()
    status = proxy.service.status()
    assert status is not None
    assert (status.answers, status.bytes_limit, status.requests["miss"]) == (0, 1_000_000_000, 1)
    assert status.client_bytes > 5
    assert status.origin_bytes == 5
    shown = replace(middle_status(), role="content", content=status)
    families = {metric.name: metric for metric in content_metrics(shown)}
    outcomes = {sample.labels["outcome"]: sample.value for sample in families["braid_content_requests"].samples}
    assert outcomes == status.requests
    assert list(content_metrics(middle_status())) == []

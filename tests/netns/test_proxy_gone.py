"""A content proxy's node is killed, or cut off, while it serves: what cannot change goes on from the origin, at the
byte where the client is; the rest is reset."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from content.advertise import EVERY
from lab.impairment import Impairment
from lab.origin import chunks, digest, size_of
from tests.netns import labs
from tests.netns.gated import bounded, gate
from tests.netns.labs import until
from tests.netns.test_transfer import GATEWAY, HOST, PROXY, document
from tests.netns.test_transfer_origin import ADDRESS, EDGE, NGINX, ORIGIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.running import RunningLab

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(not shutil.which(NGINX), reason="nginx, the stock origin server, is not installed"),
]
SIZE, AT_ONCE, RATE = "40MB", 5, "6M"
CONFIGURATION = """
daemon off; user root; worker_processes 1; pid {0}/nginx.pid; error_log {0}/error.log info;
events {{ worker_connections 64; }}
http {{
    access_log {0}/access.log; client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f;
    uwsgi_temp_path {0}/u; scgi_temp_path {0}/s; keepalive_timeout 75;
    server {{
        listen {1}; root {0}/pages; add_header Cache-Control max-age=3600;
        location /cached/weak/ {{ etag off; }}
    }}
}}
"""


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    with stored(tmp_path_factory.mktemp("gone"), labs.name_for(request)) as running:
        yield running


@contextmanager
def stored(directory: Path, name: str, shards: int = 1) -> Iterator[RunningLab]:
    """A lab whose proxy has what may change and what may not; edge and gateway have so many shards."""
    found = document(directory)
    for node in (EDGE, GATEWAY):
        found["nodes"][node]["shards"] = shards
    found["applications"]["shop"] |= {"targets": [{"address": ADDRESS}]}
    found["applications"]["solo"] = labs.demo(name)["applications"]["solo"]
    found["name"] = name
    (directory / "pages" / "cached" / "weak").mkdir(parents=True)
    (directory / "pages" / "index.html").write_text("nginx\n")
    for file in (SIZE, f"weak/{SIZE}"):
        (directory / "pages" / "cached" / file).write_bytes(b"".join(chunks(size_of(SIZE))))
    configuration = directory / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(directory, f"{ADDRESS}:80"))
    directory.chmod(0o755)
    with labs.running(found, directory) as running:
        bounded(running)
        running.kill(ORIGIN)
        running.popen(ORIGIN, [NGINX, "-c", str(configuration)], stderr=subprocess.DEVNULL)
        until(lambda: "nginx" in running.exec("client", ["curl", "-sS", f"{HOST}/"], check=False).stdout)
        store(running)
        yield running


def store(lab: RunningLab) -> None:
    """Both are there, and the gateway knows."""
    lab.wait_ready(PROXY)
    urls = [word for name in ("", "weak/") for word in ("-o", "/dev/null", f"{HOST}/cached/{name}{SIZE}")]
    words = ["curl", "-sS", "--fail", "--retry", "20", "--retry-all-errors", "--retry-delay", "1"]
    lab.exec("client", [*words, "--connect-to", "::10.91.1.80:80", *urls], timeout=90)
    until(lambda: lab.status(PROXY)["content"]["answers"] == 2)

    def reached() -> bool:
        up = {(each["peer"], each["adjacent"]) for each in lab.status(PROXY)["sessions"] if each["usable"]}
        return {(GATEWAY, True), (EDGE, True), (EDGE, False)} <= up

    until(reached)
    time.sleep(3 * EVERY)


def downloads(lab: RunningLab, tmp_path: Path, path: str, interrupt: Callable[[], None]) -> list[tuple[int, str, str]]:
    """Exit code, checksum, and what curl said, of each: requests for the index, for the object, interrupted in its
    middle, and for the index again, on one connection. No client has more than half of it before."""
    out = ["-w", "%{num_connects} %{http_code} "]
    begin = ["curl", "-sS", "-4", "--fail-early", "--limit-rate", RATE, "--max-time", "60", *out]
    index = "-o", "/dev/null", f"{HOST}/"
    fifos = [tmp_path / f"{number}" for number in range(AT_ONCE)]
    with ExitStack() as stack:
        gates = [stack.enter_context(gate(fifo, size_of(SIZE) // 2)) for fifo in fifos]
        children = [
            lab.popen(
                "client", [*begin, *index, "-o", str(fifo), f"{HOST}/cached/{path}{SIZE}", *index],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )
            for fifo in fifos
        ]  # fmt: skip
        try:
            for each in gates:
                each.wait(size_of(SIZE) // 10)
            interrupt()
            for each in gates:
                each.open()
            told = [child.communicate(timeout=90)[0] for child in children]
            return [
                (child.returncode, each.digest(), said) for child, each, said in zip(children, gates, told, strict=True)
            ]
        finally:
            for child in children:
                child.kill()


def resumed(lab: RunningLab) -> int:
    return int(lab.status(GATEWAY)["transfers"]["events"].get("resumed", 0))


def cut(lab: RunningLab, *, off: bool) -> None:
    for node in (GATEWAY, EDGE):
        lab.impair(node, PROXY, Impairment(loss=1.0) if off else None)


@pytest.mark.parametrize("turn", range(2))
def test_what_cannot_change_goes_on_when_the_node_is_killed(
    lab: RunningLab, tmp_path: Path, turn: int, figure: Callable[[str, object], None]
) -> None:
    before = lab.status(GATEWAY)["transfers"]["events"]
    done = downloads(lab, tmp_path, "", lambda: lab.kill(PROXY))
    after = lab.status(GATEWAY)["transfers"]["events"]
    lab.start(PROXY)
    store(lab)
    assert done == [(0, digest(size_of(SIZE)), "1 200 0 200 0 200 ")] * AT_ONCE, after
    until(lambda: resumed(lab) == before.get("resumed", 0) + AT_ONCE)
    figure("A proxy's node is killed in mid-download: downloads that went on", f"{len(done)} of {AT_ONCE}, {after}")


def test_what_the_proxy_told_its_gateway_arrives_where_messages_are_lost(lab: RunningLab, tmp_path: Path) -> None:
    lab.impair(GATEWAY, PROXY, Impairment(loss=0.5, seed=1))

    def kill() -> None:
        # A dozen times by now.
        time.sleep(1.5)
        lab.impair(GATEWAY, PROXY, None)
        lab.kill(PROXY)

    before = lab.status(GATEWAY)["transfers"]["events"]
    done = downloads(lab, tmp_path, "", kill)
    after = lab.status(GATEWAY)["transfers"]["events"]
    lab.start(PROXY)
    store(lab)
    assert done == [(0, digest(size_of(SIZE)), "1 200 0 200 0 200 ")] * AT_ONCE, after
    assert after.get("resumed", 0) > before.get("resumed", 0)


def test_what_cannot_change_goes_on_when_the_node_is_cut_off(lab: RunningLab, tmp_path: Path) -> None:
    before = lab.status(GATEWAY)["transfers"]["events"]
    done = downloads(lab, tmp_path, "", lambda: cut(lab, off=True))
    after = lab.status(GATEWAY)["transfers"]["events"]
    cut(lab, off=False)
    store(lab)
    assert done == [(0, digest(size_of(SIZE)), "1 200 0 200 0 200 ")] * AT_ONCE, after
    until(lambda: resumed(lab) == before.get("resumed", 0) + AT_ONCE)


def test_a_node_that_comes_back_does_not_disturb_what_went_on_without_it(lab: RunningLab, tmp_path: Path) -> None:
    def for_a_moment() -> None:
        cut(lab, off=True)
        until(lambda: lab.status(GATEWAY)["transfers"]["events"].get("proxy_gone", 0) >= before + AT_ONCE)
        cut(lab, off=False)

    before = lab.status(GATEWAY)["transfers"]["events"].get("proxy_gone", 0)
    done = downloads(lab, tmp_path, "", for_a_moment)
    store(lab)
    assert done == [(0, digest(size_of(SIZE)), "1 200 0 200 0 200 ")] * AT_ONCE


def test_what_may_have_changed_is_reset(lab: RunningLab, tmp_path: Path, figure: Callable[[str, object], None]) -> None:
    began = 0.0

    def kill() -> None:
        nonlocal began
        began = time.monotonic()
        lab.kill(PROXY)

    before = lab.status(GATEWAY)["transfers"]["events"].get("reset_changing", 0)
    done = downloads(lab, tmp_path, "weak/", kill)
    took = time.monotonic() - began
    events = lab.status(GATEWAY)["transfers"]["events"]
    lab.start(PROXY)
    store(lab)
    assert [code for code, _, _ in done] == [56] * AT_ONCE, done  # "Failure with receiving network data."
    assert events["reset_changing"] == before + AT_ONCE
    assert took < 10
    figure("A proxy's node is killed in mid-download without a strong validator: reset after", f"{took:.2f} s")

"""A node with transferred connections is killed and there again before anybody has missed it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from content.reach import PRIORITY
from lab.origin import digest, size_of
from lab.running import REPOSITORY
from tests.netns.flags import FIN, RST, witness
from tests.netns.test_proxy_gone import AT_ONCE, SIZE, downloads, lab, store
from tests.netns.test_transfer import GATEWAY, HOST, PROXY
from tests.netns.test_transfer_origin import EDGE, NGINX

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab.running import RunningLab

__all__ = ["lab"]
pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(not shutil.which(NGINX), reason="nginx, the stock origin server, is not installed"),
]
WARM = """
import sys
import braid.cli, braid.node, braid.status.app, content.node, edge.node, gateway.node
print("warm", flush=True)
sys.stdin.readline()
braid.cli.main()
"""


def restarting(lab: RunningLab, name: str) -> Callable[[], None]:
    """Kills a node when it is called; another process of it, that has read its program, begins at once."""
    argv = [sys.executable, "-c", WARM, "run", name, "-t", str(lab.file), "--pki", str(lab.pki)]
    with lab.log(name).open("ab") as log:
        child = lab.popen(
            name, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=REPOSITORY, text=True
        )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == "warm\n"
    begin = child.stdin

    def restart() -> None:
        lab.kill(name)
        begin.write("\n")
        begin.flush()
        lab.nodes[name] = child.pid

    return restart


def kept(lab: RunningLab, path: str) -> subprocess.Popen[str]:
    """A client that gets the index and an object on one connection, says "idle", and the object again at each line that
    it is told; then the number of bytes."""
    script = f"""
import http.client, sys
made = http.client.HTTPConnection({HOST.removeprefix("http://")!r}, timeout=15)
def get(path):
    made.request("GET", path)
    return len(made.getresponse().read())
get("/"), get({path!r})
ends = made.sock.getsockname()
print("idle", flush=True)
for line in sys.stdin:
    print(get({path!r}), made.sock is not None and made.sock.getsockname() == ends, flush=True)
"""
    return lab.popen(
        "client", [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )  # fmt: skip


def asked(client: subprocess.Popen[str]) -> str:
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write("\n")
    client.stdin.flush()
    return client.stdout.readline().strip()


def test_downloads_and_idle_connections_go_on_when_their_proxy_starts_again(
    lab: RunningLab, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    idle = kept(lab, f"/cached/{SIZE}")
    assert idle.stdout is not None
    assert idle.stdout.readline() == "idle\n"
    before = lab.status(GATEWAY)["transfers"]["events"]
    log = len(lab.log(GATEWAY).read_text())
    done = downloads(lab, tmp_path, "", restarting(lab, PROXY))
    after = lab.status(GATEWAY)["transfers"]["events"]
    said = lab.log(GATEWAY).read_text()[log:]
    served = asked(idle)
    idle.kill()
    store(lab)
    assert done == [(0, digest(size_of(SIZE)), "1 200 0 200 0 200 ")] * AT_ONCE, after
    assert served == f"{size_of(SIZE)} True"
    assert after["resumed"] == before.get("resumed", 0) + AT_ONCE
    assert "peer has started again" in said
    assert "peer down" not in said, "it was missed: that is what test_proxy_gone is for"
    figure("A proxy starts again in mid-download, not missed: downloads that went on", f"{len(done)} of {AT_ONCE}")


def test_the_kernel_says_nothing_for_a_proxy_that_was_killed(lab: RunningLab) -> None:
    """Not either when the next process removes the rules that it finds, before it makes its own."""
    idle = kept(lab, f"/cached/{SIZE}")
    assert idle.stdout is not None
    assert idle.stdout.readline() == "idle\n"
    with witness(lab) as seen:
        lab.kill(PROXY)
        for version in ("-4", "-6"):
            while lab.exec(PROXY, ["ip", version, "rule", "delete", "priority", PRIORITY], check=False).returncode == 0:
                pass
        time.sleep(1)
    lab.start(PROXY)
    served = asked(idle)
    idle.kill()
    store(lab)
    assert [flags for inward, flags in seen if inward and flags & (FIN | RST)] == []
    assert served == f"{size_of(SIZE)} True"


def test_downloads_go_on_when_their_edge_starts_again(
    lab: RunningLab, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    """The new process hears from the gateway who has each of its clients' connections."""
    idle = kept(lab, f"/cached/{SIZE}")
    assert idle.stdout is not None
    assert idle.stdout.readline() == "idle\n"
    before = lab.status(PROXY)["transfers"]["moved"]
    done = downloads(lab, tmp_path, "", restarting(lab, EDGE))
    assert lab.status(PROXY)["transfers"]["moved"] >= before + AT_ONCE
    assert done == [(0, digest(size_of(SIZE)), "1 200 0 200 0 200 ")] * AT_ONCE, lab.status(EDGE)["drops"]
    assert asked(idle) == f"{size_of(SIZE)} True"
    idle.kill()
    figure("An edge starts again in mid-download from a proxy: downloads that went on", f"{len(done)} of {AT_ONCE}")


def test_downloads_from_a_proxy_go_on_when_their_gateway_starts_again(
    lab: RunningLab, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    """It knows nothing of them. What the proxy would give back it asks of the origin."""
    done = downloads(lab, tmp_path, "", restarting(lab, GATEWAY))
    assert done == [(0, digest(size_of(SIZE)), "1 200 0 200 0 200 ")] * AT_ONCE, lab.status(PROXY)["transfers"]
    figure("A gateway starts again in mid-download from a proxy: downloads that went on", f"{len(done)} of {AT_ONCE}")

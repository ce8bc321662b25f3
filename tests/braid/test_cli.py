"""The ``braid`` command: exit codes, one line per problem, no traceback, nothing touched on bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from braid import cli
from braid.status import ask as asking
from braid.status.client import BadUrl, Endpoint, Unreachable, endpoint_of, get, get_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO = REPOSITORY / "lab/demo.yaml"
NOBODY = "http://127.0.0.1:1"


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli.braid, list(words))


def braid(*words: str, cwd: Path = REPOSITORY, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "braid", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **env},
        timeout=60,
        check=False,
    )


@contextmanager
def server(answer: Callable[[str], tuple[int, bytes]]) -> Iterator[str]:
    """An HTTP server of one's own; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, body = answer(self.path)
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}"
        finally:
            listening.shutdown()
            thread.join()


def says(document: Any, code: int = 200) -> Callable[[str], tuple[int, bytes]]:
    return lambda _path: (code, json.dumps(document).encode())


@pytest.fixture
def bad_file(tmp_path: Path) -> Path:
    file = tmp_path / "bad.yaml"
    file.write_text(
        DEMO.read_text()
        .replace("region: edge-fra\n", "region: nowhere\n")
        .replace("role: gateway, place: Milan", "role: relay")
    )
    return file


def test_help_lists_every_command_without_importing_the_lab() -> None:
    code = (
        "import sys; from braid.cli import braid; braid(['--help'], standalone_mode=False); print('lab' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    for command in ("sample", "check", "compose", "pki", "run", "lab", "status", "paths", "flows", "ready"):
        assert f"\n  {command} " in done.stdout
    assert done.stdout.strip().endswith("False")


def test_version() -> None:
    assert invoke("--version").output.startswith("braid ")


@pytest.mark.parametrize(
    "words", [(), ("nonsense",), ("check",), ("run", "x"), ("ready", "--wait", "x"), ("pki", "init")]
)
def test_wrong_usage_is_2(words: tuple[str, ...]) -> None:
    assert invoke(*words).exit_code == 2


def test_sample_is_a_topology_that_checks(tmp_path: Path) -> None:
    shown = invoke("sample")
    assert shown.exit_code == 0
    assert "#" in shown.output
    file = tmp_path / "sample.yaml"
    file.write_text(shown.output)
    assert invoke("check", str(file)).exit_code == 0


def test_check_shows_vips_and_paths() -> None:
    shown = invoke("check", str(DEMO))
    assert shown.exit_code == 0
    for words in ("edge-fra-1", "shop", "10.91.1.1", "mid-ams", "mid-par"):
        assert words in shown.output
    assert isinstance(json.loads(invoke("check", "--json", str(DEMO)).output), dict)


def test_compose_is_yaml() -> None:
    shown = invoke("compose", str(DEMO))
    assert shown.exit_code == 0
    assert "services:" in shown.output


def commands_that_read(file: Path) -> list[tuple[str, ...]]:
    name = str(file)
    return [
        ("check", name),
        ("check", "--json", name),
        ("compose", name),
        ("pki", "init", "-t", name),
        ("pki", "issue", "edge-fra-1", "-t", name),
        ("run", "edge-fra-1", "-t", name),
        ("status", "-t", name),
        ("paths", "-t", name),
        ("flows", "-t", name),
    ]


def test_a_bad_topology_is_2_with_one_line_per_problem_and_nothing_touched(bad_file: Path) -> None:
    for words in commands_that_read(bad_file):
        done = invoke(*words)
        assert done.exit_code == 2, words
        lines = done.stderr.splitlines()
        assert lines, words
        assert all(line.startswith(f"{bad_file}:") for line in lines), words
        assert any("nowhere" in line for line in lines)
        assert done.stdout == ""
    assert sorted(path.name for path in bad_file.parent.iterdir()) == ["bad.yaml"]


def test_a_missing_topology_is_2(tmp_path: Path) -> None:
    for words in commands_that_read(tmp_path / "none.yaml"):
        done = invoke(*words)
        assert done.exit_code == 2, words
        assert done.stderr.startswith(str(tmp_path / "none.yaml"))


def test_a_process_shows_no_traceback(bad_file: Path) -> None:
    done = braid("check", str(bad_file))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert "relay" in done.stderr


def test_the_life_of_credentials(tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    words = ("-t", str(DEMO), "--pki", str(directory))
    assert invoke("pki", "init", *words).exit_code == 0
    assert (directory / "nodes/edge-fra-1/node.key").stat().st_mode & 0o777 == 0o600
    again = invoke("pki", "init", *words)
    assert again.exit_code == 2
    assert "--if-missing" in again.stderr
    assert "nothing is missing" in invoke("pki", "init", "--if-missing", *words).output

    def states() -> dict[str, str]:
        shown = json.loads(invoke("pki", "show", "--json", "--pki", str(directory)).output)
        return {row["node"]: row["state"] for row in shown["certificates"]}

    assert set(states().values()) == {"valid"}
    assert invoke("pki", "revoke", "mid-lon-1", "--pki", str(directory)).exit_code == 0
    assert invoke("pki", "revoke", "nobody", "--pki", str(directory)).exit_code == 2
    assert states()["mid-lon-1"] == "revoked"
    assert states()["mid-ams-1"] == "valid"
    issued = invoke("pki", "issue", "mid-lon-1", "--days", "1", *words)
    assert issued.exit_code == 0
    assert states()["mid-lon-1"] == "valid"
    assert "revoked" not in invoke("pki", "show", "--pki", str(directory)).output
    key = (directory / "nodes/mid-lon-1/node.key").read_text().splitlines()[1]
    assert key not in issued.output


def test_a_directory_that_cannot_be_written_is_1(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = invoke("pki", "init", "-t", str(DEMO), "--pki", str(tmp_path / "file/pki"))
    assert done.exit_code in (1, 2)
    assert len(done.stderr.splitlines()) == 1


def test_pki_without_a_ca_is_2(tmp_path: Path) -> None:
    for words in (("show",), ("revoke", "x"), ("issue", "edge-fra-1", "-t", str(DEMO))):
        done = invoke("pki", *words, "--pki", str(tmp_path / "none"))
        assert done.exit_code == 2
        assert "Traceback" not in done.output


def test_ready() -> None:
    with server(says({"ok": True, "failing": [], "checks": []})) as url:
        done = invoke("ready", url)
        assert (done.exit_code, done.output) == (0, "")
        assert invoke("ready", f"{url}/readyz").exit_code == 0
    checks = [{"name": "tun", "ok": True, "detail": ""}, {"name": "neighbour", "ok": False, "detail": "no session"}]
    with server(says({"ok": False, "failing": ["neighbour"], "checks": checks}, 503)) as url:
        done = invoke("ready", url)
        assert (done.exit_code, done.stderr) == (1, "not ready: neighbour: no session\n")
    done = invoke("ready", NOBODY)
    assert done.exit_code == 1
    assert "connection refused" in done.stderr
    assert invoke("ready", "ftp://x").exit_code == 2


def test_ready_can_wait() -> None:
    asked: list[str] = []

    def later(path: str) -> tuple[int, bytes]:
        asked.append(path)
        return (200 if len(asked) > 2 else 503), b'{"checks": []}'

    with server(later) as url:
        assert invoke("ready", "--wait", "10", url).exit_code == 0
    assert asked == ["/readyz"] * 3


def test_ready_starts_fast_and_imports_little() -> None:
    with server(says({"ok": True, "checks": []})) as url:
        best = min(_seconds("ready", url) for _ in range(5))
        code = (
            "import sys; from braid.cli import braid; "
            "braid(['ready', sys.argv[1]], standalone_mode=False); print(*sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, url], capture_output=True, text=True, cwd=REPOSITORY, check=True
        )
    assert not {"trio", "rich", "structlog", "pydantic", "cryptography", "networkx", "yaml"} & set(done.stdout.split())
    assert best < 1.0


def test_a_node_reads_nothing_at_its_start_that_only_others_need() -> None:
    """Half of a node's start is Python reading modules, and a restart is a gap in the traffic."""
    code = "import sys, braid.cli, braid.log, braid.node, edge.node, gateway.node, content.node; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert not {"rich", "networkx", "h2", "hypercorn", "starlette", "httpx"} & set(done.stdout.split())


def _seconds(*words: str) -> float:
    start = time.monotonic()
    assert braid(*words).returncode == 0
    return time.monotonic() - start


def node_document(name: str) -> dict[str, Any]:
    return {"name": name, "role": "edge", "region": "r", "uptime_s": 5, "ready": True, "drops": {"x": 1}}


def test_status_by_url_as_table_and_json() -> None:
    with server(says(node_document("edge-a"))) as url:
        shown = invoke("status", url, NOBODY)
        assert shown.exit_code == 0
        assert "edge-a" in shown.stdout
        assert "unreachable: connection refused" in shown.stdout
        document = json.loads(invoke("status", "--json", url, NOBODY).stdout)
    assert document["nodes"] == {"edge-a": node_document("edge-a")}
    assert document["unreachable"] == {"127.0.0.1:1": "connection refused"}


def test_paths_and_flows_ask_their_own_documents() -> None:
    asked: list[str] = []

    def answer(path: str) -> tuple[int, bytes]:
        asked.append(path)
        return 200, b'{"name": "gw", "flows": [], "paths": []}'

    with server(answer) as url:
        assert "Paths: none" in invoke("paths", url).stdout
        assert "Flows: none" in invoke("flows", "--limit", "7", url).stdout
    assert asked == ["/paths", "/flows?limit=7"]


@pytest.mark.parametrize("command", ["status", "paths", "flows"])
def test_nobody_reached_is_3(command: str) -> None:
    done = invoke(command, NOBODY)
    assert done.exit_code == 3
    assert "no node answered" in done.stderr
    assert json.loads(invoke(command, "--json", NOBODY).stdout)["nodes"] == {}


def test_names_need_a_topology() -> None:
    done = invoke("status", "edge-fra-1")
    assert done.exit_code == 2
    assert "-t FILE" in done.stderr
    done = invoke("status", "-t", str(DEMO), "edge-xyz-1")
    assert done.exit_code == 2
    assert "edge-fra-1" in done.stderr
    assert invoke("status", "--lab", "no-such-lab").exit_code == 2
    assert invoke("status", "http://").exit_code == 2


def test_a_topology_names_its_endpoints() -> None:
    from topology.source import load

    topology = load(DEMO)
    every = asking.choose_endpoints((), topology=topology, lab=None)
    assert [endpoint.name for endpoint in every] == list(topology.nodes)
    (one,) = asking.choose_endpoints(("gw-sto-1",), topology=topology, lab=None)
    assert (one.host, one.port) == ("10.90.0.31", 7480)
    (default,) = asking.choose_endpoints((), topology=None, lab=None)
    assert (default.host, default.port) == ("127.0.0.1", 7480)


def test_watch_shows_again_until_interrupted() -> None:
    with server(says(node_document("edge-a"))) as url:
        child = subprocess.Popen(
            [sys.executable, "-m", "braid", "status", "--json", "--watch", "--interval", "0.1", url],
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            # A shell has what it runs in the background ignore SIGINT, and children inherit that.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        assert child.stdout is not None
        lines = [json.loads(child.stdout.readline()) for _ in range(3)]
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=20)
    assert all(line["nodes"]["edge-a"]["name"] == "edge-a" for line in lines)
    assert child.returncode == 0


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://10.0.0.1", "10.0.0.1", 7480),
        ("http://10.0.0.1:80/", "10.0.0.1", 80),
        ("[fd90::1]:7481", "fd90::1", 7481),
        ("node-1:7480", "node-1", 7480),
    ],
)
def test_urls(url: str, host: str, port: int) -> None:
    endpoint = endpoint_of(url)
    assert (endpoint.host, endpoint.port) == (host, port)


@pytest.mark.parametrize(
    "url", ["", "http://", "https://x", "http://x/status", "http://x:99999", "http://u@x", "http://[::1", "x:y"]
)
def test_bad_urls(url: str) -> None:
    with pytest.raises(BadUrl, match="http://HOST:PORT"):
        endpoint_of(url)


@pytest.mark.parametrize(
    ("code", "body", "reason"),
    [
        (200, b"<html>", "without JSON"),
        (200, b"[1]", "answered 200"),
        (200, b"[" * 100_000, "without JSON"),
        (421, b'{"error": "unknown Host"}', "answered 421 unknown Host"),
        (500, b"{}", "answered 500"),
    ],
)
def test_anything_but_a_document_is_unreachable(code: int, body: bytes, reason: str) -> None:
    with server(lambda _path: (code, body)) as url, pytest.raises(Unreachable, match=reason):
        get_document(endpoint_of(url), "/status")


def test_a_silent_server_times_out() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Unreachable, match="no answer in time"):
        get(Endpoint("x", "127.0.0.1", silent.getsockname()[1]), "/status", timeout=0.2)

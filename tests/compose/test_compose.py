"""The compose file as users run it: build, start, wait until healthy, download by name, lose a node in the middle."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from lab.moving import answers_of, command, moved
from lab.origin import digest, size_of
from tests.compose.images import compose_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.compose.images import Images

pytestmark = pytest.mark.compose

ROOT = Path(__file__).parent.parent.parent
SHOP = "http://shop.apps.example"
MEDIA = "http://media.apps.example"
NOWHERE = Path(os.devnull)


@dataclass(frozen=True, slots=True)
class Compose:
    command: tuple[str, ...]
    project: str

    def argv(self, *arguments: str) -> list[str]:
        return [*self.command, "-p", self.project, *arguments]

    def run(self, *arguments: str, timeout: float = 60) -> str:
        """Standard output; fails with what the command said."""
        done = subprocess.run(
            self.argv(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode != 0:
            pytest.fail(f"compose {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}"[-6000:])
        return done.stdout

    def containers(self) -> dict[str, dict[str, Any]]:
        """What ``docker inspect`` says, by service, also of stopped ones."""
        mine = f"label=com.docker.compose.project={self.project}"
        listed = subprocess.run(["docker", "ps", "-aq", "--filter", mine], capture_output=True, text=True, check=True)
        shown = subprocess.run(
            ["docker", "inspect", *listed.stdout.split()], capture_output=True, text=True, check=True
        )
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in json.loads(shown.stdout)}

    def inside(self, service: str, *command: str, timeout: float = 60) -> str:
        return self.run("exec", "-T", service, *command, timeout=timeout)


@pytest.fixture(scope="module")
def compose(images: Images) -> Iterator[Compose]:
    """A project of its own, up and healthy; removed with its volumes. Its logs are shown when a test fails."""
    images.ready()
    compose = Compose(compose_command(), f"braid-test-{os.getpid()}")
    try:
        compose.run("up", "-d", timeout=240)
        yield compose
    finally:
        logs = compose.argv("logs", "--no-color", "--tail", "15")
        print(subprocess.run(logs, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False).stdout[-15000:])
        down = compose.argv("down", "-v", "--remove-orphans", "-t", "5")
        subprocess.run(down, cwd=ROOT, capture_output=True, timeout=180, check=False)


def test_all_containers_are_healthy(compose: Compose) -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    expected = {name: "healthy" for name, service in services.items() if "profiles" not in service}
    deadline = time.monotonic() + 30
    states: dict[str, str] = {}
    while states != expected and time.monotonic() < deadline:
        states = {service: each["State"]["Health"]["Status"] for service, each in compose.containers().items()}
        time.sleep(0.2)
    assert states == expected


def test_containers_have_no_privileges_beyond_net_admin(compose: Compose) -> None:
    for container in compose.containers().values():
        host = container["HostConfig"]
        assert host["Privileged"] is False
        assert host["CapDrop"] == ["ALL"]
        added = {capability.removeprefix("CAP_") for capability in host["CapAdd"] or []}
        assert added <= {"NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW"}


def test_a_client_reaches_the_application_by_name(compose: Compose) -> None:
    """Each edge has its own VIP for it, and every client gets that of its edge."""
    for client, network in (("client", "10.91.1."), ("client-2", "10.91.2.")):
        code, address = compose.inside(
            client, "curl", "-4", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{remote_ip}", f"{SHOP}/"
        ).split()
        assert code == "200"
        assert address.startswith(network)


def test_an_open_connection_moves_to_the_content_proxy_and_back(compose: Compose) -> None:
    stored = f"{MEDIA}/cached/1MB"
    deadline = time.monotonic() + 20
    compose.inside("client", "curl", "-sS", "--fail", "-o", "/dev/null", stored)
    while not answers_of(compose.inside("client", *command([stored], [NOWHERE], ["--head"])))[0].cache:
        assert time.monotonic() < deadline, "the proxy has not stored what a client asked for"
        time.sleep(0.5)
    answers = answers_of(compose.inside("client", *command([f"{MEDIA}/", stored, f"{MEDIA}/"], [NOWHERE] * 3)))
    assert moved(answers, "cache-fra-1"), answers


def test_a_download_survives_the_loss_of_an_intermediate(compose: Compose) -> None:
    size = "60MB"
    fetch = f"curl -sS --fail --limit-rate 10M {SHOP}/object/{size} | sha256sum"
    argv = compose.argv("exec", "-T", "client", "sh", "-c", fetch)
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as download:
        time.sleep(2)
        assert download.poll() is None, download.communicate()
        compose.run("kill", "-s", "SIGKILL", "mid-ams-1")
        assert download.poll() is None, "the download ended before the node was killed"
        out, errors = download.communicate(timeout=60)
    assert download.returncode == 0, errors
    assert out.split()[0] == digest(size_of(size))


def test_nodes_drain_and_exit_cleanly(compose: Compose) -> None:
    compose.run("stop", "-t", "10", "edge-nyc-1")
    assert compose.containers()["edge-nyc-1"]["State"]["ExitCode"] == 0

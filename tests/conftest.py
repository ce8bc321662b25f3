"""What every test shares: a deterministic Hypothesis, and a skip with its reason for what this machine cannot run."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

from tests.compose.images import Images

settings.register_profile("braid", derandomize=True, deadline=None)
settings.load_profile("braid")


@cache
def namespaces_missing() -> str | None:
    """Why network namespaces with TUN devices cannot be made here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not Path("/dev/net/tun").exists():
        return "no /dev/net/tun here"
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    return None if probe.returncode == 0 else f"no network namespaces here: {probe.stderr.strip()}"


@cache
def compose_missing() -> str | None:
    """Why no containers can be started here, or None."""
    try:
        engine = subprocess.run(["docker", "version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no Docker engine answers: {error}"
    if engine.returncode != 0:
        return f"no Docker engine answers: {(engine.stderr.strip() or 'no reason given').splitlines()[-1]}"
    for command in (["docker", "compose", "version"], ["docker-compose", "version"]):
        try:
            if subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0:
                return None
        except (OSError, subprocess.TimeoutExpired):
            continue
    return "neither 'docker compose' nor docker-compose is installed"


REQUIREMENTS = {"netns": namespaces_missing, "compose": compose_missing}


IMAGES = pytest.StashKey[Images]()


def kind(item: pytest.Item) -> int:
    """In memory, in namespaces, with compose: the order in which tests run."""
    return max((rank for rank, marker in enumerate(REQUIREMENTS, 1) if item.get_closest_marker(marker)), default=0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker, missing in REQUIREMENTS.items():
            if item.get_closest_marker(marker) and (reason := missing()):
                item.add_marker(pytest.mark.skip(reason=reason))
    items.sort(key=kind)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begins to build containers' images where one of the chosen tests needs them."""
    images = session.config.stash[IMAGES] = Images()
    wanted = any(item.get_closest_marker("compose") for item in session.items)
    if wanted and not session.config.option.collectonly and not compose_missing():
        images.start()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What is measured in namespaces is measured on a machine with nothing else to do."""
    if item.get_closest_marker("netns"):
        item.config.stash[IMAGES].wait()


def pytest_unconfigure(config: pytest.Config) -> None:
    if IMAGES in config.stash:
        config.stash[IMAGES].close()


@pytest.fixture(scope="session")
def images(pytestconfig: pytest.Config) -> Images:
    return pytestconfig.stash[IMAGES]

"""The container image that compose starts, built by a process of its own: by ``make test`` beside lint and Rust's
tests, or else when pytest begins.

Tests in namespaces need all CPUs, and begin when the image is there.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PUBLIC_BASES = ("rust:1-slim-bookworm", "python:3.11-slim-bookworm")
WITHIN = 1500.0
IMPOSSIBLE = 3
"""Exit code: this machine cannot, and the last line says why."""


class Images:
    """One build in the background. ``start`` before ``ready``; ``close`` ends what still runs."""

    def __init__(self) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - the build writes to it until `close`
        self._build: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = [sys.executable, "-m", "tests.compose.images"]
        self._build = subprocess.Popen(
            argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=self._said, stderr=self._said, start_new_session=True
        )

    def wait(self) -> None:
        """Until nothing is built any more, however it ended."""
        if self._build is not None and self._build.poll() is None:
            # It takes minutes; pytest's dump of a test that hangs would say nothing here.
            faulthandler.cancel_dump_traceback_later()
            self._build.wait(timeout=WITHIN)

    def ready(self) -> None:
        """The image is there, or the test that asks is skipped or fails with what the build said."""
        assert self._build is not None, "no image is being built"
        self.wait()
        if self._build.returncode:
            self._said.seek(0)
            said = self._said.read().decode(errors="replace").strip()
            if self._build.returncode == IMPOSSIBLE:
                pytest.skip(said.splitlines()[-1])
            pytest.fail(f"the image was not built: exit {self._build.returncode}\n{said}"[-6000:])

    def close(self) -> None:
        if self._build is not None and self._build.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._build.pid, signal.SIGTERM)
            self._build.wait(timeout=30)
        self._said.close()


def compose_command() -> tuple[str, ...]:
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return ("docker", "compose") if plugin.returncode == 0 else ("docker-compose",)


def docker_finds(*command: str) -> bool:
    return all(
        subprocess.run(["docker", *command, image], capture_output=True, timeout=300, check=False).returncode == 0
        for image in PUBLIC_BASES
    )


def main() -> int:
    """Base images as a user gets them (the public ones where a registry has them, else our own, as by
    ``make compose-images``), then ``compose build``."""
    own = (ROOT / ".env").exists() or "BASE_IMAGE" in os.environ
    if not own and not docker_finds("image", "inspect") and not docker_finds("pull", "-q"):
        if os.geteuid() != 0:
            print("no image registry can be reached, and base images of our own need root: sudo make compose-images")
            return IMPOSSIBLE
        subprocess.run(["tools/images.sh"], cwd=ROOT, timeout=900, check=True)
    words = ("LTO=off", "CODEGEN_UNITS=16", "OPT_LEVEL=0", "DEBUG=0")
    quicker = [f"--build-arg=CARGO_PROFILE_RELEASE_{word}" for word in words]
    return subprocess.run([*compose_command(), "build", *quicker], cwd=ROOT, timeout=900, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

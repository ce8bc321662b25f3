"""The packaging tells one story: pins, package list, licence, container image and continuous integration agree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOMS = PROJECT["tool"]["maturin"]["python-packages"]


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name.decode() for name in listed.split(b"\0") if name and (ROOT / name.decode()).is_file()]


def pins(name: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Package -> version and hashes; fails on a line that is neither a pin nor a comment."""
    text = "\n".join(line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#"))
    found = {}
    for entry in filter(None, re.sub(r" *\\\n\s*", " ", text).split("\n")):
        matched = re.fullmatch(r"([a-z0-9-]+)==(\S+)((?: --hash=sha256:[0-9a-f]{64})+)", entry)
        assert matched, f"{name}: not a pin with hashes: {entry[:80]}"
        found[matched[1]] = (matched[2], tuple(matched[3].split()))
    return found


def normal(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement)[0]).lower()


@pytest.mark.parametrize("name", ["constraints.txt", "requirements.txt"])
def test_pins_are_hashed_and_name_no_index(name: str) -> None:
    assert pins(name)
    assert "://" not in (ROOT / name).read_text()


def test_every_dependency_is_pinned() -> None:
    running, everything = pins("requirements.txt"), pins("constraints.txt")
    assert {normal(each) for each in PROJECT["project"]["dependencies"]} <= running.keys()
    assert {normal(each) for each in PROJECT["project"]["optional-dependencies"]["dev"]} <= everything.keys()


def test_running_and_developing_use_the_same_versions() -> None:
    everything = pins("constraints.txt")
    assert {name: pin for name, pin in pins("requirements.txt").items() if everything.get(name) != pin} == {}


def test_every_room_is_packaged_and_copied_into_the_image() -> None:
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"bench", "tests"}
    assert set(ROOMS) == rooms
    dockerfile = (ROOT / "Dockerfile").read_text()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for room in rooms:
        assert re.search(rf"^COPY {room}(/__init__\.py)? {room}", dockerfile, re.MULTILINE), room
        assert f"!{room}" in ignored


def test_the_image_takes_both_bases_as_arguments() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^ARG (\w+_IMAGE)=", dockerfile, re.MULTILINE) == ["BUILD_IMAGE", "BASE_IMAGE"]
    assert re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE) == ["${BUILD_IMAGE}", "${BASE_IMAGE}"]


def test_continuous_integration_runs_what_users_run() -> None:
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert [line.removesuffix(" </dev/null") for line in lines if line.startswith("make")] == [
        "make test",
        "make demo ARGS=--once",
    ]


def test_the_licence_is_the_one_declared() -> None:
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()


def test_third_party_imports_are_declared() -> None:
    """A package that happens to be in the developer's environment is not in the user's. One that is optional is
    imported where it is needed, with an error that names it."""
    import_names = {"prometheus-client": "prometheus_client", "python-pytun": "pytun", "pyyaml": "yaml"}
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["geo"]]
    declared = {import_names.get(normal(each), normal(each)) for each in wanted}
    # pydantic's own other half, pinned by it.
    allowed = declared | {"pydantic_core"} | set(sys.stdlib_module_names) | set(ROOMS)
    found = set()
    for path in tracked_files():
        if path.suffix != ".py" or path.relative_to(ROOT).parts[0] not in ROOMS:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found |= {(name.split(".")[0], str(path.relative_to(ROOT))) for name in names}
    assert {(name, path) for name, path in found if name not in allowed} == set()


ARROWS = {
    "topology": {"topology"},
    "dataplane": {"dataplane"},
    "edge": {"edge", "braid", "topology", "dataplane"},
    "intermediate": {"intermediate", "braid", "topology", "dataplane"},
    "gateway": {"gateway", "braid", "topology", "dataplane"},
    "dns": {"dns", "braid", "topology", "dataplane"},
    "content": {"content", "braid", "topology", "dataplane"},
}


@pytest.mark.parametrize("room", ARROWS)
def test_rooms_import_only_along_the_arrows(room: str) -> None:
    wrong = set()
    for path in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            wrong |= {
                (str(path.relative_to(ROOT)), name)
                for name in names
                if name.split(".")[0] in ROOMS and name.split(".")[0] not in ARROWS[room]
            }
    assert wrong == set()


def test_only_the_seam_imports_the_data_plane() -> None:
    importers = set()
    for path in tracked_files():
        parts = path.relative_to(ROOT).parts
        if path.suffix == ".py" and parts[0] in ROOMS and parts[0] != "dataplane":
            text = path.read_text()
            if re.search(r"^\s*(from|import) dataplane\b", text, re.MULTILINE):
                importers.add(str(path.relative_to(ROOT)))
    proxies = {f"gateway/proxy/{name}.py" for name in ("configured", "leaving", "opening", "relay", "returning")}
    proxies |= {"braid/tcp/repair.py", "content/asked.py", "content/policy.py", "gateway/proxy/foreseen.py"}
    proxies |= {f"gateway/transfer/{name}.py" for name in ("offering", "planning", "stored")}
    assert importers <= {"braid/core.py", "braid/datagrams.py", "lab/link.py"} | proxies


def test_no_rust_test_is_left_out_where_one_program_has_them_all() -> None:
    for program in sorted((ROOT / "dataplane").glob("*/tests/all.rs")):
        named = set(re.findall(r"^mod (\w+);$", program.read_text(), re.MULTILINE))
        files = {file.stem for file in program.parent.glob("*.rs")} - {"all"}
        assert files <= named, f"{program.relative_to(ROOT)} has to name them"


def test_no_file_is_longer_than_four_hundred_lines() -> None:
    """Unit tests at the end of a Rust file do not count."""
    long = {}
    for path in tracked_files():
        if path.suffix in {".py", ".rs", ".sh"}:
            lines = len(path.read_text().split("#[cfg(test)]")[0].splitlines())
            if lines > 400:
                long[str(path.relative_to(ROOT))] = lines
    assert long == {}


def test_make_help_names_every_target_users_are_told_of() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "build", "demo", "test", "lint", "compose-images", "bench", "clean"):
        assert f"make {target} " in shown

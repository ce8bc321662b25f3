"""``braid content``: what a content proxy stores. To be run on its host."""

from __future__ import annotations

import json
import mimetypes
import sys
import time
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from content.ask import NotAnswered, Refused, ask
from content.message import write_date
from topology.problem import TopologyError
from topology.source import load

if TYPE_CHECKING:
    from collections.abc import Iterator

FAILED, BAD_INPUT, NOT_REACHABLE = 1, 2, 3

file_option = click.option(
    "-t",
    "--topology",
    "topology",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="BRAID_TOPOLOGY",
    required=True,
    help="Topology file.",
)


@click.group("content")
def content_group() -> None:
    """What a content proxy stores: list, push and purge it. To be run on its host, as root."""


@content_group.command("list")
@click.argument("node")
@click.argument("prefix", default="")
@file_option
@click.option("--json", "as_json", is_flag=True, help="The document as it is.")
def list_answers(node: str, prefix: str, topology: Path, as_json: bool) -> None:
    """List what NODE stores, of URLs that begin with PREFIX; the one used last comes first."""
    with _reported():
        document = ask(_directory(topology, node), "GET", {"prefix": prefix})
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    for each in document["answers"]:
        fresh = f"fresh for {each['ttl_s']} s" if each["ttl_s"] > 0 else f"stale since {-each['ttl_s']} s"
        vary = "".join(f", {name}: {value}" for name, value in each["vary"].items())
        click.echo(f"{each['url']}  {each['status']}, {each['bytes']} bytes, {fresh}{vary}")
    more = document["count"] - len(document["answers"])
    click.echo(f"{_answers(document['count'])}{f', {more} not shown' if more else ''}", err=True)


@content_group.command()
@click.argument("node")
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@file_option
@click.option("--file", "source", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The content.")
@click.option("--type", "kind", help="Content-Type. [default: by the name of the file]")
@click.option("--max-age", type=click.IntRange(min=1), default=86_400, show_default=True, help="Seconds it is fresh.")
def push(node: str, urls: tuple[str, ...], topology: Path, source: Path | None, kind: str | None, max_age: int) -> None:
    """Store URL at NODE: from --file, else as its origin has it now."""
    directory = _directory(topology, node)
    for url in urls:
        with _reported():
            if source is None:
                document = ask(directory, "POST", {"url": url}, timeout=None)
                if document["status"] != 200 or not document["stored"]:
                    _fail(FAILED, f"{url}: not stored: status {document['status']}, {document['cache']}")
            else:
                with source.open("rb") as body:
                    headers = _headers(source, kind, max_age)
                    document = ask(directory, "PUT", {"url": url}, body=body, headers=headers, timeout=None)
        click.echo(f"{document['url']}  {document['bytes']} bytes stored")


@content_group.command()
@click.argument("node")
@click.argument("url")
@file_option
@click.option("--prefix", is_flag=True, help="Everything whose URL begins with URL.")
def purge(node: str, url: str, topology: Path, prefix: bool) -> None:
    """Drop URL from NODE, all its variants; the next request goes to the origin."""
    with _reported():
        document = ask(_directory(topology, node), "DELETE", {"prefix" if prefix else "url": url})
    click.echo(f"{_answers(document['purged'])} purged")


def _headers(source: Path, kind: str | None, max_age: int) -> dict[str, str]:
    with source.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    now = write_date(time.time()).decode()
    stored = {
        "content-type": kind or mimetypes.guess_type(source.name)[0] or "application/octet-stream",
        "cache-control": f"public, max-age={max_age}",
        "etag": f'"{digest[:32]}"',
        "date": now,
        "last-modified": write_date(source.stat().st_mtime).decode(),
    }
    # The length is written: the operator's server and client agree on it before the first byte.
    return {"content-length": str(source.stat().st_size)} | {f"x-store-{name}": value for name, value in stored.items()}


def _answers(count: int) -> str:
    return "1 answer" if count == 1 else f"{count} answers"


def _directory(topology: Path, node: str) -> Path:
    try:
        nodes: dict[str, Any] = load(topology).nodes
    except TopologyError as error:
        _fail(BAD_INPUT, str(error))
    settings = nodes[node].content if node in nodes else None
    if settings is None:
        known = ", ".join(name for name, each in nodes.items() if each.content is not None)
        _fail(BAD_INPUT, f"{node} is no content proxy; name one of: {known or 'there is none'}")
    return Path(settings.directory)


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except NotAnswered as error:
        _fail(NOT_REACHABLE, str(error))
    except Refused as error:
        _fail(FAILED, str(error))


def _fail(code: int, message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)

"""``braid pki``: the certificate authority of a Braid and the credentials of its nodes."""

from __future__ import annotations

from pathlib import Path

import click

from braid import commands_pki
from braid.cli_input import bad_input, file_option, load, topology_file


@click.group("pki")
def pki_group() -> None:
    """The certificate authority of a Braid and the credentials of its nodes."""


pki_option = click.option(
    "--pki", "directory", type=click.Path(file_okay=False, path_type=Path), help="[default: pki beside FILE]"
)
days_option = click.option("--days", type=click.FloatRange(min=0.01), default=90.0, help="Validity.")


@pki_group.command("init")
@file_option
@pki_option
@days_option
@click.option("--force", is_flag=True, help="Replace the CA; every certificate it signed becomes worthless.")
@click.option("--if-missing", is_flag=True, help="Keep an existing CA and make only what is missing.")
def pki_init(file: Path, directory: Path | None, days: float, force: bool, if_missing: bool) -> None:
    """Make the CA and the credentials of every node."""
    topology = load(file)
    with bad_input(commands_pki.CredentialError):
        commands_pki.init(topology, _pki_directory(file, directory), days=days, force=force, if_missing=if_missing)


@pki_group.command("issue")
@click.argument("node")
@file_option
@pki_option
@days_option
@click.option("--vips", multiple=True, metavar="PREFIX", help="Whose connections it may have. [default: all edges']")
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="For which names. [default: its applications']")
def pki_issue(node: str, file: Path, directory: Path | None, days: float, **delegated: tuple[str, ...]) -> None:
    """Make a new key and certificate for NODE; --vips and --host say what is delegated to a content node."""
    topology = load(file)
    with bad_input(commands_pki.CredentialError, commands_pki.BadDelegation):
        commands_pki.issue(topology, _pki_directory(file, directory), node, days=days, **delegated)


@pki_group.command("revoke")
@click.argument("node_or_serial")
@click.option("-t", "--topology", "file", type=topology_file, help="Only to find the directory.")
@pki_option
def pki_revoke(node_or_serial: str, file: Path | None, directory: Path | None) -> None:
    """Revoke the certificates of a node, or one by its serial (0x...). Nodes obey after SIGHUP with the new crl.pem."""
    with bad_input(commands_pki.CredentialError):
        commands_pki.revoke(_pki_directory(file, directory), node_or_serial)


@pki_group.command("show")
@click.option("-t", "--topology", "file", type=topology_file, help="Only to find the directory.")
@pki_option
@click.option("--json", "as_json", is_flag=True)
def pki_show(file: Path | None, directory: Path | None, as_json: bool) -> None:
    """List the certificates with their validity."""
    with bad_input(commands_pki.CredentialError):
        commands_pki.show(_pki_directory(file, directory), as_json=as_json)


def _pki_directory(file: Path | None, directory: Path | None) -> Path:
    return directory or (file.parent / "pki" if file else Path("pki"))

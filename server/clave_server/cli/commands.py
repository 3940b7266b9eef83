"""The operator's subcommands: their arguments and what they print. Knows nothing of a relay's parts.

What a command runs is imported there, so that `--help` and completion need not wait for it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from clave_host.program import OutputFailed
from clave_server.cli.decorators import (
    data_option,
    note_option,
    one_line_errors,
    retention_options,
    run_options,
    tls_options,
)
from clave_server.cli.options import VARIABLES, Options
from clave_server.cli.parsers import FilePath, pair_files
from clave_server.errors import AdminError
from clave_server.option_values import MAX_COUNT, MAX_DAYS, MAX_USES

if TYPE_CHECKING:
    from clave_server.relay.certificates import Fingerprints

__all__ = ["ALL"]

_DAY_MS: Final = 24 * 60 * 60 * 1000


def _epilog(*examples: str) -> str:
    return "\b\nExample:\n" + "\n".join(f"  clave-relay {example}" for example in examples)


@click.command(epilog=_epilog("check --config /etc/clave-relay.toml"))
@run_options
@one_line_errors
def check(**options: Any) -> None:
    """Say what would be used and what is wrong with it; start nothing, change nothing.

    Ends with status 1 if the relay would not start.
    """
    from clave_server.cli.check import Verdict
    from clave_server.cli.check import check as run_checks

    findings = list(run_checks(Options(**options), os.environ, VARIABLES))
    click.echo(_table([tuple(finding) for finding in findings]), nl=False)
    if any(finding.verdict is Verdict.ERROR for finding in findings):
        raise click.exceptions.Exit(1)


@click.command(epilog=_epilog("status", "status --json | jq .online"))
@data_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@one_line_errors
def status(data: Path, as_json: bool) -> None:
    """Show how the running relay does: people online, rooms, queues, disk."""
    import msgspec

    from clave_server.admin.control_socket import send_request
    from clave_server.admin.requests import GetStatus
    from clave_server.admin.status import render_status
    from clave_server.storage.data_dir import CONTROL

    answer = send_request(data / CONTROL, GetStatus())
    click.echo(msgspec.json.encode(answer).decode() + "\n" if as_json else render_status(answer), nl=False)


@click.command(epilog=_epilog("top", "top --interval 60 >> relay.txt"))
@data_option
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 86_400),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option(
    "--count", type=click.IntRange(0, MAX_COUNT), default=0, help="Looks to take; 0, as unless given: no end."
)
@one_line_errors
def top(data: Path, interval: float, count: int) -> None:
    """Show how the running relay does, again and again, with rates; q or Ctrl-C ends it.

    On a terminal that is a table, elsewhere a line for each look.
    """
    from clave_server.cli.top import show_lines, show_screen
    from clave_server.storage.data_dir import CONTROL

    show = show_screen if sys.stdin and sys.stdin.isatty() and sys.stdout.isatty() else show_lines
    with contextlib.suppress(KeyboardInterrupt):  # which ends it, as it should
        show(data / CONTROL, interval, count)


@click.group(
    epilog=_epilog("token make --note 'for the choir' --uses 20 --days 14", "token list", "token revoke 3")
)
def token() -> None:
    """Make, list and revoke tokens to register with, for a relay with --registration token."""


@token.command("make", epilog=_epilog("token make --note blue > token.txt"))
@data_option
@note_option
@click.option(
    "--uses",
    type=click.IntRange(0, MAX_USES),
    default=1,
    show_default=True,
    help="Names to register; 0: any number.",
)
@click.option(
    "--days",
    type=click.IntRange(0, MAX_DAYS),
    default=7,
    show_default=True,
    help="Days it holds; 0: for ever.",
)
@one_line_errors
def make_token(data: Path, note: str, uses: int, days: int) -> None:
    """Print a new token, this once: the relay keeps only its SHA-256."""
    from clave_host.clock import now_ms
    from clave_server.accounts.tokens import new_token, token_digest
    from clave_server.admin.dispatch import dispatch
    from clave_server.admin.requests import MakeToken, RevokeToken

    made = new_token()
    expires_at = now_ms() + days * _DAY_MS if days else None
    number = dispatch(data, MakeToken(token_digest(made), note, expires_at, uses or None))
    try:
        click.echo(made)
    except OutputFailed as error:
        dispatch(data, RevokeToken(number))  # nobody has seen it
        raise AdminError(
            f"token {number} is revoked again, as it could not be shown: cannot write to standard output:"
            f" {error.strerror}"
        ) from None
    click.echo(f"token {number}, shown this once; who got it runs: clave chat --token-file FILE", err=True)


@token.command("list", epilog=_epilog("token list"))
@data_option
@one_line_errors
def list_tokens(data: Path) -> None:
    """List the tokens made and what is left of them; never the tokens themselves."""
    from clave_server.admin.dispatch import dispatch
    from clave_server.admin.requests import ListTokens
    from clave_server.admin.status import render_time

    rows = [("id", "made", "until", "uses left", "note")]
    for kept in dispatch(data, ListTokens()):
        until = "for ever" if kept.expires_at is None else render_time(kept.expires_at)
        uses = "any" if kept.uses_left is None else str(kept.uses_left)
        rows.append((str(kept.id), render_time(kept.made_at), until, uses, kept.note))
    click.echo(_table(rows), nl=False)


@token.command("revoke", epilog=_epilog("token revoke 3"))
@data_option
@click.argument("number", metavar="ID", type=click.IntRange(1, MAX_COUNT))
@one_line_errors
def revoke_token(data: Path, number: int) -> None:
    """Let nobody register with a token any more; who did stays."""
    from clave_server.admin.dispatch import dispatch
    from clave_server.admin.requests import RevokeToken

    dispatch(data, RevokeToken(number))
    click.echo(f"token {number} is revoked; names registered with it stay")


@click.group(epilog=_epilog("account list", "account free red"))
def account() -> None:
    """List the accounts, or free the name of one whose devices are lost."""


@account.command("list", epilog=_epilog("account list"))
@data_option
@one_line_errors
def list_accounts(data: Path) -> None:
    """List the names registered, and the fingerprint of each one's key, which its people can compare."""
    from clave_crypto.identity import fingerprint
    from clave_server.admin.dispatch import dispatch
    from clave_server.admin.requests import ListAccounts
    from clave_server.admin.status import render_size

    rows = [("name", "devices", "rooms made", "stored", "fingerprint")]
    for one in dispatch(data, ListAccounts()):
        numbers = (str(one.devices), str(one.rooms), render_size(one.stored))
        rows.append((one.name, *numbers, fingerprint(one.account)))
    click.echo(_table(rows), nl=False)


@account.command("free", epilog=_epilog("account free red"))
@data_option
@click.argument("name")
@one_line_errors
def free_account(data: Path, name: str) -> None:
    """Let anybody register NAME with another key, as when all devices of its owner are lost.

    The former key can no longer log in here. Its devices stay in their rooms until members remove them;
    people who knew it are told that the name has another key, and compare that one anew.
    """
    from clave_server.admin.dispatch import dispatch
    from clave_server.admin.requests import FreeAccount
    from clave_wire.text import sanitize

    freed = dispatch(data, FreeAccount(name))
    click.echo(
        f"{sanitize(freed.name)} is free to be registered anew; devices that can no longer log in:"
        f" {freed.devices}, connections closed: {freed.closed}"
    )


@click.command(epilog=_epilog("ban red --note spam", "ban 192.0.2.7", "ban 2001:db8:7::/48", "ban"))
@data_option
@click.argument("subject", required=False, metavar="[NAME|ADDRESS|NETWORK]")
@note_option
@click.option("--unknown", is_flag=True, help="Ban a name that nobody has yet.")
@one_line_errors
def ban(data: Path, subject: str | None, note: str, unknown: bool) -> None:
    """Shut out an account or a network at once and for good; without an argument, list who is."""
    import msgspec

    from clave_server.admin.dispatch import dispatch
    from clave_server.admin.requests import AddBan, ListBans
    from clave_server.admin.status import render_time
    from clave_server.limits.bans import parse_ban

    if subject is None:
        kept = [
            (one.subject, one.kind, render_time(one.made_at), one.note) for one in dispatch(data, ListBans())
        ]
        click.echo(_table([("banned", "kind", "since", "note"), *kept]), nl=False)
        return
    wanted = msgspec.structs.replace(parse_ban(subject), note=note)
    closed = dispatch(data, AddBan(wanted, unknown))
    widened = ", the whole network of that address," if "/" in wanted.subject and "/" not in subject else ""
    click.echo(f"{wanted.subject}{widened} is banned; connections closed: {closed}")


@click.command(epilog=_epilog("unban red", "unban --damaged"))
@data_option
@click.option("--damaged", is_flag=True, help="Forget the bans that are damaged on disk, and name them.")
@click.argument("subject", metavar="NAME|ADDRESS|NETWORK", required=False)
@one_line_errors
def unban(data: Path, subject: str | None, damaged: bool) -> None:
    """Take a ban back, named as `clave-relay ban` lists it."""
    from clave_server.admin.dispatch import dispatch
    from clave_server.admin.requests import DropDamagedBans, LiftBan
    from clave_server.limits.bans import parse_ban
    from clave_wire.text import sanitize

    if (subject is not None) == damaged:
        raise click.UsageError("name whom to unban, or give --damaged")
    if subject is not None:
        lifted = parse_ban(subject)
        dispatch(data, LiftBan(lifted))
        click.echo(f"{lifted.subject} is no longer banned")
        return
    for forgotten in dispatch(data, DropDamagedBans()):
        click.echo(f"forgotten: {sanitize(forgotten)}; ban anew whom this was about")
    click.echo("the bans that are left count as all there are; see: clave-relay ban")


@click.group(
    invoke_without_command=True,
    epilog=_epilog("certificate", "certificate next", "certificate switch", "certificate next new.pem"),
)
@data_option
@tls_options
@click.pass_context
@one_line_errors
def certificate(
    context: click.Context, data: Path, tls_certificate: Path | None, tls_key: Path | None
) -> None:
    """Show the fingerprints that people compare, or change the certificate without locking anybody out."""
    from clave_server.admin.dispatch import dispatch
    from clave_server.admin.requests import GetCertificates

    if context.invoked_subcommand is None:
        _show_fingerprints(dispatch(data, GetCertificates(), pair_files(tls_certificate, tls_key)))
    for name in ("data", "config", "tls_certificate", "tls_key"):
        if context.invoked_subcommand and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = "--" + name.replace("_", "-")
            command = f"clave-relay certificate {context.invoked_subcommand} {option}"
            raise click.UsageError(f"{option} goes after the command: {command}")


@certificate.command("next", epilog=_epilog("certificate next", "certificate next new.pem"))
@data_option
@tls_options
@click.argument("file", required=False, type=FilePath())
@one_line_errors
def next_certificate(
    data: Path, tls_certificate: Path | None, tls_key: Path | None, file: Path | None
) -> None:
    """Make the next key and certificate and announce it to everyone, now and at each login.

    With FILE, announce that certificate of yours instead, which needs no key there.
    """
    from clave_server.admin.dispatch import dispatch
    from clave_server.admin.requests import PrepareCertificate
    from clave_server.net.tls import read_certificate

    wanted = None if file is None else read_certificate(file)
    _show_fingerprints(dispatch(data, PrepareCertificate(wanted), pair_files(tls_certificate, tls_key)))


@certificate.command("switch", epilog=_epilog("certificate switch"))
@data_option
@tls_options
@one_line_errors
def switch_certificate(data: Path, tls_certificate: Path | None, tls_key: Path | None) -> None:
    """Show the next certificate from now on; connections made before live on.

    Who was not online since it was announced has to compare and accept it: wait until everybody was.
    """
    from clave_server.admin.dispatch import dispatch
    from clave_server.admin.requests import SwitchCertificate

    _show_fingerprints(dispatch(data, SwitchCertificate(), pair_files(tls_certificate, tls_key)))


def _show_fingerprints(told: Fingerprints) -> None:
    following = told.following or "none; to announce one: clave-relay certificate next"
    click.echo(_table([("present", told.present), ("next", following)]), nl=False)


@click.command(epilog=_epilog("backup /var/backups/clave-$(date +%F).tar"))
@data_option
@click.argument("file", type=FilePath())
@one_line_errors
def backup(data: Path, file: Path) -> None:
    """Write database and keys to one new FILE, whether the relay runs or not.

    Whoever has the file can pose as this relay. To restore: tar -xpf FILE -C a new folder of mode 700.
    """
    from clave_server.admin.backup import back_up
    from clave_server.admin.status import render_size
    from clave_wire.text import sanitize

    size = back_up(data, file)
    click.echo(f"{sanitize(str(file))}: {render_size(size)}, checked")


@click.command(epilog=_epilog("prune --retain-days 90"))
@data_option
@retention_options
@click.option("--confirm-clock", is_flag=True, help="Believe the clock, which jumped; you have looked at it.")
@one_line_errors
def prune(data: Path, retain_days: int, retain_bytes: int, confirm_clock: bool) -> None:
    """Delete old entries now; without a limit here, by those the running relay has.

    Members who had not read what is deleted are told that it is no longer kept. Refused while the clock is
    doubted, as it would decide what is old.
    """
    from clave_server.admin.dispatch import dispatch
    from clave_server.admin.requests import Prune
    from clave_server.admin.status import render_size

    deleted = dispatch(data, Prune(retain_days, retain_bytes, confirm_clock))
    click.echo(f"deleted: {deleted.entries} entries, {render_size(deleted.size)}")


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines of aligned, sanitized cells."""
    from clave_wire.text import sanitize

    rows = [[sanitize(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(line.rstrip() + "\n" for line in lines)


ALL: Final = (check, status, top, token, account, ban, unban, certificate, backup, prune)

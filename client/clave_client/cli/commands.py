"""The subcommands of `clave` with their options and exit statuses. Knows no protocol.

Whatever a command runs is imported there, so that `--help` and completion need not wait for it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

import click

from clave_client.errors import ClientError, UsageError

if TYPE_CHECKING:
    from clave_client.client import Client
    from clave_client.store.profile import Profile

__all__ = ["main"]

P = ParamSpec("P")


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: clave chat --relay chat.example.org:7878 --name red",
)
@click.version_option(package_name="clave", prog_name="clave")
def main() -> None:
    """End-to-end encrypted group chat for the terminal."""


@dataclass(frozen=True)
class _ProfileOptions:
    """Which profile to open, and where its passphrase comes from."""

    name: str | None
    home: Path | None
    passphrase_file: Path | None

    @asynccontextmanager
    async def connect(
        self,
        relay: str | None = None,
        *,
        pin: bytes | None = None,
        token: str = "",
        new_passphrase: bool = False,
    ) -> AsyncIterator[Client]:
        """Open the profile and connect; afterwards delete a new profile whose name no relay knows."""
        from clave_client.client import Client

        with self.profile(new_passphrase=new_passphrase) as profile:
            client = Client(profile, relay, pin=pin, token=token)
            try:
                async with client:
                    yield client
            finally:
                if client.never_registered:
                    profile.discard()

    def profile(self, *, new_passphrase: bool = False) -> Profile:
        from clave_client.store.profile import Profile, default_home

        home = self.home or default_home()
        name = _only_profile(home) if self.name is None else self.name
        return Profile(home, name, ask=self._ask(), new_passphrase=new_passphrase)

    def _ask(self) -> Callable[[], str] | None:
        if self.passphrase_file is not None:
            path = self.passphrase_file
            return lambda: _first_line(path)
        if sys.stdin is not None and sys.stdin.isatty():
            return lambda: str(click.prompt("passphrase", hide_input=True, err=True))
        return None


def _with_profile(command: Callable[P, None]) -> Callable[P, None]:
    """Add the options that select the profile."""
    for option in (
        click.option(
            "--passphrase-file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Read the profile's passphrase from this file's first line.",
        ),
        click.option(
            "--home",
            envvar="CLAVE_HOME",
            type=click.Path(file_okay=False, path_type=Path),
            help="Where profiles are kept (or CLAVE_HOME).",
        ),
        click.option(
            "--name",
            envvar="CLAVE_NAME",
            help="Who you are: the profile, and the name it registers (or CLAVE_NAME).",
        ),
    ):
        command = option(command)
    return command


@main.command(epilog="Example: clave chat --relay chat.example.org:7878 --name red")
@_with_profile
@click.option("--relay", metavar="HOST:PORT", help="The relay; remembered after the first time.")
@click.option("--pin", help="The relay's fingerprint: insist on it, or accept a new one.")
@click.option(
    "--token-file", type=click.Path(dir_okay=False, path_type=Path), help="A token to register with."
)
@click.option("--passphrase", is_flag=True, help="Protect a new profile with a passphrase.")
@click.option("--room", help="The room to talk in, by title or id.")
def chat(
    name: str | None,
    home: Path | None,
    passphrase_file: Path | None,
    relay: str | None,
    pin: str | None,
    token_file: Path | None,
    room: str | None,
    *,
    passphrase: bool,
) -> None:
    """Talk. The first run makes the profile and registers the name."""
    from clave_client.ui.line_mode import run_line_mode

    async def work() -> None:
        token = _first_line(token_file) if token_file else ""
        options = _ProfileOptions(name, home, passphrase_file)
        async with options.connect(relay, pin=_pin(pin), token=token, new_passphrase=passphrase) as client:
            await run_line_mode(client, client.find_room(room) if room else None)

    _run(work)


@main.command(epilog='Example: clave send friends "build is green"    or: tail -f log | clave send friends -')
@_with_profile
@click.argument("room")
@click.argument("text")
def send(name: str | None, home: Path | None, passphrase_file: Path | None, room: str, text: str) -> None:
    """Say TEXT in ROOM; with - say each line of standard input."""
    from clave_client.ui.pipes import send_lines, send_message

    async def work() -> None:
        async with _ProfileOptions(name, home, passphrase_file).connect() as client:
            target = client.find_room(room)
            if text == "-":
                await send_lines(client, target, sys.stdin)
            else:
                await send_message(client, target, text)

    _run(work)


@main.command(epilog="Example: clave tail friends --json | jq -r .text")
@_with_profile
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="Earlier messages to show first.",
)
@click.argument("room")
def tail(
    name: str | None,
    home: Path | None,
    passphrase_file: Path | None,
    lines: int,
    room: str,
    *,
    as_json: bool,
) -> None:
    """Show what is said in ROOM, until interrupted."""
    from clave_client.ui.pipes import follow

    async def work() -> None:
        async with _ProfileOptions(name, home, passphrase_file).connect() as client:
            await follow(client, client.find_room(room), earlier=lines, as_json=as_json)

    _run(work)


@main.command(epilog="Example: clave info friends")
@_with_profile
@click.argument("room", required=False)
def info(name: str | None, home: Path | None, passphrase_file: Path | None, room: str | None) -> None:
    """Show how your rooms are encrypted.

    With ROOM only that one; without, also who you are and which relay is pinned. Works offline.
    """
    from clave_client.client import Client
    from clave_client.ui.pipes import describe

    async def work() -> None:
        with _ProfileOptions(name, home, passphrase_file).profile() as profile:
            client = Client(profile)
            try:
                client.open()
                await describe(client, client.find_room(room) if room else None)
            finally:
                await client.close()
                if client.never_registered:
                    profile.discard()

    _run(work)


@main.command(epilog="Example: clave demo")
def demo() -> None:
    """Show a real relay and three clients: the chat beside what the relay saw."""
    from clave_client.ui.demo import run_demo

    _run(run_demo)


def _run(work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run `work` to its end.

    A `ClientError` prints one line and exits with its status, Ctrl-C exits with 130, a closed pipe with 0.
    """
    import asyncio

    from clave_client.ui.hints import error_text
    from clave_wire.text import sanitize

    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 (stands in for a closed stdin until exit)
    try:
        asyncio.run(work())
    except ClientError as error:
        click.echo(f"clave: {sanitize(error_text(error))}", err=True)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        # Keep the interpreter from flushing into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        click.echo(f"clave: {error.strerror or error}; nothing more could be read or written", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _only_profile(home: Path) -> str:
    from clave_client.store.profile import profile_names

    names = profile_names(home)
    if len(names) == 1:
        return names[0]
    if names:
        raise UsageError(f"say who you are with --name: {', '.join(names)}")
    raise UsageError("there is no profile yet; start with: clave chat --relay HOST:PORT --name NAME")


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"cannot read {path}: {reason}") from None


def _pin(text: str | None) -> bytes | None:
    if text is None:
        return None
    digits = "".join(text.split()).replace(":", "")
    try:
        pin = bytes.fromhex(digits)
    except ValueError:
        pin = b""
    if len(pin) != 32:
        raise UsageError("--pin takes the fingerprint that the relay printed: 64 hexadecimal digits")
    return pin

"""The subcommands of `clave` with their options. Knows no protocol.

Whatever a command runs is imported there, so that `--help` and completion need not wait for it.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Literal

import click

from clave_client.cli.defects import Program
from clave_client.cli.exit_status import EXIT_STATUSES, exits, run
from clave_client.cli.profile_options import (
    NewProfile,
    ProfileOptions,
    first_line,
    json_option,
    profile_options,
)
from clave_client.errors import UsageError

__all__ = ["main"]

_MAX_WAIT_SECONDS = 3600.0
_MAX_KEY_CHARACTERS = 80
_MAX_CONSUMER_CHARACTERS = 60
"""Shorter than those of the RPC, as a line's number or the room's id is appended."""


@click.group(
    cls=Program,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExit status:\n"
    + "\n".join(f"{number:>5}  {text}" for number, text in EXIT_STATUSES.items())
    + "\n\nExample: clave chat --relay chat.example.org:7878 --name red",
)
@click.version_option(package_name="clave", prog_name="clave")
@click.option("--line", is_flag=True, help="Talk line by line, as screen readers and pipes need it.")
@click.pass_context
def main(context: click.Context, *, line: bool) -> None:
    """End-to-end encrypted group chat for the terminal.

    Without a command it opens the whole screen, or where the terminal cannot show that, talks line by line.
    """
    if context.invoked_subcommand is None:
        from clave_client.cli.opening import open_clave

        open_clave(context, line=line)
    elif line:
        raise click.UsageError("--line is for clave without a command; clave chat talks line by line")


@main.command(epilog="Example: clave chat --relay chat.example.org:7878 --name red")
@profile_options
@click.option("--relay", metavar="HOST:PORT", help="The relay; remembered after the first time.")
@click.option(
    "--proxy",
    metavar="URL",
    help="Reach the relay by this SOCKS5 proxy, or by none; remembered. Else by ALL_PROXY, which also hides"
    " a password from others on this machine.",
)
@click.option("--pin", help="The relay's fingerprint: insist on it, or accept a new one.")
@click.option(
    "--token-file", type=click.Path(dir_okay=False, path_type=Path), help="A token to register with."
)
@click.option("--passphrase", is_flag=True, help="Protect a new profile with a passphrase.")
@click.option("--device", default="", metavar="NAME", help="What a new profile's device is called (main).")
@click.option("--room", help="The room to talk in, by title or id; else the last one.")
@click.option(
    "--alert",
    type=click.Choice(["off", "bell", "desktop", "content"]),
    default="bell",
    show_default=True,
    help="What tells of messages; desktop notifications say what was said only with content.",
)
@click.option(
    "--screen", is_flag=True, help="Use the whole terminal. Screen readers read the lines without it."
)
def chat(
    options: ProfileOptions,
    relay: str | None,
    proxy: str | None,
    pin: str | None,
    token_file: Path | None,
    device: str,
    room: str | None,
    alert: Literal["off", "bell", "desktop", "content"],
    *,
    passphrase: bool,
    screen: bool,
) -> None:
    """Talk. The first run makes the profile and registers the name."""
    if screen and alert not in ("off", "bell"):
        raise click.UsageError("--screen has no desktop notifications: give --alert bell or off")

    async def work() -> int:
        token = first_line(token_file).strip() if token_file else ""
        from clave_client.store.folders import default_home
        from clave_client.ui.terminal.usable import is_usable

        new = NewProfile(relay, _pin(pin), token, passphrase, device, proxy)
        if screen:
            if not is_usable():
                raise UsageError("--screen takes a terminal; without it clave chat reads and prints lines")
            from clave_client.tui.running import run_screen

            return await run_screen(
                functools.partial(options.session, new),
                room,
                home=options.home or default_home(),
                rings=alert != "off",
                must_own=proxy is not None,
            )
        from clave_client.ui.line_mode import run_line_mode

        return await run_line_mode(
            functools.partial(options.session, new), room, alert, must_own=proxy is not None
        )

    run(work)


@main.command(epilog="Example: clave send friends build is green    or: tail -f log | clave send friends -")
@profile_options
@click.option(
    "--wait",
    type=click.FloatRange(0, _MAX_WAIT_SECONDS),
    callback=lambda _context, _option, seconds: seconds if seconds == seconds else 0.0,  # not a number
    default=30.0,
    show_default=True,
    help="Seconds to wait for the relay; then the message stays in the outbox.",
)
@click.option("--id", "key", help="A name of this message: given again, it is not sent again.")
@click.option(
    "--expires", metavar="TIME", default="", help="It disappears that long after it was read (1h, 7d)."
)
@json_option
@click.argument("room")
@click.argument("text", nargs=-1, required=True)
def send(
    options: ProfileOptions,
    wait: float,
    key: str | None,
    expires: str,
    room: str,
    text: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Say TEXT in ROOM; with - say each line of standard input."""
    words = " ".join(text).encode(errors="replace").decode()
    key = os.urandom(16).hex() if key is None else _name_of(key, "--id", _MAX_KEY_CHARACTERS)
    after = _duration(expires)
    with exits():
        if words != "-" and not after and _send_by_owner(options, room, words, wait, key, as_json=as_json):
            return

    async def work() -> None:
        from clave_client.ui.sending import Sender

        async with options.session() as session:
            sender = Sender(session, room=room, wait=wait, key=key, expires=after, as_json=as_json)
            await (sender.send_lines(sys.stdin.fileno()) if words == "-" else sender.send(words))

    run(work)


def _send_by_owner(
    options: ProfileOptions, room: str, text: str, wait: float, key: str, *, as_json: bool
) -> bool:
    """Send through a process that owns the profile already; return False if that takes a session."""
    from clave_client.rpc.blocking import send_by_owner

    done = send_by_owner(options.folder, room=room, text=text, wait=wait, key=key)
    if done is None:
        return False
    if as_json or not done.result["seq"]:
        from clave_client.ui.sending import report_sent

        report_sent(done, as_json=as_json)
    return True


@main.command(epilog="Example: clave tail friends --json | jq -r .text")
@profile_options
@json_option
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0),
    show_default="10",
    help="Earlier messages to show first.",
)
@click.option(
    "--after", type=click.IntRange(0, 2**62), metavar="SEQ", help="Show all messages after this one first."
)
@click.option("--consumer", metavar="NAME", help="Go on where the last tail of this name stopped.")
@click.argument("room")
def tail(
    options: ProfileOptions,
    lines: int | None,
    after: int | None,
    consumer: str | None,
    room: str,
    *,
    as_json: bool,
) -> None:
    """Show what is said in ROOM, until interrupted."""
    if consumer is not None and (after is not None or lines is not None):
        raise click.UsageError("--consumer goes on where it was; leave --lines and --after out")
    name = "" if consumer is None else _name_of(consumer, "--consumer", _MAX_CONSUMER_CHARACTERS)

    async def work() -> None:
        from clave_client.ui.tailing import Tail

        async with options.session() as session:
            following = Tail(session, room=room, as_json=as_json, consumer=name)
            await following.follow(earlier=10 if lines is None else min(lines, 1000), after=after)

    run(work)


@main.command(epilog="Example: clave rooms --json | jq 'select(.unread > 0).title'")
@profile_options
@json_option
@click.option("--all", "archived", is_flag=True, help="Archived ones too.")
def rooms(options: ProfileOptions, *, archived: bool, as_json: bool) -> None:
    """List your rooms, and how much is new in each."""

    async def work() -> None:
        from clave_client.ui.reports import print_rooms

        async with options.session() as session:
            await print_rooms(session, archived=archived, as_json=as_json)

    run(work)


@main.command(epilog="Example: clave info friends")
@profile_options
@json_option
@click.argument("room", required=False)
def info(options: ProfileOptions, room: str | None, *, as_json: bool) -> None:
    """Show how your rooms are encrypted.

    With ROOM only that one; without, also who you are and which relay is pinned. Works offline.
    """

    async def work() -> None:
        from clave_client.ui.reports import print_info

        async with options.session() as session:
            await print_info(session, room, as_json=as_json)

    run(work)


@main.command(epilog="Example: clave daemon --name red")
@profile_options
def daemon(options: ProfileOptions) -> None:
    """Keep the profile open without a screen, until SIGTERM; other commands attach to it."""

    async def work() -> None:
        from clave_client.ui.background import run_daemon

        await run_daemon(options.session)

    run(work)


@main.command(epilog="""Example: echo '{"jsonrpc":"2.0","id":1,"method":"rooms.list"}' | clave rpc""")
@profile_options
def rpc(options: ProfileOptions) -> None:
    """Speak JSON-RPC 2.0 on standard input and output, one JSON text a line; see docs/rpc.md."""

    async def work() -> None:
        from clave_client.ui.background import run_bridge

        await run_bridge(options.session)

    run(work)


@main.command(epilog="Example: clave demo")
def demo() -> None:
    """Show a real relay and three clients: the chat beside what the relay saw.

    Piped, or with TERM=dumb, it prints lines.
    """

    async def work() -> None:
        from clave_client.ui.terminal.usable import is_usable

        if is_usable():
            from clave_client.tui.demo import run_demo_screen

            await run_demo_screen()
        else:
            from clave_client.ui.demo import run_demo

            await run_demo()

    run(work)


def _name_of(text: str, option: str, most: int) -> str:
    """Return the value of an option that names something. Raises a usage error."""
    if not 0 < len(text) <= most:
        raise click.BadParameter(f"has 1 to {most} characters", param_hint=option)
    return text


def _duration(text: str) -> int:
    """Return the seconds of --expires, 0 for none. Raises a usage error."""
    if not text:
        return 0
    from clave_client.formats.durations import parse_duration

    seconds = parse_duration(text)
    if not seconds:
        raise click.BadParameter("say how long, as in 30s, 10m, 8h, 7d", param_hint="--expires")
    return seconds


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

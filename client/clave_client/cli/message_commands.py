"""The subcommands of `clave` about messages. Knows no protocol.

A message is named by its number, which `clave show` and --json tell, or by "last". Whatever a command runs is
imported there, so that `--help` and completion need not wait for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from clave_client.cli.exit_status import run
from clave_client.cli.profile_options import ProfileOptions, json_option, profile_options

if TYPE_CHECKING:
    from clave_client.rpc.method_base import Change
    from clave_client.rpc.values import SendResult

__all__ = ["ALL", "text_of"]

_MAX_WAIT_SECONDS: Final = 3600.0

_MOST_READ: Final = 1024 * 1024
"""Most bytes read of a text: more than a message can have."""

_wait_option = click.option(
    "--wait",
    type=click.FloatRange(0, _MAX_WAIT_SECONDS),
    callback=lambda _context, _option, seconds: seconds if seconds == seconds else 0.0,  # not a number
    default=30.0,
    show_default=True,
    help="Seconds to wait for the relay; then it goes out later.",
)


def text_of(words: tuple[str, ...]) -> str:
    """Return what was given, or with - what standard input has, without newlines at its end."""
    text = " ".join(words)
    return sys.stdin.buffer.read(_MOST_READ).decode(errors="replace").rstrip("\n") if text == "-" else text


def _change(
    options: ProfileOptions, room: str, *, as_json: bool, make: Callable[[str], Change[SendResult]]
) -> None:
    """Have a change of a message made and tell what became of it; `make` gets a key for it."""

    async def work() -> None:
        from clave_client.ui.sending import make_change

        async with options.session() as session:
            await make_change(session, room, make(os.urandom(16).hex()), as_json=as_json)

    run(work)


@click.command(epilog="Example: clave reply friends 12 I will be there")
@profile_options
@_wait_option
@json_option
@click.argument("room")
@click.argument("message")
@click.argument("text", nargs=-1, required=True)
def reply(
    options: ProfileOptions, wait: float, room: str, message: str, text: tuple[str, ...], *, as_json: bool
) -> None:
    """Answer MESSAGE of ROOM, a number or "last", with TEXT; with - with standard input."""
    from clave_client.rpc import methods as m

    words = text_of(text)
    _change(
        options,
        room,
        as_json=as_json,
        make=lambda key: m.Send(room=room, text=words, reply_to=message, wait=wait, key=key),
    )


@click.command(epilog="Example: clave edit friends last see you at nine")
@profile_options
@_wait_option
@json_option
@click.argument("room")
@click.argument("message")
@click.argument("text", nargs=-1, required=True)
def edit(
    options: ProfileOptions, wait: float, room: str, message: str, text: tuple[str, ...], *, as_json: bool
) -> None:
    """Give your own MESSAGE of ROOM, a number or "last", another TEXT; with - standard input."""
    from clave_client.rpc import methods as m

    words = text_of(text)
    _change(
        options,
        room,
        as_json=as_json,
        make=lambda key: m.Edit(room=room, text=words, message=message, wait=wait, key=key),
    )


@click.command(epilog="Example: clave delete friends 12    or: clave delete friends 12 --here-only")
@profile_options
@_wait_option
@json_option
@click.option("--here-only", is_flag=True, help="Delete it on this device only, whose ever it is.")
@click.argument("room")
@click.argument("message")
def delete(
    options: ProfileOptions, wait: float, room: str, message: str, *, here_only: bool, as_json: bool
) -> None:
    """Delete your own MESSAGE of ROOM, a number or "last", for all; as an admin, anybody's."""
    from clave_client.rpc import methods as m

    _change(
        options,
        room,
        as_json=as_json,
        make=lambda key: m.DeleteMessage(room=room, message=message, here_only=here_only, wait=wait, key=key),
    )


@click.command(epilog="Example: clave react friends last :tada:")
@profile_options
@_wait_option
@json_option
@click.argument("room")
@click.argument("message")
@click.argument("emoji")
def react(
    options: ProfileOptions, wait: float, room: str, message: str, emoji: str, *, as_json: bool
) -> None:
    """React to MESSAGE of ROOM, a number or "last", with EMOJI: one, its :name:, or a few letters."""
    from clave_client.rpc import methods as m
    from clave_client.ui.message_commands import reaction_of

    _change(
        options,
        room,
        as_json=as_json,
        make=lambda key: m.React(room=room, reaction=reaction_of(emoji), message=message, wait=wait, key=key),
    )


@click.command(epilog="Example: clave unreact friends last")
@profile_options
@_wait_option
@json_option
@click.argument("room")
@click.argument("message")
@click.argument("emoji", required=False, default="")
def unreact(
    options: ProfileOptions, wait: float, room: str, message: str, emoji: str, *, as_json: bool
) -> None:
    """Take back your reaction to MESSAGE of ROOM; with several, say which EMOJI."""
    from clave_client.rpc import methods as m
    from clave_client.ui.message_commands import reaction_of

    _change(
        options,
        room,
        as_json=as_json,
        make=lambda key: m.Unreact(
            room=room, reaction=reaction_of(emoji) if emoji else "", message=message, wait=wait, key=key
        ),
    )


@click.command(epilog="Example: clave show friends 12    or: clave show friends last --bare")
@profile_options
@json_option
@click.option("--bare", is_flag=True, help="Print its text only, as it is to be copied.")
@click.argument("room")
@click.argument("message")
def show(options: ProfileOptions, room: str, message: str, *, bare: bool, as_json: bool) -> None:
    """Show all about MESSAGE of ROOM: times, versions, reactions, receipts, and its text."""
    if bare and as_json:
        raise click.UsageError("--bare and --json exclude each other")

    async def work() -> None:
        from clave_client.ui.reports import print_message

        async with options.session() as session:
            await print_message(session, room, message, bare=bare, as_json=as_json)

    run(work)


@click.command(epilog="Example: clave export friends --format md > friends.md")
@profile_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["md", "json"]),
    default="md",
    show_default=True,
    help="Markdown to read, or one JSON object a line.",
)
@click.argument("room")
def export(options: ProfileOptions, form: Literal["md", "json"], room: str) -> None:
    """Print all messages of ROOM that this device has, oldest first."""

    async def work() -> None:
        from clave_client.ui.exporting import export_room

        async with options.session() as session:
            await export_room(session, room, as_json=form == "json")

    run(work)


ALL: Final[tuple[Any, ...]] = (reply, edit, delete, react, unreact, show, export)
"""The commands of this module."""

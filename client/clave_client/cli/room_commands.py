"""The subcommands of `clave` about rooms and people. Knows no protocol.

Whatever a command runs is imported there, so that `--help` and completion need not wait for it.
"""

from __future__ import annotations

import os
from typing import Any, Final

import click

from clave_client.cli.exit_status import run
from clave_client.cli.message_commands import text_of
from clave_client.cli.profile_options import ProfileOptions, json_option, profile_options

__all__ = ["ALL"]


@click.command(epilog="Example: clave dm blue    or: clave dm blue see you at nine")
@profile_options
@json_option
@click.argument("person", metavar="NAME")
@click.argument("text", nargs=-1)
def dm(options: ProfileOptions, person: str, text: tuple[str, ...], *, as_json: bool) -> None:
    """Find or open the room between you and NAME, and say TEXT there; with your own name, your notes.

    - as TEXT takes what standard input has.
    """
    words = text_of(text)

    async def work() -> None:
        from clave_client.ui.room_work import open_direct

        async with options.session() as session:
            await open_direct(session, person, words, os.urandom(16).hex(), as_json=as_json)

    run(work)


@click.command(epilog="Example: clave disappear friends 1d    or: clave disappear friends off")
@profile_options
@json_option
@click.argument("room")
@click.argument("after", metavar="[TIME|off]", required=False, default="")
def disappear(options: ProfileOptions, room: str, after: str, *, as_json: bool) -> None:
    """Have new messages of ROOM disappear some TIME (30s, 10m, 8h, 7d) after they were read, or say when."""

    async def work() -> None:
        from clave_client.ui.room_work import set_expiry

        async with options.session() as session:
            await set_expiry(session, room, after, os.urandom(16).hex(), as_json=as_json)

    run(work)


@click.command(epilog="Example: clave receipts friends on")
@profile_options
@json_option
@click.argument("room")
@click.argument("state", type=click.Choice(["on", "off"]))
def receipts(options: ProfileOptions, room: str, state: str, *, as_json: bool) -> None:
    """Tell the others of ROOM what you have read, or do not (the default)."""

    async def work() -> None:
        from clave_client.ui.room_work import set_receipts

        async with options.session() as session:
            await set_receipts(session, room, on=state == "on", as_json=as_json)

    run(work)


@click.command(epilog="Example: clave block blue    or: clave block")
@profile_options
@json_option
@click.argument("person", metavar="[NAME]", required=False, default="")
def block(options: ProfileOptions, person: str, *, as_json: bool) -> None:
    """See nothing of NAME any more, and refuse their invitations; without NAME list who is blocked."""

    async def work() -> None:
        from clave_client.ui.room_work import block_person

        async with options.session() as session:
            await block_person(session, person, as_json=as_json)

    run(work)


@click.command(epilog="Example: clave unblock blue")
@profile_options
@json_option
@click.argument("person", metavar="NAME")
def unblock(options: ProfileOptions, person: str, *, as_json: bool) -> None:
    """See what NAME says again, also what was said meanwhile."""

    async def work() -> None:
        from clave_client.ui.room_work import unblock_person

        async with options.session() as session:
            await unblock_person(session, person, as_json=as_json)

    run(work)


@click.command(epilog="Example: clave archive friends    or: clave archive friends --undo")
@profile_options
@json_option
@click.option("--undo", is_flag=True, help="Take it into the list again.")
@click.argument("room")
def archive(options: ProfileOptions, room: str, *, undo: bool, as_json: bool) -> None:
    """Leave ROOM out of lists until somebody says something there."""

    async def work() -> None:
        from clave_client.ui.room_work import archive_room

        async with options.session() as session:
            await archive_room(session, room, archived=not undo, as_json=as_json)

    run(work)


@click.command(epilog="Example: clave draft friends    or: clave draft friends not sent yet")
@profile_options
@json_option
@click.argument("room")
@click.argument("text", nargs=-1)
def draft(options: ProfileOptions, room: str, text: tuple[str, ...], *, as_json: bool) -> None:
    """Print what was typed in ROOM and not sent, or keep TEXT as that; "" deletes it.

    - as TEXT takes what standard input has.
    """
    words = text_of(text)

    async def work() -> None:
        from clave_client.ui.room_work import keep_draft

        async with options.session() as session:
            await keep_draft(session, room, words if text else None, as_json=as_json)

    run(work)


ALL: Final[tuple[Any, ...]] = (dm, disappear, receipts, block, unblock, archive, draft)
"""The commands of this module."""

"""The subcommands of `clave` about roles in a room. Knows no protocol.

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


@click.command(epilog="Example: clave role friends blue admin")
@profile_options
@json_option
@click.argument("room")
@click.argument("person", metavar="NAME")
@click.argument(
    "wanted", metavar="owner|admin|member|guest", type=click.Choice(["owner", "admin", "member", "guest"])
)
def role(options: ProfileOptions, room: str, person: str, wanted: str, *, as_json: bool) -> None:
    """Make NAME an owner, an admin, a member or a guest of ROOM; guests only read."""

    async def work() -> None:
        from clave_client.ui.role_work import set_role

        async with options.session() as session:
            await set_role(session, room, person, wanted, os.urandom(16).hex(), as_json=as_json)

    run(work)


@click.command(epilog="Example: clave policy friends add admin    or: clave policy friends")
@profile_options
@json_option
@click.argument("room")
@click.argument(
    "action",
    required=False,
    default="",
    type=click.Choice(["", "add", "remove", "edit", "link", "pin"]),
    metavar="[add|remove|edit|link|pin]",
)
@click.argument(
    "needed",
    required=False,
    default="",
    type=click.Choice(["", "owner", "admin", "member"]),
    metavar="[owner|admin|member]",
)
def policy(options: ProfileOptions, room: str, action: str, needed: str, *, as_json: bool) -> None:
    """Say which role it takes in ROOM to add or remove people, edit the room, link or pin, or show it."""

    async def work() -> None:
        from clave_client.ui.role_work import set_policy

        async with options.session() as session:
            await set_policy(session, room, action, needed, os.urandom(16).hex(), as_json=as_json)

    run(work)


@click.command(epilog="Example: clave topic friends where to meet    or: clave topic friends")
@profile_options
@json_option
@click.argument("room")
@click.argument("text", nargs=-1)
def topic(options: ProfileOptions, room: str, text: tuple[str, ...], *, as_json: bool) -> None:
    """Say what ROOM is about, or print it; "" says nothing."""
    words = text_of(text)

    async def work() -> None:
        from clave_client.ui.role_work import set_topic

        async with options.session() as session:
            wanted = words if text else None
            await set_topic(session, room, wanted, os.urandom(16).hex(), as_json=as_json)

    run(work)


@click.command(epilog="Example: clave pin friends 12    or: clave pin friends")
@profile_options
@json_option
@click.argument("room")
@click.argument("message", metavar="[MESSAGE]", required=False, default="")
def pin(options: ProfileOptions, room: str, message: str, *, as_json: bool) -> None:
    """Pin MESSAGE of ROOM, a number or "last", for all members; without it print those that are pinned."""

    async def work() -> None:
        from clave_client.ui import role_work

        async with options.session() as session:
            await role_work.pin(session, room, message, os.urandom(16).hex(), as_json=as_json)

    run(work)


@click.command(epilog="Example: clave unpin friends 12")
@profile_options
@json_option
@click.argument("room")
@click.argument("message", required=False, default="last")
def unpin(options: ProfileOptions, room: str, message: str, *, as_json: bool) -> None:
    """Take the pin of MESSAGE of ROOM away; without it, of the last one that is pinned."""

    async def work() -> None:
        from clave_client.ui import role_work

        async with options.session() as session:
            await role_work.unpin(session, room, message, os.urandom(16).hex(), as_json=as_json)

    run(work)


@click.command(epilog="Example: clave ban friends green    or: clave ban friends")
@profile_options
@json_option
@click.argument("room")
@click.argument("person", metavar="[NAME]", required=False, default="")
def ban(options: ProfileOptions, room: str, person: str, *, as_json: bool) -> None:
    """Remove NAME from ROOM and have nobody add them again; without NAME list who is banned."""

    async def work() -> None:
        from clave_client.ui import role_work

        async with options.session() as session:
            await role_work.ban(session, room, person, os.urandom(16).hex(), as_json=as_json)

    run(work)


@click.command(epilog="Example: clave unban friends green")
@profile_options
@json_option
@click.argument("room")
@click.argument("person", metavar="NAME")
def unban(options: ProfileOptions, room: str, person: str, *, as_json: bool) -> None:
    """Let NAME, or the account with that fingerprint, be invited to ROOM again."""

    async def work() -> None:
        from clave_client.ui import role_work

        async with options.session() as session:
            await role_work.unban(session, room, person, os.urandom(16).hex(), as_json=as_json)

    run(work)


ALL: Final[tuple[Any, ...]] = (role, policy, topic, pin, unpin, ban, unban)
"""The commands of this module."""

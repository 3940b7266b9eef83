"""`clave` without a command: the full screen where the terminal can show it, else line by line.

Knows no protocol. What it runs is imported there, so that `--help` and completion need not wait for it.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

import click

from clave_client.cli.exit_status import exits, run
from clave_client.cli.link_commands import join_first
from clave_client.cli.profile_options import NewProfile, ProfileOptions
from clave_client.errors import ClientError, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from clave_client.rpc.session import Session
    from clave_client.tui.first_run import Answers

__all__ = ["open_clave"]


def open_clave(context: click.Context, *, line: bool) -> None:
    """Talk in the profile there is; without one, ask on the screen who one is. Exits."""
    from clave_client.store.folders import default_home, profile_names
    from clave_client.ui.terminal.usable import is_usable

    with exits():
        home = default_home()
        names = profile_names(home)
    name = os.environ.get("CLAVE_NAME") or (names[0] if len(names) == 1 else None)
    on_screen = is_usable() and not line
    if not on_screen and name is None and not names:
        click.echo(context.get_help())
        context.exit(2)
    if not on_screen and name is None:
        with exits():
            known = " or ".join(f"clave chat --name {each}" for each in names)
            raise UsageError(f"say who you are: {known}; or set CLAVE_NAME")
    run(functools.partial(_talk, home, names, name, on_screen=on_screen))


async def _talk(home: Path, names: list[str], name: str | None, *, on_screen: bool) -> int:
    if not on_screen:
        from clave_client.ui.line_mode import run_line_mode

        options = ProfileOptions(name, home, None)
        return await run_line_mode(functools.partial(options.session, NewProfile()), None, "bell")
    from clave_client.tui.running import run_screen

    if name is not None and name in names:
        options = ProfileOptions(name, home, None)
        return await run_screen(functools.partial(options.session, NewProfile()), None, home=home)
    return await _begin(home, names, name or "")


async def _begin(home: Path, names: list[str], name: str) -> int:
    """Ask who one is until that works: a profile there is, or a new one at a relay or by a link."""
    from clave_client.store.folders import profile_names
    from clave_client.tui.first_run import Answers, ask_first
    from clave_client.tui.running import run_screen
    from clave_client.ui.hints import error_text

    answers, problem = Answers(name), ""
    while True:
        found = await ask_first(home, names, answers, problem)
        if found is None:
            return 0
        answers = found
        try:
            new, room = _new_profile(answers)
            options = ProfileOptions(answers.name, home, None)
            return await run_screen(functools.partial(options.session, new), room, home=home)
        except ClientError as error:
            if answers.name in profile_names(home):
                raise  # it is made: what fails now is no question of who one is
            problem = error_text(error)


def _new_profile(answers: Answers) -> tuple[NewProfile, Callable[[Session], Awaitable[str]] | None]:
    """Return what registers a profile, and what joins the first room, if a link was given."""
    if not answers.relay:
        return NewProfile(), None
    if "://" not in answers.relay:
        return NewProfile(answers.relay), None
    from clave_client.net.join_link import JoinLink

    link = JoinLink.parse(answers.relay)
    new = NewProfile(relay=str(link.address), link_pin=link.pin)
    return new, functools.partial(join_first, link, os.urandom(16).hex())

"""The options that select a profile, and the session they open. Knows no command."""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from clave_client.cli.defects import note_folder
from clave_client.errors import PassphraseNeeded, ProfileError, ProfileOfOther, UsageError, WrongPassphrase

if TYPE_CHECKING:
    from clave_client.client import Client
    from clave_client.rpc.session import Session
    from clave_client.store.profile import Profile

__all__ = [
    "TRIES",
    "NewProfile",
    "ProfileOptions",
    "Prompt",
    "first_line",
    "home_option",
    "json_option",
    "profile_options",
    "try_often",
]

T = TypeVar("T")

_MOST_LINE_CHARACTERS = 4096
"""Most characters of a first line: a passphrase or a token."""

TRIES = 3
"""How often a passphrase is asked for on a terminal."""


class NewProfile(NamedTuple):
    """What only `clave chat` and `clave join` say: how a profile is registered, where its relay moved."""

    relay: str | None = None
    pin: bytes | None = None
    token: str = ""
    passphrase: bool = False
    device: str = ""
    proxy: str | None = None
    link_pin: bytes | None = None

    def __repr__(self) -> str:
        return "<NewProfile>"


class ProfileOptions(NamedTuple):
    """Which profile to use, and where its passphrase comes from."""

    name: str | None
    home: Path | None
    passphrase_file: Path | None

    @property
    def folder(self) -> Path:
        """The profile's folder. Raises `UsageError` when it is not clear which profile is meant."""
        from clave_client.store.folders import default_home, profile_folder

        home = self.home or default_home()
        return profile_folder(home, self.chosen_name(home))

    def chosen_name(self, home: Path) -> str:
        """Return the profile's name: the given one, or that of the only profile. Raises `UsageError`."""
        from clave_client.store.folders import profile_names

        if self.name is not None:
            return self.name
        names = profile_names(home)
        if len(names) == 1:
            return names[0]
        if names:
            raise UsageError(f"say who you are: {' or '.join(f'--name {name}' for name in names)}")
        raise UsageError("there is no profile yet; start with: clave chat --relay HOST:PORT --name NAME")

    def profile(self, new: NewProfile | None = None) -> Profile:
        """Return the profile, not opened yet."""
        from clave_client.store.folders import STORE_NAME, default_home, profile_folder
        from clave_client.store.profile import Profile
        from clave_client.store.profile_key import has_passphrase

        home = self.home or default_home()
        name = self.chosen_name(home)
        folder = profile_folder(home, name)
        note_folder(folder)
        try:
            is_new = not (folder / STORE_NAME).exists()
        except PermissionError:
            text = f"{folder} belongs to another user; run: chown -R $USER {folder}"
            raise ProfileOfOther(text) from None
        protect = self.passphrase_file is not None or (new is not None and new.passphrase)
        if self.passphrase_file is not None and not is_new and not has_passphrase(folder):
            raise UsageError(f"the profile {name} has no passphrase; leave --passphrase-file out")
        if new is not None and new.passphrase and not is_new and not has_passphrase(folder):
            raise UsageError(f"the profile {name} has no passphrase; set one with: clave passphrase set")
        profile = Profile(home, name, ask=self._ask(confirm=protect and is_new), new_passphrase=protect)
        if profile.is_unpaired:
            raise ProfileError("the pairing of this device broke off; run clave device join again")
        return profile

    def session(
        self,
        new: NewProfile | None = None,
        *,
        patient: bool = False,
        on_stall: Callable[[int], None] = lambda _: None,
        on_attached: Callable[[], None] = lambda: None,
        ask: Callable[[], Awaitable[str]] | None = None,
    ) -> Session:
        """Return a session of the profile, not opened yet."""
        from clave_client.rpc.session import Session

        return Session(
            self.profile(new),
            functools.partial(_make_client, new or NewProfile()),
            ask=ask if self.passphrase_file is None else None,
            tries=TRIES if self.passphrase_file is None else 1,
            patient=patient,
            on_stall=on_stall,
            on_attached=on_attached,
        )

    def _ask(self, *, confirm: bool) -> Callable[[], str] | None:
        if self.passphrase_file is not None:
            path = self.passphrase_file
            return lambda: first_line(path)
        if sys.stdin is not None and sys.stdin.isatty():
            return Prompt(confirm=confirm)
        return None


class Prompt:
    """Asks for a passphrase on the terminal, with `confirm` twice; called again, says that it was wrong."""

    def __init__(self, words: str = "passphrase", *, confirm: bool) -> None:
        self._words = words
        self._confirm = confirm
        self._asked = False

    def __call__(self) -> str:
        """Return what is typed."""
        text = f"wrong; {self._words}" if self._asked else self._words
        self._asked = True
        # Inside asyncio Ctrl-C would only cancel a task, which cannot end while the question is open.
        former = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return str(click.prompt(text, hide_input=True, confirmation_prompt=self._confirm, err=True))
        finally:
            signal.signal(signal.SIGINT, former)


def _make_client(new: NewProfile, profile: Profile) -> Client:
    from clave_client.client import Client

    # A link may name its relay otherwise than the profile, which met it before.
    relay = None if new.link_pin is not None and profile.has_store else new.relay
    return Client(
        profile,
        relay,
        proxy=new.proxy,
        pin=new.pin,
        link_pin=new.link_pin,
        token=new.token,
        device=new.device,
    )


def home_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add the option that says where profiles are kept; the command gets it as `home`."""
    return click.option(
        "--home",
        envvar="CLAVE_HOME",
        type=click.Path(file_okay=False, path_type=Path),
        help="Where profiles are kept (or CLAVE_HOME).",
    )(command)


def json_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add the option that asks for JSON; the command gets it as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")(command)


def profile_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select the profile; the command gets them as `options`."""

    @functools.wraps(command)
    def with_options(
        *args: Any, name: str | None, home: Path | None, passphrase_file: Path | None, **others: Any
    ) -> None:
        command(*args, options=ProfileOptions(name, home, passphrase_file), **others)

    decorated: Callable[..., None] = with_options
    for option in (
        click.option(
            "--passphrase-file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Read the profile's passphrase from this file's first line.",
        ),
        home_option,
        click.option(
            "--name",
            envvar="CLAVE_NAME",
            help="Who you are: the profile, and the name it registers (or CLAVE_NAME).",
        ),
    ):
        decorated = option(decorated)
    return decorated


def try_often(file: Path | None, attempt: Callable[[], T]) -> T:
    """Return what `attempt` does; a passphrase that is typed, not read from `file`, may be wrong twice."""
    for _ in range(TRIES - 1 if file is None else 0):
        try:
            return attempt()
        except PassphraseNeeded:
            raise
        except WrongPassphrase:
            continue  # the next question says so
    return attempt()


def first_line(path: Path) -> str:
    """Return a file's first line, without the mark that some editors put first. Raises `UsageError`."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            line = file.readline(_MOST_LINE_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"cannot read {path}: {reason}") from None
    if len(line) > _MOST_LINE_CHARACTERS:
        raise UsageError(f"the first line of {path} has more than {_MOST_LINE_CHARACTERS} characters")
    return line.rstrip("\r\n")

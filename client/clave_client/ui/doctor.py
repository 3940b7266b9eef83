"""`clave doctor`: looks at everything that a profile needs, and says of each what to do. Changes nothing.

Knows no options.
"""

from __future__ import annotations

import locale
import os
import shutil
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from clave_client.errors import ClientError, ProfileError
from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.store.file_systems import network_file_system
from clave_client.store.folders import KEY_NAME, STORE_NAME
from clave_client.store.profile import make_private
from clave_client.store.profile_key import has_passphrase
from clave_client.sync.clock_check import CLOCK_TOLERANCE, difference_words
from clave_client.ui.hints import error_text
from clave_client.ui.warnings import print_out
from clave_wire.text import sanitize

__all__ = ["Finding", "look_at_account", "look_at_machine", "run_doctor"]

_LITTLE_SPACE: Final = 100 * 1024 * 1024
_NO_SPACE: Final = 1024 * 1024

OK, WARNING, ERROR = "ok", "warning", "error"


class Finding(NamedTuple):
    """What was found of one subject: `ok`, `warning` or `error`, and in words what is, or what to do."""

    verdict: str
    subject: str
    text: str

    def __repr__(self) -> str:
        return f"<Finding, {len(self.text)} characters>"


async def run_doctor(home: Path, folder: Path, session: Session, *, as_json: bool) -> int:
    """Print the findings; return the exit status: 1 if any is an error."""
    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        if as_json:
            print_out(msgspec.json.encode(finding._asdict()).decode())
        else:
            print_out(f"{finding.verdict:<8} {finding.subject:<12} {sanitize(finding.text)}")

    for finding in look_at_machine(home, folder):
        tell(finding)
    try:
        async with session:
            async for finding in look_at_account(session):
                tell(finding)
    except ClientError as error:
        tell(Finding(ERROR, "profile", error_text(error)))
    return int(any(finding.verdict == ERROR for finding in findings))


def look_at_machine(home: Path, folder: Path) -> Iterator[Finding]:
    """Look at the profile's files, its disk, the locale and the terminal; opens nothing."""
    yield _look_at_permissions(home, folder)
    yield _look_at_key(folder)
    kind = network_file_system(home)
    if kind is not None:
        yield Finding(
            ERROR, "disk", f"{home} is on a network disk ({kind}); set CLAVE_HOME to a local folder"
        )
    elif folder.exists():
        yield _look_at_space(folder)
    encoding = locale.getencoding()
    if encoding.lower().replace("-", "") == "utf8":
        yield Finding(OK, "locale", encoding)
    else:
        text = f"{encoding}: letters that it lacks are shown as ?; set LANG to one of UTF-8, as in C.UTF-8"
        yield Finding(WARNING, "locale", text)
    yield _look_at_terminal()


def _look_at_permissions(home: Path, folder: Path) -> Finding:
    try:
        for level in (home, folder.parent, folder):
            if not level.exists():
                return Finding(ERROR, "permissions", f"{level} is missing; clave chat makes a profile")
            make_private(level)
        for name in (STORE_NAME, KEY_NAME):
            path = folder / name
            if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
                return Finding(ERROR, "permissions", f"{path} can be read by others; run: chmod 600 {path}")
        if not os.access(folder, os.W_OK):
            return Finding(ERROR, "permissions", f"{folder} cannot be written; is the disk read-only?")
    except ProfileError as error:
        return Finding(ERROR, "permissions", error_text(error))
    except OSError as error:
        return Finding(ERROR, "permissions", f"{folder}: {error.strerror}")
    return Finding(OK, "permissions", f"{folder} is yours alone")


def _look_at_key(folder: Path) -> Finding:
    if not folder.exists():
        return Finding(ERROR, "key", "there is none yet")
    try:
        protected = has_passphrase(folder)
    except ProfileError as error:
        return Finding(ERROR, "key", error_text(error))
    if protected:
        return Finding(OK, "key", "protected by a passphrase")
    return Finding(OK, "key", "no passphrase: whoever can read this disk reads it; clave passphrase set")


def _look_at_space(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    words = f"{free // (1024 * 1024):,} MiB free"
    if free < _NO_SPACE:
        return Finding(ERROR, "disk", f"{words}; nothing can be stored, free some space")
    if free < _LITTLE_SPACE:
        return Finding(WARNING, "disk", f"{words}; free some space")
    return Finding(OK, "disk", words)


def _look_at_terminal() -> Finding:
    if sys.stdout is None or not sys.stdout.isatty():
        return Finding(OK, "terminal", "none: this goes to a pipe or a file")
    size, kind = shutil.get_terminal_size(), os.environ.get("TERM", "")
    if not kind or kind == "dumb":
        return Finding(WARNING, "terminal", f"TERM is {kind or 'not set'}: clave chat reads whole lines only")
    return Finding(OK, "terminal", f"{kind}, {size.columns} x {size.lines}")


def _look_at_clock(ahead: float) -> Finding:
    if abs(ahead) <= CLOCK_TOLERANCE:
        return Finding(OK, "clock", f"as the relay's, within {CLOCK_TOLERANCE / 60:.0f} minutes")
    return Finding(
        WARNING, "clock", f"{difference_words(ahead)}: set it; if it is right, tell the relay's operator"
    )


async def look_at_account(session: Session) -> AsyncIterator[Finding]:
    """Look at an open profile and its relay."""
    account = await session.ask(m.GetAccount())
    held = "" if session.is_owner else f"; process {session.info.process} has it open"
    yield Finding(OK, "profile", f"{account.name}, {account.fingerprint}{held}")
    health = await session.ask(m.CheckHealth())
    if health.relay_error:
        yield Finding(ERROR, "relay", health.relay_error)
    elif not health.is_online:
        yield Finding(
            ERROR, "relay", f"{health.relay} can be connected to, but there is no login: clave chat says why"
        )
    else:
        yield Finding(OK, "relay", f"{health.relay} answers, and this device is logged in")
        yield Finding(OK, "certificate", account.relay_fingerprint)
    if health.clock_ahead is not None:
        yield _look_at_clock(health.clock_ahead)
    if account.other_owner:
        text = f"the relay gave your name to another key, {account.other_owner}; ask its operator"
        yield Finding(ERROR, "name", text)
    for suite, count in map(msgspec.structs.astuple, health.key_packages):
        text = f"{count} of {suite} at the relay"
        yield Finding(
            OK if count else WARNING, "key packages", text if count else f"{text}: stay online a moment"
        )
    for line in health.unusable:
        yield Finding(WARNING, "rooms", line)
    for title in health.restored:
        text = f"{title} waits to be rejoined after a restore; somebody there has to be online"
        yield Finding(WARNING, "rooms", text)
    if not (health.unusable or health.restored):
        yield Finding(OK, "rooms", "all can be used")

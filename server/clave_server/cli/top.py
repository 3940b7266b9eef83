"""`clave-relay top`: a relay's status again and again, with rates; a table on a terminal, else lines."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from clave_server.admin.control_socket import send_request
from clave_server.admin.requests import GetStatus
from clave_server.admin.status import Status, render_size, render_status
from clave_server.errors import AdminError, NotRunning
from clave_wire.text import sanitize

__all__ = ["rates", "show_lines", "show_screen"]

_ENTER: Final = "\x1b[?1049h\x1b[?25l"
"""The alternate screen, without a cursor."""

_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_REDRAW: Final = "\x1b[H"
_END_OF_LINE: Final = "\x1b[K\r\n"
_REST: Final = "\x1b[J"

_ENDING: Final = frozenset(b"qQ\x04")
"""Keys that end it: q, and Ctrl-D."""


def rates(former: Status | None, status: Status, seconds: float) -> dict[str, str]:
    """Return what happened per second between two statuses; "-" for all before there are two.

    Also for a relay that was started anew between them.
    """
    names = {
        "entries": "entries/s",
        "deliveries": "deliveries/s",
        "logins": "logins/s",
        "connections_accepted": "connections/s",
    }
    if former is None or former.started_at != status.started_at or seconds <= 0:
        return {**dict.fromkeys(names.values(), "-"), "flush": "-"}
    found = {
        text: f"{(getattr(status.totals, name) - getattr(former.totals, name)) / seconds:.1f}"
        for name, text in names.items()
    }
    flushes = status.totals.flushes - former.totals.flushes
    spent = status.totals.flush_seconds - former.totals.flush_seconds
    return {**found, "flush": f"{1000 * spent / flushes:.1f} ms" if flushes else "-"}


def show_lines(path: Path, interval: float, count: int) -> None:
    """Print a line each `interval` seconds, `count` times (0: for ever); a relay that is gone may come back.

    Raises `AdminError` if none answers at first.
    """
    former, at = None, 0.0
    for number in _numbers(count):
        if number:
            time.sleep(interval)
        now = time.monotonic()
        try:
            status = send_request(path, GetStatus())
        except AdminError as error:
            if former is None:
                raise
            gone = "no relay runs here" if isinstance(error, NotRunning) else sanitize(str(error))
            _print_line(gone)
            continue
        _print_line(_line(status, rates(former, status, now - at)))
        former, at = status, now


def show_screen(path: Path, interval: float, count: int) -> None:
    """Redraw a table each `interval` seconds until a key ends it; a relay that is gone may come back."""
    former, at = None, 0.0
    with _Screen() as screen:
        for number in _numbers(count):
            if number and screen.wait_for_end(interval):
                return
            now = time.monotonic()
            try:
                status = send_request(path, GetStatus())
            except AdminError as error:
                if former is None:
                    raise
                screen.draw([sanitize(str(error)), "", f"tried again each {interval:g} s; q ends this"])
                continue
            screen.draw(_table(status, rates(former, status, now - at), interval))
            former, at = status, now


def _numbers(count: int) -> Iterable[int]:
    return range(count) if count else itertools.count()


def _print_line(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n")
    sys.stdout.flush()


def _line(status: Status, found: dict[str, str]) -> str:
    gauges = status.gauges
    waiting = f"{gauges.waiting_requests}/{gauges.waiting_writes}/{gauges.waiting_reads}"
    fields = {
        "people": gauges.people,
        "devices": gauges.devices,
        "connections": gauges.connections,
        "rooms": status.rooms,
        "open": gauges.rooms_open,
        "waiting": waiting,
        "to-send": render_size(gauges.outbox_bytes),
        **found,
        "free": render_size(status.disk.free),
        "storage": "works" if gauges.storage_works else "FAILS",
    }
    return "  ".join(f"{k} {v}" for k, v in fields.items())


def _table(status: Status, found: dict[str, str], interval: float) -> list[str]:
    rows = [*render_status(status).splitlines(), ""]
    rows += [f"{label:<13}  {value:>10}" for label, value in found.items()]
    return [*rows, "", f"{time.strftime('%H:%M:%S')}, again each {interval:g} s; q ends this"]


class _Screen:
    """The terminal, as its only user: entered, drawn on, and left as it was, whatever ends the program."""

    def __init__(self) -> None:
        self._former = termios.tcgetattr(0)
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> _Screen:
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._handlers[number] = signal.signal(number, _end)
        self._handlers[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._suspend)
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what `signal` returned
        self._give_back()

    def draw(self, lines: list[str]) -> None:
        """Show as much of `lines` as fits."""
        width, height = shutil.get_terminal_size()
        shown = _END_OF_LINE.join(line[: width - 1] for line in lines[:height])
        self._write(_REDRAW + shown + "\x1b[K" + _REST)

    def wait_for_end(self, seconds: float) -> bool:
        """Wait, and return whether a key was pressed that ends the program."""
        until = time.monotonic() + seconds
        while (rest := until - time.monotonic()) > 0:
            if not select.select([0], [], [], rest)[0]:
                return False
            keys = os.read(0, 1024)
            if not keys or _ENDING.intersection(keys):
                return True
        return False

    def _take(self) -> None:
        tty.setcbreak(0)
        self._write(_ENTER)

    def _give_back(self) -> None:
        with contextlib.suppress(OSError, termios.error):  # the terminal is gone
            self._write(_LEAVE)
            termios.tcsetattr(0, termios.TCSADRAIN, self._former)

    def _suspend(self, _number: int, _frame: FrameType | None) -> None:
        """Stop as Ctrl-Z wants, with the terminal as it was; take it again when continued."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)

"""A running relay's status: numbers that cross the control socket, and a table for people."""

from __future__ import annotations

import datetime as dt
from typing import Final

import msgspec

from clave_server.admin.gauges import Gauges
from clave_wire.text import sanitize

__all__ = ["DiskUse", "Status", "Totals", "render_size", "render_status", "render_time"]

_NAMES_SHOWN: Final = 20


class DiskUse(msgspec.Struct, frozen=True):
    """Bytes of the database with its write-ahead log, and bytes free on its disk."""

    database: int
    free: int


class Totals(msgspec.Struct, frozen=True):
    """What grew since the relay started, as counted by `Counters`; seconds for `flush_seconds`."""

    connections_accepted: int = 0
    logins: int = 0
    entries: int = 0
    deliveries: int = 0
    flushes: int = 0
    flush_seconds: float = 0.0


class Status(msgspec.Struct, frozen=True):
    """A relay's status. Sizes in bytes, times in seconds; `started_at` in ms since 1970."""

    version: str
    started_at: int
    uptime: int
    listening: list[str]
    fingerprint: str
    registration: str
    online: list[str]
    """Names, sorted."""

    accounts: int
    rooms: int
    gauges: Gauges
    disk: DiskUse
    totals: Totals = Totals()


def render_status(status: Status) -> str:
    """Return a status as lines of a label and a value."""
    gauges, disk = status.gauges, status.disk
    since = render_time(status.started_at)
    rows = {
        "relay": f"version {status.version}, up {_duration(status.uptime)}, since {since}",
        "listening": ", ".join(status.listening),
        "fingerprint": status.fingerprint,
        "registration": status.registration,
        "people": _people(status),
        "connections": f"{gauges.connections}; {gauges.logging_in} logging in",
        "accounts": f"{status.accounts}",
        "rooms": f"{status.rooms}, {gauges.rooms_open} of them open",
        "waiting": f"{gauges.waiting_requests} requests, {gauges.waiting_writes} writes,"
        f" {gauges.waiting_reads} reads, {render_size(gauges.outbox_bytes)} to send",
        "disk": f"database {render_size(disk.database)}, {render_size(disk.free)} free"
        + ("" if gauges.storage_works else "; WRITING FAILS, the log says why"),
    }
    width = max(map(len, rows))
    return "".join(f"{label:<{width}}  {sanitize(text)}\n" for label, text in rows.items())


def render_size(size: int) -> str:
    """Write a number of bytes for people, e.g. `1.4 MiB`."""
    amount, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def render_time(at: int) -> str:
    """Write a time (ms since 1970) in local time; one that `datetime` cannot hold, as `@` and seconds."""
    try:
        return f"{dt.datetime.fromtimestamp(at / 1000).astimezone():%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):
        return f"@{at // 1000}"


def _people(status: Status) -> str:
    if not status.online:
        return "nobody"
    names = ", ".join(status.online[:_NAMES_SHOWN])
    more = len(status.online) - _NAMES_SHOWN
    rest = f" and {more} more" if more > 0 else ""
    return f"{len(status.online)} online, devices: {status.gauges.devices}; {names}{rest}"


def _duration(seconds: int) -> str:
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour} h"
    if hours:
        return f"{hours} h {minute} min"
    return f"{minutes} min {second} s" if minutes else f"{second} s"

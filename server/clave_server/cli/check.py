"""Checks whether a relay would start with given options; makes and changes nothing."""

from __future__ import annotations

import contextlib
import datetime as dt
import enum
import errno
import os
import pwd
import resource
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import apsw

from clave_host.addresses import split_address
from clave_host.clock import now_ms, utc_text
from clave_server.accounts.tokens import read_tokens
from clave_server.admin.control_socket import send_request
from clave_server.admin.integrity import check_seals
from clave_server.admin.requests import GetStatus
from clave_server.admin.status import render_size
from clave_server.cli.options import Options
from clave_server.errors import AdminError, DamageError, StartError
from clave_server.limits.bans import read_bans
from clave_server.net.listener import KEPT_DESCRIPTORS, open_sockets
from clave_server.net.tls import TlsFiles, load_credentials, open_tls, read_digest
from clave_server.option_values import RegistrationMode
from clave_server.relay.certificates import check_identity
from clave_server.relay.settings import Settings
from clave_server.storage import schema
from clave_server.storage.data_dir import CERTIFICATE, CONTROL, DATABASE, NEXT_CERTIFICATE, is_held
from clave_server.storage.run_clock import find_jump
from clave_wire.login import fingerprint_text

__all__ = ["SYSTEMD", "Finding", "Verdict", "check"]

_OWN_FILES: Final = 32 + KEPT_DESCRIPTORS
"""Descriptors that a relay needs besides those of connections."""

_LITTLE_BYTES: Final = 100 * 1024 * 1024
"""Free bytes below which a disk is nearly full."""

SYSTEMD: Final = Path("/run/systemd/system")
"""Exists where systemd runs, which may hold the relay's port (sd_booted(3))."""


class Verdict(enum.StrEnum):
    """What a finding means for a start."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class Finding(NamedTuple):
    """One line about one part of the settings."""

    verdict: Verdict
    subject: str
    text: str


def check(options: Options, environment: Mapping[str, str], variables: Collection[str]) -> Iterator[Finding]:
    """Yield findings about all that a start needs; `variables` are the known environment variables."""
    for key in sorted(environment):
        if key.startswith("CLAVE_RELAY_") and key not in variables:
            yield Finding(Verdict.ERROR, "environment", f"{key} is no option; see clave-relay --help")
    try:
        settings, metrics = options.settings(), options.metrics_address
    except StartError as error:
        yield Finding(Verdict.ERROR, "options", str(error))
        return
    folder, running = _check_folder(options.data)
    yield folder
    yield _check_space(options.data)
    if folder.verdict is Verdict.OK:
        yield _check_database(options.data / DATABASE)
        yield _check_clock(options.data / DATABASE)
    if folder.verdict is Verdict.OK or settings.tls:
        yield _check_certificate(options.data / CERTIFICATE, settings.tls)
    yield (
        _check_listening(options.data, settings)
        if running
        else _check_port("listen", settings.host, settings.port)
    )
    for matter, address in (("plain", settings.plain), ("metrics", metrics)):
        if address is not None:
            yield _check_port(matter, *address, running=running)
    for matter, file in (("mirror-file", options.mirror_file), ("log-file", options.log_file)):
        if file is not None:
            yield _check_output(matter, file)
    yield _check_registration(settings, options)
    yield _check_limits(settings)


def _check_folder(data: Path) -> tuple[Finding, bool]:
    """Return the finding about the data folder, and whether a relay runs on it."""
    if not _exists(data):
        parent = next(parent for parent in data.absolute().parents if _exists(parent))
        if not _is_searchable(parent):
            return Finding(Verdict.ERROR, "data", _unreadable(data, parent)), False
        if not os.access(parent, os.W_OK | os.X_OK):
            return Finding(Verdict.ERROR, "data", f"{data} cannot be made: {parent} is not writable"), False
        return Finding(Verdict.OK, "data", f"{data}, made at the first start"), False
    try:
        running = is_held(data)
    except StartError as error:
        return Finding(Verdict.ERROR, "data", str(error)), False
    return Finding(Verdict.OK, "data", f"{data}{', a relay is running on it' if running else ''}"), running


def _exists(path: Path) -> bool:
    """Return whether `path` exists; unlike that of `Path`, False also where it cannot be looked up."""
    return os.path.exists(path)  # noqa: PTH110


def _is_searchable(folder: Path) -> bool:
    return os.access(folder, os.X_OK)


def _unreadable(data: Path, parent: Path) -> str:
    user, owner = _user_name(os.geteuid()), _user_name(parent.stat().st_uid)
    advice = f"run: chmod u+x {parent}" if user == owner else "run this as the relay's user"
    return f"{data} cannot be read by {user}: {parent}, of {owner}, is closed to them; {advice}"


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _check_space(data: Path) -> Finding:
    """Judge the space that is left for the data folder, or where it will be made."""
    place = next(place for place in (data.absolute(), *data.absolute().parents) if _exists(place))
    try:
        disk = os.statvfs(place)
    except OSError as error:
        return Finding(Verdict.WARNING, "space", f"not known: {error.strerror}")
    free, size = disk.f_bavail * disk.f_frsize, render_size(disk.f_bavail * disk.f_frsize)
    if not free or (disk.f_files and not disk.f_favail):
        return Finding(Verdict.ERROR, "space", f"none is free for {data}; no relay starts there or accepts")
    if free < _LITTLE_BYTES:
        return Finding(Verdict.WARNING, "space", f"{size} are free for {data}; a full disk stops the relay")
    return Finding(Verdict.OK, "space", f"{size} free")


def _check_listening(data: Path, settings: Settings) -> Finding:
    """Compare the port that a start would use with those of the relay that runs."""
    where = f"{settings.host or 'every address'}, port {settings.port or 'any'}"
    try:
        used = send_request(data / CONTROL, GetStatus()).listening
    except AdminError as error:
        return Finding(Verdict.WARNING, "listen", f"{where}; the running relay does not say its own: {error}")
    present = ", ".join(used)
    if settings.port in (0, *(split_address(each)[1] for each in used)):
        return Finding(Verdict.OK, "listen", f"the running relay has {present}; not tried")
    if SYSTEMD.is_dir():
        text = (
            f"the running relay has {present}, these options name {where}; right if a socket unit has those"
        )
        return Finding(Verdict.WARNING, "listen", text)
    own = _check_port("listen", settings.host, settings.port)
    verdict = Verdict.ERROR if own.verdict is Verdict.ERROR else Verdict.WARNING
    return Finding(
        verdict, "listen", f"the running relay has {present}; a start would use another: {own.text}"
    )


def _check_database(path: Path) -> Finding:
    if not _exists(path):
        return Finding(Verdict.OK, "database", "made at the first start")
    try:
        behind = schema.versions_behind(path)
    except StartError as error:
        return Finding(Verdict.ERROR, "database", str(error))
    if behind:
        migrated = f"migrated by {behind} versions at the next start; make a backup before"
        return Finding(Verdict.OK, "database", f"{path}, {migrated}")
    try:
        with schema.start_errors(path), contextlib.closing(schema.connect_reader(path)) as connection:
            damage = _find_damage(connection)
    except (StartError, DamageError) as unusable:
        return Finding(Verdict.ERROR, "database", str(unusable))
    if damage is not None:
        return Finding(Verdict.WARNING, "database", f"{path}: {damage}; keep older backups")
    return Finding(Verdict.OK, "database", f"{path}, checked but for its entries, which a backup checks")


def _check_clock(path: Path) -> Finding:
    now, jump = now_ms(), None
    try:
        if _exists(path) and not schema.versions_behind(path):
            with schema.start_errors(path), contextlib.closing(schema.connect_reader(path)) as connection:
                jump = find_jump(connection, now)
    except StartError:
        pass  # reported with the database
    if jump is not None:
        return Finding(Verdict.WARNING, "clock", jump.text)
    return Finding(Verdict.OK, "clock", utc_text(now))


def _find_damage(connection: apsw.Connection) -> DamageError | None:
    """Return damage that a relay can start with, if any. Raises `DamageError` for other damage."""
    read_bans(connection)
    try:
        check_seals(connection)
    except DamageError as error:
        return error
    return None


def _check_certificate(path: Path, own: TlsFiles | None) -> Finding:
    following = path.with_name(NEXT_CERTIFICATE)
    try:
        if _exists(following):
            read_digest(following)
        if own is None:
            check_identity(path, path.with_name(DATABASE))
        if own is None and not _exists(path):
            return Finding(Verdict.OK, "certificate", "made at the first start")
        digest = (load_credentials(own) if own else open_tls(path, dt.datetime.now(dt.UTC))).digest
    except StartError as error:
        return Finding(Verdict.ERROR, "certificate", str(error))
    return Finding(
        Verdict.OK,
        "certificate",
        f"{own.certificate if own else path}, fingerprint {fingerprint_text(digest)}",
    )


def _check_port(matter: str, host: str | None, port: int, *, running: bool = False) -> Finding:
    where = f"{host or 'every address'}, port {port or 'any'}"
    if running:
        return Finding(Verdict.OK, matter, f"{where}; not tried, as the relay has it")
    try:
        for listening in open_sockets(host, port):
            listening.close()
    except StartError as error:
        cause = error.__context__
        taken = isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE
        if matter == "listen" and taken and SYSTEMD.is_dir():
            return Finding(
                Verdict.WARNING, matter, f"{where}: taken; right if a socket unit has it for the relay"
            )
        return Finding(Verdict.ERROR, matter, str(error))
    return Finding(Verdict.OK, matter, where)


def _check_output(matter: str, path: Path) -> Finding:
    """Judge whether a file can be appended to, or made."""
    if os.path.isdir(path):  # noqa: PTH112  (see `_exists`)
        return Finding(Verdict.ERROR, matter, f"{path} is a folder; name a file in it")
    if os.access(path, os.W_OK) if _exists(path) else os.access(path.parent, os.W_OK | os.X_OK):
        return Finding(Verdict.OK, matter, str(path))
    return Finding(Verdict.ERROR, matter, f"cannot write to {path}; name a file in a folder of this user")


def _check_registration(settings: Settings, options: Options) -> Finding:
    mode = settings.registration.mode
    if mode is not RegistrationMode.TOKEN:
        return Finding(Verdict.OK, "registration", mode)
    usable = _usable_tokens(options.data / DATABASE) + (options.registration_token_file is not None)
    if not usable:
        text = "token, and there is none: nobody can register until you run clave-relay token make"
        return Finding(Verdict.WARNING, "registration", text)
    return Finding(Verdict.OK, "registration", f"token, {usable} of use")


def _usable_tokens(database: Path) -> int:
    try:
        if not _exists(database) or schema.versions_behind(database):
            return 0
        connection = schema.connect_reader(database)
    except StartError:
        return 0  # reported with the database
    try:
        now = now_ms()
        return sum(token.usable(now) for token in read_tokens(connection))
    except DamageError:
        return 0  # reported with the database
    finally:
        connection.close()


def _check_limits(settings: Settings) -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = settings.connections.in_all + _OWN_FILES
    if hard != resource.RLIM_INFINITY and hard < needed:
        text = f"{settings.connections.in_all} clients need {needed} open files, the system allows {hard}"
        return Finding(Verdict.WARNING, "limits", text)
    return Finding(Verdict.OK, "limits", f"{settings.connections.in_all} clients")

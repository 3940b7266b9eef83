"""A relay as it is left running: screen, log, signals, control socket and probes around it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gc
import os
import resource
import signal
import sys
from functools import partial
from typing import Any, Final, TextIO

import structlog

from clave_server.admin.control import ControlSocket
from clave_server.admin.gauges import read_gauges
from clave_server.admin.handler import AdminHandler
from clave_server.admin.http_endpoints import HttpEndpoints
from clave_server.admin.metrics import Metrics
from clave_server.cli.config import Options, write_address
from clave_server.errors import StartError
from clave_server.net.systemd import notify
from clave_server.observe.logging_setup import configure_logs
from clave_server.observe.mirror import Mirror
from clave_server.relay.relay import Relay, Settings
from clave_server.storage.data_dir import DataDir
from clave_wire.login import fingerprint_text

__all__ = ["run"]

_log = structlog.get_logger()

_GC_THRESHOLDS: Final = (50_000, 20, 50)
"""Entries under way are many objects and never garbage in cycles; looking for it took a tenth of the time."""

_OPEN_FILES: Final = 65_536
"""Wanted where the system sets no limit at all."""


def run(options: Options) -> None:
    """Run a relay until a signal ends it. Raises `StartError`."""
    settings = options.settings()
    gc.set_threshold(*_GC_THRESHOLDS)
    os.umask(0o077)
    _raise_file_limit()
    with DataDir(options.data) as folder, asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(_serve(options, settings, folder))


async def _serve(options: Options, settings: Settings, folder: DataDir) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.set_exception_handler(_log_loop_error)
    logs = configure_logs(_descriptor(sys.stderr), *options.logging)
    mirror = Mirror(
        options.mirror_mode,
        _descriptor(sys.stdout),
        coloured=sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR"),
        clock=lambda: dt.datetime.now().astimezone(),
        broken=lambda: _log.warning("standard output is gone; nothing is mirrored any more"),
    )
    try:
        async with contextlib.AsyncExitStack() as stack:
            relay = await Relay.start(settings, folder, mirror)
            stack.push_async_callback(relay.stop)
            handler = AdminHandler(relay, folder)
            loop.add_signal_handler(signal.SIGHUP, _hang_up, relay, stop if _on_terminal() else None)
            control = await ControlSocket.open(folder.control, handler.carry_out)
            stack.push_async_callback(control.close)
            if options.probes:
                metrics = Metrics(relay.context.counters, partial(read_gauges, relay), folder.disk_use)
                probes = await HttpEndpoints.open(*options.probes, metrics.render, handler.trouble)
                stack.push_async_callback(probes.close)
                for host, port in probes.addresses:
                    _log.info("metrics are served", address=write_address(host, port))
            for host, port in relay.addresses:
                where, fingerprint = write_address(host, port), fingerprint_text(relay.certificate)
                mirror.announce(f"listening on {where}  fingerprint {fingerprint}")
            notify("READY=1")
            await stop.wait()
            notify("STOPPING=1")
    finally:
        mirror.stop()
        logs.stop(timeout=1.0)


def _hang_up(relay: Relay, stop: asyncio.Event | None) -> None:
    """Read the operator's certificate again; or `stop`, if there is a terminal to run on and it went away."""
    if stop is not None and not _on_terminal():
        stop.set()
        return
    try:
        changed = relay.certificates.reload()
    except StartError as error:
        _log.error("certificate not reloaded, the present one stays", reason=str(error))
        return
    relay.announce()
    _log.info("certificate reloaded", changed=changed, fingerprint=fingerprint_text(relay.certificate))


def _on_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _descriptor(stream: TextIO | None) -> int:
    """Return where a standard stream leads; one that was closed from the start leads nowhere."""
    return os.open(os.devnull, os.O_WRONLY) if stream is None else stream.fileno()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # not made for every platform
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _raise_file_limit() -> None:
    """Allow as many open files, so connections, as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else max(soft, _OPEN_FILES)
    with contextlib.suppress(ValueError, OSError):  # a system may have a lower limit that it does not tell
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _log_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, OSError):  # what networks do, failed TLS handshakes among it
        _log.info("a connection failed", reason=str(error))
    else:
        _log.error(context["message"], exc_info=error)

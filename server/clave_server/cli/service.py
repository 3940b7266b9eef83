"""Runs a relay as a service: with mirror, log, signals, control socket and HTTP endpoints."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import gc
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO

import structlog

from clave_host.addresses import join_address
from clave_server.admin.control_socket import ControlSocket
from clave_server.admin.gauges import read_gauges
from clave_server.admin.http_endpoints import HttpEndpoints
from clave_server.admin.metrics import Metrics
from clave_server.admin.request_handler import AdminHandler
from clave_server.cli.options import Options
from clave_server.errors import StartError
from clave_server.net.systemd import notify
from clave_server.observe.line_output import LineOutput
from clave_server.observe.logging_setup import configure_logs
from clave_server.observe.mirror import Mirror
from clave_server.relay.relay import Relay
from clave_server.relay.settings import Settings
from clave_server.storage.data_dir import DataDir
from clave_wire.login import fingerprint_text

__all__ = ["run"]

_log = structlog.get_logger()

_GC_THRESHOLDS: Final = (50_000, 20, 50)
"""Entries being handled are many objects without cycles; with Python's defaults the collector took a tenth
of the time."""

_OPEN_FILES: Final = 65_536
"""Soft limit on open files where the system has no hard limit."""


def run(options: Options, *, new_identity: bool = False) -> None:
    """Run a relay until SIGTERM or SIGINT; `new_identity` is a setting. Raises `StartError`."""
    settings = dataclasses.replace(options.settings(), new_identity=new_identity)
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
    threading.excepthook = _log_thread_error
    shown = _open_output(options.mirror_file, sys.stdout)
    logs = configure_logs(_open_output(options.log_file, sys.stderr), *options.logging)
    mirror = Mirror(
        options.mirror_mode,
        shown,
        coloured=shown.is_terminal and not os.environ.get("NO_COLOR"),
        clock=lambda: dt.datetime.now().astimezone(),
        listener=_MirrorListener(),
    )
    try:
        async with contextlib.AsyncExitStack() as stack:
            relay = await Relay.start(settings, folder, mirror)
            stack.push_async_callback(relay.stop)
            handler = AdminHandler(relay, folder)
            reopen = (mirror.reopen, logs.reopen)
            loop.add_signal_handler(
                signal.SIGHUP, _on_hangup, relay, reopen, stop if _on_terminal() else None
            )
            control = await ControlSocket.open(folder.control, handler.handle)
            stack.push_async_callback(control.close)
            if options.metrics_address:
                metrics = Metrics(relay.context.counters, partial(read_gauges, relay), folder.disk_use)
                endpoints = await HttpEndpoints.open(
                    *options.metrics_address, metrics.render, handler.readiness_fault
                )
                stack.push_async_callback(endpoints.close)
                for host, port in endpoints.addresses:
                    _log.info("metrics served", address=join_address(host, port))
            for host, port in relay.addresses:
                where, fingerprint = join_address(host, port), fingerprint_text(relay.certificate)
                mirror.announce_address(where, fingerprint)
                if options.mirror_file:
                    _log.info("listening", address=where, fingerprint=fingerprint)
            notify("READY=1")
            await stop.wait()
            notify("STOPPING=1")
    finally:
        mirror.stop()
        logs.stop(timeout=1.0)


def _on_hangup(relay: Relay, reopen: Sequence[Callable[[], None]], stop: asyncio.Event | None) -> None:
    """Handle SIGHUP: open files of lines anew and reload the operator's certificate.

    Or set `stop` if the terminal was closed.

    `stop` is None for a relay that was started without a terminal.
    """
    if stop is not None and not _on_terminal():
        stop.set()
        return
    for each in reopen:
        each()
    try:
        changed = relay.certificates.reload()
    except StartError as error:
        _log.error("certificate not reloaded, the present one stays", reason=str(error))
        return
    relay.announce()
    _log.info("certificate reloaded", changed=changed, fingerprint=fingerprint_text(relay.certificate))


def _on_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


class _MirrorListener:
    """Logs how writing the mirror goes."""

    def failed(self, reason: str) -> None:
        _log.warning("mirror not written, tried again until it is", reason=reason)

    def recovered(self, lost: int) -> None:
        _log.info("mirror written again", lost=lost)

    def ended(self) -> None:
        _log.warning("mirror stopped: standard output is closed")

    def not_reopened(self, reason: str) -> None:
        _log.error("mirror file not opened anew, the former one stays", reason=reason)


def _open_output(path: Path | None, stream: TextIO | None) -> LineOutput:
    """Return the file at `path`, or else a standard stream; /dev/null for one closed from the start."""
    if path is not None:
        return LineOutput.open(path)
    return LineOutput(os.open(os.devnull, os.O_WRONLY) if stream is None else stream.fileno())


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # not available on every platform
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _raise_file_limit() -> None:
    """Raise the soft limit on open files, and so on connections, to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else max(soft, _OPEN_FILES)
    with contextlib.suppress(ValueError, OSError):  # macOS has a lower limit that it does not report
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _log_thread_error(failed: threading.ExceptHookArgs) -> None:
    name = failed.thread.name if failed.thread else "unknown"
    _log.error("a thread ended by a mistake", thread=name, exc_info=failed.exc_value)


def _log_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, ConnectionError):
        _log.debug("connection failed", reason=str(error))
    elif isinstance(error, OSError):  # the network's doing, or a failed TLS handshake
        _log.info("connection failed", reason=str(error))
    else:
        _log.error(context["message"], exc_info=error)

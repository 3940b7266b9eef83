"""The `clave-relay` command: settings in, a running relay, an exit status out. Knows no protocol."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, Final, TextIO

import click
import platformdirs
import structlog

from clave_server.admission import Admission
from clave_server.config import parse_listen, parse_plain, parse_proxies, read_config, read_token
from clave_server.directory import Registration
from clave_server.errors import StartError
from clave_server.folder import DataFolder
from clave_server.logs import configure_logs
from clave_server.mirror import Mirror, MirrorMode
from clave_server.relay import Relay, Settings
from clave_wire.login import fingerprint_text

__all__ = ["main"]

_log = structlog.get_logger()

_OPEN_FILES: Final = 65_536
"""Wanted where the system sets no limit at all."""

_EPILOG: Final = """\b
Examples:
  clave-relay
  clave-relay --listen [::]:7878 --registration token --registration-token-file token.txt
  clave-relay --mirror json > relay.jsonl

Every option can be set by environment (CLAVE_RELAY_LISTEN, ...) or in the file given with --config
(listen = "0.0.0.0:7878"); an option given here wins over the environment, and that over the file.
"""


def _load_config(context: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    if path is not None:
        known = [
            option.name.replace("_", "-")
            for option in context.command.params
            if option.expose_value and option.name
        ]
        try:
            settings = read_config(path, known)
        except StartError as error:
            raise click.ClickException(str(error)) from None
        context.default_map = {key.replace("-", "_"): value for key, value in settings.items()}


@click.command(
    epilog=_EPILOG, context_settings={"auto_envvar_prefix": "CLAVE_RELAY", "max_content_width": 100}
)
@click.option(
    "--listen",
    default=":7878",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to listen; no host means every address, port 0 any free port.",
)
@click.option(
    "--plain",
    metavar="HOST:PORT",
    help="Also listen without TLS, on loopback, for a proxy that ends it.",
)
@click.option(
    "--proxy",
    multiple=True,
    metavar="ADDRESS",
    help="A proxy that says whom it speaks for (PROXY protocol, version 2).",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    show_default="per user",
    help="Where the relay keeps its key, names and encrypted entries.",
)
@click.option(
    "--registration",
    type=click.Choice([mode.value for mode in Registration]),
    default="open",
    show_default=True,
    help="Who may register a new name.",
)
@click.option(
    "--registration-token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The file with the token that --registration token asks for.",
)
@click.option(
    "--max-clients", type=click.IntRange(1), default=10_000, show_default=True, help="Connections at a time."
)
@click.option(
    "--max-clients-per-ip",
    type=click.IntRange(1),
    default=10_000,
    show_default=True,
    help="Connections at a time from one address.",
)
@click.option(
    "--mirror",
    type=click.Choice([mode.value for mode in MirrorMode]),
    default="short",
    show_default=True,
    help="How to show each entry on standard output.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    is_eager=True,
    expose_value=False,
    callback=_load_config,
    help="A TOML file with any of these options.",
)
@click.version_option(package_name="clave", message="clave-relay %(version)s")
def main(
    listen: str,
    plain: str | None,
    proxy: tuple[str, ...],
    data: Path | None,
    registration: str,
    registration_token_file: Path | None,
    max_clients: int,
    max_clients_per_ip: int,
    mirror: str,
) -> None:
    """Run a relay for encrypted group chat: it passes on what it cannot read.

    The first line printed is "listening on HOST:PORT  fingerprint XXXX ...", the SHA-256 of the certificate
    that clients compare. Entries follow, one line each, on standard output; the relay's own log is on
    standard error. SIGTERM and Ctrl-C stop it cleanly.
    """
    try:
        mode = Registration(registration)
        host, port = parse_listen(listen)
        settings = Settings(
            host,
            port,
            _admission(mode, registration_token_file),
            max_clients,
            max_clients_per_ip,
            parse_plain(plain) if plain else None,
            parse_proxies(proxy),
        )
        os.umask(0o077)
        _raise_file_limit()
        path = data or Path(platformdirs.user_data_dir("clave-relay", appauthor=False))
        with DataFolder(path) as folder, asyncio.Runner(loop_factory=_new_loop) as runner:
            runner.run(_serve(settings, folder, MirrorMode(mirror)))
    except StartError as error:
        raise click.ClickException(str(error)) from None


def _admission(mode: Registration, token_file: Path | None) -> Admission:
    if (mode is Registration.TOKEN) != (token_file is not None):
        raise StartError("--registration token and --registration-token-file go together")
    return Admission(mode, read_token(token_file) if token_file else "")


async def _serve(settings: Settings, folder: DataFolder, mode: MirrorMode) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.set_exception_handler(_log_loop_error)
    logs = configure_logs(_descriptor(sys.stderr))
    mirror = Mirror(
        mode,
        _descriptor(sys.stdout),
        coloured=sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR"),
        clock=lambda: dt.datetime.now().astimezone(),
        broken=lambda: _log.warning("standard output is gone; nothing is mirrored any more"),
    )
    try:
        relay = await Relay.start(settings, folder, mirror)
        for host, port in relay.addresses:
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            mirror.announce(f"listening on {where}  fingerprint {fingerprint_text(relay.certificate)}")
        await stop.wait()
        await relay.stop()
    finally:
        mirror.stop()
        logs.stop(timeout=1.0)


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

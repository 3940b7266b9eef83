"""The relay's options: one table for the command line, the environment, a TOML file and `Settings`.

A field of `Options` is one option. `max_clients` is `--max-clients`, `CLAVE_RELAY_MAX_CLIENTS` and, in the
file, `max-clients`; `Options.settings` maps it to the relay's settings. Knows no command.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from clave_server.cli.parsers import (
    FilePath,
    pair_files,
    parse_listen,
    parse_metrics,
    parse_plain,
    parse_proxies,
    read_token,
)
from clave_server.errors import StartError
from clave_server.option_values import (
    MAX_COUNT,
    MAX_DAYS,
    LogFormat,
    LogLevel,
    MirrorMode,
    RegistrationMode,
)

if TYPE_CHECKING:
    from clave_server.accounts.registration import RegistrationPolicy
    from clave_server.net.tls import TlsFiles
    from clave_server.relay.settings import Settings

__all__ = ["LISTS", "OPTIONS", "VARIABLES", "Options", "default_data", "variable_of"]


def default_data() -> Path:
    """Return the default data folder; one line ends the command where this user has no home."""
    import platformdirs

    try:
        folder = Path(platformdirs.user_data_dir("clave-relay", appauthor=False))
    except (KeyError, RuntimeError):  # neither HOME nor an entry in the system's list of users
        folder = Path("~")
    if not folder.is_absolute():
        raise click.ClickException("this user has no home folder: name the data folder with --data")
    return folder


def _option(text: str, **click_attributes: Any) -> Any:
    """Declare an option by what `click.option` takes; a default is shown in --help."""
    if click_attributes.get("default") is not None:
        click_attributes.setdefault("show_default", True)
    return dataclasses.field(metadata={"help": text, **click_attributes})


def _count(text: str, default: int, *, least: int = 0, most: int = MAX_COUNT) -> Any:
    return _option(text, default=default, type=click.IntRange(least, most))


def _choice(text: str, choices: type[enum.StrEnum], default: str) -> Any:
    return _option(text, default=default, type=click.Choice([choice.value for choice in choices]))


@dataclass(frozen=True)
class Options:
    """The options that a relay is started with, as they are given."""

    listen: str = _option(
        "Where to listen, if systemd passes no sockets; no host means every address, port 0 any port.",
        default=":7878",
        metavar="HOST:PORT",
    )
    plain: str | None = _option(
        "Also listen without TLS, on loopback, for a proxy that ends it.", metavar="HOST:PORT"
    )
    proxy: tuple[str, ...] = _option(
        "A proxy that says whom it speaks for (PROXY protocol, version 2).", multiple=True, metavar="ADDRESS"
    )
    data: Path = _option(
        "Where the relay keeps its key, names and encrypted entries.",
        type=FilePath(),
        metavar="DIR",
        default=default_data,
        show_default="per user",
    )
    tls_certificate: Path | None = _option(
        "Show this certificate chain (PEM), not one the relay made; SIGHUP reads it again.",
        type=FilePath(),
        metavar="FILE",
    )
    tls_key: Path | None = _option(
        "Its private key (PEM), if that is in a file of its own.", type=FilePath(), metavar="FILE"
    )
    registration: str = _choice(
        "Who may register a new name; `clave-relay token make` makes tokens.", RegistrationMode, "open"
    )
    registration_token_file: Path | None = _option(
        "A file with one more token that --registration token takes, any number of times.",
        type=FilePath(),
        metavar="FILE",
    )
    new_names_per_hour: int = _count(
        "Names that one address may register in an hour while registration is open.", 60, least=1
    )
    max_clients: int = _count("Connections at a time.", 10_000, least=1)
    max_clients_per_ip: int = _count("Connections at a time from one address, or /64 of IPv6.", 500, least=1)
    address_rate: int = _count(
        "Connections per second from one address, ten times that at once; 0 for any number.", 20
    )
    account_rate: int = _count(
        "Requests per second of one account, ten times that at once; 0 for any number.", 100
    )
    account_rooms: int = _count("Rooms one account may make; 0 for any number.", 1000)
    account_bytes: int = _count(
        "Bytes of one account's entries kept, welcomes and offers; 0 for any number.", 2**30
    )
    retain_days: int = _count("Delete entries older than this; 0 keeps them for ever.", 0, most=MAX_DAYS)
    retain_bytes: int = _count("Delete a room's oldest entries beyond so many bytes; 0 keeps them all.", 0)
    mirror: str = _choice("How to show each entry on standard output.", MirrorMode, "short")
    mirror_file: Path | None = _option(
        "Append the mirror to this file instead; SIGHUP opens it anew, for logrotate.",
        type=FilePath(),
        metavar="FILE",
    )
    metrics: str | None = _option(
        "Serve /metrics, /healthz and /readyz there over plain HTTP; no host means 127.0.0.1.",
        metavar="HOST:PORT",
    )
    log_level: str = _choice(
        "What the log on standard error leaves out: everything below this.", LogLevel, "info"
    )
    log_format: str = _choice("How a line of that log is written.", LogFormat, "text")
    log_file: Path | None = _option(
        "Append that log to this file instead; SIGHUP opens it anew.", type=FilePath(), metavar="FILE"
    )

    def settings(self) -> Settings:
        """Return the relay's settings. Raises `StartError`."""
        from clave_server.limits.connection_limits import ConnectionCaps
        from clave_server.limits.quotas import Quota
        from clave_server.relay.settings import Settings
        from clave_server.rooms.retention import RetentionPolicy

        host, port = parse_listen(self.listen)
        return Settings(
            host=host,
            port=port,
            registration=self._registration_policy(),
            connections=ConnectionCaps(self.max_clients, self.max_clients_per_ip, self.address_rate),
            plain=parse_plain(self.plain) if self.plain else None,
            proxies=parse_proxies(self.proxy),
            tls=self.tls,
            account_rate=self.account_rate,
            quota=Quota(self.account_rooms, self.account_bytes),
            retention=RetentionPolicy(self.retain_days, self.retain_bytes),
        )

    @property
    def mirror_mode(self) -> MirrorMode:
        """What the mirror shows."""
        return MirrorMode(self.mirror)

    @property
    def logging(self) -> tuple[LogLevel, LogFormat]:
        """Level and format of the log."""
        return LogLevel(self.log_level), LogFormat(self.log_format)

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of the HTTP endpoints, None for none. Raises `StartError`."""
        return parse_metrics(self.metrics) if self.metrics else None

    @property
    def tls(self) -> TlsFiles | None:
        """The operator's certificate and key, None for the relay's own. Raises `StartError`."""
        return pair_files(self.tls_certificate, self.tls_key)

    def _registration_policy(self) -> RegistrationPolicy:
        from clave_server.accounts.registration import RegistrationPolicy

        mode, file = RegistrationMode(self.registration), self.registration_token_file
        if file is not None and mode is not RegistrationMode.TOKEN:
            raise StartError("--registration-token-file is of use only with --registration token")
        token = read_token(file) if file else ""
        return RegistrationPolicy(
            mode, token, self.new_names_per_hour if mode is RegistrationMode.OPEN else None
        )


def variable_of(option: str) -> str:
    """Return the environment variable of an option, e.g. `CLAVE_RELAY_LOG_LEVEL` of `log-level`."""
    return "CLAVE_RELAY_" + option.replace("-", "_").upper()


OPTIONS: Final = {field.name.replace("_", "-"): field.metadata for field in dataclasses.fields(Options)}
"""What `click.option` takes, by the option's name, e.g. `log-level`."""

LISTS: Final = frozenset(name for name, attributes in OPTIONS.items() if attributes.get("multiple"))
"""The options that may be given more than once; in TOML, as a list."""

VARIABLES: Final = frozenset(map(variable_of, ("config", *OPTIONS)))
"""Every environment variable that sets an option."""

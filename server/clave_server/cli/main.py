"""The `clave-relay` command: runs a relay, or one of the operator's subcommands. Knows no protocol."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from clave_host.program import run_program
from clave_server.cli import commands
from clave_server.cli.decorators import one_line_errors, run_options
from clave_server.cli.options import Options

__all__ = ["main"]

_EPILOG: Final = """\b
Examples:
  clave-relay
  clave-relay --listen [::]:7878 --registration token
  clave-relay --mirror json > relay.jsonl
  clave-relay status

Every option can be set by environment (CLAVE_RELAY_LISTEN, ...) or in the file given with --config
(listen = "0.0.0.0:7878"); an option given here wins over the environment, and that over the file.
"""


class _Program(click.Group):
    """The group as a program, which ends without a traceback; a crash report goes to its data folder."""

    def main(self, *arguments: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run it, and exit if it is a program by itself."""
        folders: list[Path] = []
        run = partial(super().main, *arguments, standalone_mode=standalone_mode, obj=folders, **extra)
        return run_program("clave-relay", run, folders) if standalone_mode else run()


@click.group(
    cls=_Program,
    invoke_without_command=True,
    epilog=_EPILOG,
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
    subcommand_metavar="[COMMAND [ARGS]...]",
)
@run_options
@click.option(
    "--new-identity",
    is_flag=True,
    help="Make another key if tls.pem is lost: every client stops until its user accepts it.",
)
@click.version_option(package_name="clave", message="clave-relay %(version)s")
@click.pass_context
@one_line_errors
def main(context: click.Context, /, new_identity: bool, **options: Any) -> None:
    """Run a relay for encrypted group chat: it passes on what it cannot read.

    The first line printed is "listening on HOST:PORT  fingerprint XXXX ...", the SHA-256 of the certificate
    that clients compare; with --mirror json an object with "event": "listening". Entries follow, one line
    each, on standard output; the relay's own log is on standard error. SIGTERM and Ctrl-C stop it cleanly.
    The commands below operate a relay that runs.
    """
    if context.invoked_subcommand is None:
        from clave_server.cli import service

        service.run(Options(**options), new_identity=new_identity)
        return
    if new_identity:
        raise click.UsageError("--new-identity is of a start; it goes with no command")
    given = [key for key in options if context.get_parameter_source(key) is ParameterSource.COMMANDLINE]
    if given:
        name = "--" + given[0].replace("_", "-")
        raise click.UsageError(
            f"{name} goes after the command: clave-relay {context.invoked_subcommand} {name}"
        )


for command in commands.ALL:
    main.add_command(command)

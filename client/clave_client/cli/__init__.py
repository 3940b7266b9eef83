"""The command line `clave`: options, subcommands, exit statuses."""

from clave_client.cli.commands import main

__all__ = ["main"]

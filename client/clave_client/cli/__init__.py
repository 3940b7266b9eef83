"""The command line `clave`: options, subcommands, exit statuses."""

from clave_client.cli import account_commands
from clave_client.cli.commands import main

__all__ = ["main"]

for command in account_commands.ALL:
    main.add_command(command)

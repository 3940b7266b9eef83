"""The command line `clave`: options, subcommands, exit statuses."""

from clave_client.cli import account_commands, message_commands, room_commands
from clave_client.cli.commands import main

__all__ = ["main"]

for command in (*message_commands.ALL, *room_commands.ALL, *account_commands.ALL):
    main.add_command(command)

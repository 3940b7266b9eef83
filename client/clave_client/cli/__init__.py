"""The command line `clave`: options, subcommands, exit statuses."""

from clave_client.cli import (
    account_commands,
    device_commands,
    inspection_commands,
    link_commands,
    message_commands,
    role_commands,
    room_commands,
)
from clave_client.cli.commands import main
from clave_client.cli.search_command import search

__all__ = ["main"]

for command in (
    *link_commands.ALL,
    *message_commands.ALL,
    *room_commands.ALL,
    *role_commands.ALL,
    *inspection_commands.ALL,
    search,
    *account_commands.ALL,
    *device_commands.ALL,
):
    main.add_command(command)

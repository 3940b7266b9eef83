"""The operator's commands as they are typed and as they answer. Knows no relay's inside."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
import msgspec

from clave_server.control import ask
from clave_server.folder import CONTROL
from clave_server.options import data_option, one_line_errors
from clave_server.orders import TellStatus
from clave_server.status import render_status

__all__ = ["ALL"]


@click.command(epilog="\b\nExample:\n  clave-relay status --json | jq .online")
@data_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@one_line_errors
def status(data: Path, as_json: bool) -> None:
    """Show how the running relay does: people online, rooms, queues, disk."""
    answer = ask(data / CONTROL, TellStatus())
    click.echo(msgspec.json.encode(answer).decode() + "\n" if as_json else render_status(answer), nl=False)


ALL: Final = (status,)

"""`clave-relay --help` loads what it needs and no more, by name: no relay, no database, no cryptography."""

from __future__ import annotations

import pytest

from importkit import imported_by

_HELP = {
    "clave_server",
    "clave_server.cli",
    "clave_server.cli.commands",
    "clave_server.cli.decorators",
    "clave_server.cli.main",
    "clave_server.cli.options",
    "clave_server.cli.parsers",
    "clave_server.errors",
    "clave_server.option_values",
    "clave_wire",
    "clave_wire.limits",
    "click",
}


@pytest.mark.parametrize("words", [[], ["status"], ["token", "make"]])
def test_help_loads_the_command_line_only(words: list[str]) -> None:
    script = f"from clave_server.cli.main import main; main({[*words, '--help']}, standalone_mode=False)"
    assert imported_by(script) <= _HELP | ({"platformdirs"} if words else set())  # where data are by default

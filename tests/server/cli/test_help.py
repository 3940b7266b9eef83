"""`clave-relay --help` loads what it needs and no more, by name: no relay, no database, no cryptography."""

from __future__ import annotations

import subprocess
import sys

import pytest

from clave_server.cli.main import main
from importkit import imported_by

_HELP = {
    "clave_host",
    "clave_host.program",
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


@pytest.mark.parametrize(
    "words",
    [(), *((name,) for name in sorted(main.commands)), ("token", "make"), ("account", "free")],
    ids=" ".join,
)
def test_help_is_shown_for_h_too(words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "clave_server", *words]
    short, long = (
        subprocess.run([*command, option], capture_output=True, text=True, timeout=30, check=True)
        for option in ("-h", "--help")
    )
    assert short.stdout == long.stdout
    assert "-h, --help" in short.stdout

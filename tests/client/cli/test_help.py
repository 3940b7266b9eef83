"""`clave --help` and the import of the package load what they need and no more, by name."""

from __future__ import annotations

import pytest

from importkit import imported_by

_HELP = {
    "clave_client",
    "clave_client.cli",
    "clave_client.cli.commands",
    "clave_client.cli.exit_status",
    "clave_client.cli.profile_options",
    "clave_client.errors",
    "click",
}


def test_importing_the_package_loads_nothing_else() -> None:
    assert imported_by("import clave_client") == {"clave_client"}


@pytest.mark.parametrize("words", [[], ["chat"], ["send"]])
def test_help_loads_the_command_line_only(words: list[str]) -> None:
    script = f"from clave_client.cli import main; main({[*words, '--help']}, standalone_mode=False)"
    assert imported_by(script) <= _HELP

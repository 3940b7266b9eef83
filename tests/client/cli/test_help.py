"""`clave --help` and the import of the package load what they need and no more, by name."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clave_client.rpc import methods as m
from client.rpc.kit import home_at
from importkit import imported_by

_HELP = {
    "clave_client",
    "clave_client.cli",
    "clave_client.cli.account_commands",
    "clave_client.cli.commands",
    "clave_client.cli.defects",
    "clave_client.cli.exit_status",
    "clave_client.cli.inspection_commands",
    "clave_client.cli.message_commands",
    "clave_client.cli.profile_options",
    "clave_client.cli.device_commands",
    "clave_client.cli.link_commands",
    "clave_client.cli.role_commands",
    "clave_client.cli.room_commands",
    "clave_client.cli.search_command",
    "clave_client.errors",
    "clave_host",
    "clave_host.program",
    "click",
}


def test_importing_the_package_loads_nothing_else() -> None:
    assert imported_by("import clave_client") == {"clave_client"}


@pytest.mark.parametrize("words", [[], ["chat"], ["send"], ["search"], ["demo"]])
def test_help_loads_the_command_line_only(words: list[str]) -> None:
    script = f"from clave_client.cli import main; main({[*words, '--help']}, standalone_mode=False)"
    assert imported_by(script) <= _HELP


def test_the_demo_in_lines_loads_no_screen() -> None:
    script = "import asyncio; from clave_client.ui.demo import run_demo; asyncio.run(run_demo())"
    loaded = imported_by(script)
    assert "clave_client.ui.demo_script" in loaded
    assert "textual" not in loaded


_SEND = _HELP | {
    "clave_client.rpc",
    "clave_client.rpc.blocking",
    "clave_client.store",
    "clave_client.store.folders",
    "clave_host",
    "clave_host.local_sockets",
    "json",
    "socket",
}


async def test_sending_through_an_owner_loads_no_client(tmp_path: Path) -> None:
    async with home_at(tmp_path) as home:
        (red,) = await home.friends("red")
        words = ["send", "--home", str(home.folder), "--name", "red", "friends", "hello"]
        script = f"from clave_client.cli import main; main({words}, standalone_mode=False)"
        assert await asyncio.to_thread(imported_by, script) <= _SEND
        assert [message.text for message in await red.ask(m.GetHistory(room="friends"))] == ["hello"]

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from certificatekit import Authority
from relaykit import RelayUnderTest, running_relay

_PROCESSES = (
    "test_backup.py",
    "test_certificate_command.py",
    "test_check.py",
    "test_main.py",
    "test_commands.py",
    "test_descriptors.py",
    "test_first_contact.py",
    "test_floods.py",
    "test_interrupted.py",
    "test_kills.py",
    "test_line_writer.py",
    "test_output.py",
    "test_top.py",
)


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[RelayUnderTest]:
    async with running_relay(tmp_path) as running:
        yield running


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run each test on the event loop that the relay uses and on its fallback; processes have their own."""
    if item.path.name in _PROCESSES:
        return {"asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"

"""What a chat command is. Knows none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clave_client.errors import UsageError

if TYPE_CHECKING:
    from clave_client.ui.conversation import Conversation

__all__ = ["Command", "require"]


@dataclass(frozen=True)
class Command:
    """One command. `completes` is the kind of its argument: "name", "room", "emoji", or "" for others."""

    usage: str
    help: str
    completes: str
    run: Callable[[Conversation, str], Awaitable[None]]


def require(argument: str, usage: str) -> str:
    """Return an argument. Raises `UsageError` if it is empty."""
    if not argument:
        raise UsageError(f"say what or whom: {usage}")
    return argument

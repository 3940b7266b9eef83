"""The words that people type for roles, and for what takes one. Knows no command."""

from __future__ import annotations

from typing import Final, Literal

__all__ = ["ACTIONS", "POLICY_ROLES", "ROLES", "waiting_text"]

ROLES: Final[dict[str, Literal["owner", "admin", "member", "guest"]]] = {
    "owner": "owner",
    "admin": "admin",
    "member": "member",
    "guest": "guest",
}
POLICY_ROLES: Final[dict[str, Literal["owner", "admin", "member"]]] = {
    "owner": "owner",
    "admin": "admin",
    "member": "member",
}
ACTIONS: Final[dict[str, Literal["add", "remove", "edit"]]] = {
    "add": "add",
    "remove": "remove",
    "edit": "edit",
}


def waiting_text() -> str:
    """Return what to say of a change that does not count yet."""
    return "this change waits until another member is here and confirms it"

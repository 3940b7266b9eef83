"""What an insider sends."""

from typing import Any

ATTACKS: dict[str, Any] = {}


def from_outside(*_: Any) -> Any: ...

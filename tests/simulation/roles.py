from __future__ import annotations
from typing import Any
class Role:
    acts: tuple[str, ...] = ()
ROLES: dict[str, Any] = {}

"""What the relay in memory raises instead of accepting. Knows no rooms."""

from __future__ import annotations

from clave_wire.messages import Code

__all__ = ["Refusal"]


class Refusal(Exception):
    """The relay refuses, with a code and a text for the client."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code

"""What every method of the RPC has: a name, a type of result, and for changes a key. Knows no method."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Generic, TypeVar

import msgspec

__all__ = ["Change", "ConsumerName", "Count", "Key", "Method", "Number", "Seconds"]

_MAX_WAIT_SECONDS: Final = 3600.0

Seconds = Annotated[float, msgspec.Meta(ge=0, le=_MAX_WAIT_SECONDS)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1000)]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Key = Annotated[str, msgspec.Meta(max_length=100)]
ConsumerName = Annotated[str, msgspec.Meta(max_length=100)]

T = TypeVar("T")


class Method(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A request. The type of its result is its parameter, and `RESULT` for decoding."""

    NAME: ClassVar[str]
    RESULT: ClassVar[Any] = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class Change(Method[T], frozen=True, kw_only=True):
    """A request that changes something: repeated with the same `key`, it is done once.

    The key is the caller's choice, unique to this request; the outcome of the last 10,000 keys is kept.
    """

    key: Key = ""

"""Checks the arguments of public functions against their annotations, deep in structs. Knows no rule of MLS.

So a mistake of the caller is refused in words before anything is done, and not by an error from inside.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable
from functools import cache, wraps
from typing import Annotated, Any, Final, ParamSpec, TypeVar

from clave_crypto.codec import KeptStruct, Struct
from clave_crypto.keys import Secret
from clave_crypto.mls.errors import LocalError

__all__ = ["checked"]

P = ParamSpec("P")
R = TypeVar("R")

_BITS: Final = 64
"""Bits of numbers of which nothing else is declared: times, indices, lengths. None is negative."""

_Check = Callable[[Any, str], None]
"""Raises `LocalError` for a value; the text says which it is."""


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Have `function` raise `LocalError` for arguments of other types than it declares."""
    names = tuple(inspect.signature(function).parameters)

    @cache
    def checks() -> dict[str, _Check]:
        """Compile them at the first call, as annotations name what is declared later."""
        hints = typing.get_type_hints(function, include_extras=True)
        found = ((name, _check_of(hints[name])) for name in names if name in hints)
        return {name: check for name, check in found if check is not None}

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        known = checks()
        for name, value in (*zip(names, args, strict=False), *kwargs.items()):
            if name in known:
                known[name](value, name)
        return function(*args, **kwargs)

    return call


def _check_of(kind: Any) -> _Check | None:
    """Return what checks values of a type, None for types of which nothing is checked."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:  # an unsigned integer of the codec
        return _number(8 * parts[1].size)
    if origin in (types.UnionType, typing.Union):
        return _any_of(parts)
    if origin in (tuple, collections.abc.Sequence):
        return _sequence_of(parts[0])
    if kind is int:
        return _number(_BITS)
    if kind in (bytes, Secret):
        return _check_bytes
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _struct(kind)
    if isinstance(kind, type) and not getattr(kind, "_is_protocol", False):
        return _instance(kind)
    return None


def _number(bits: int) -> _Check:
    def check(value: Any, name: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise LocalError(f"{name} must be a whole number, not {_kind(value)}")
        if not 0 <= value < 1 << bits:
            raise LocalError(f"{name} must be from 0 to 2**{bits} - 1")

    return check


def _check_bytes(value: Any, name: str) -> None:
    if not isinstance(value, bytes):
        raise LocalError(f"{name} must be bytes, not {_kind(value)}")


def _instance(kind: type) -> _Check:
    def check(value: Any, name: str) -> None:
        if not isinstance(value, kind):
            raise LocalError(f"{name} must be of {kind.__name__}, not {_kind(value)}{_hint(value)}")

    return check


def _struct(kind: type[Struct]) -> _Check:
    check_kind = _instance(kind)

    @cache
    def fields() -> list[tuple[str, _Check]]:
        hints = typing.get_type_hints(kind, include_extras=True)
        found = ((field.name, _check_of(hints[field.name])) for field in dataclasses.fields(kind))  # type: ignore[arg-type]  # a declared struct is a dataclass
        return [(name, check) for name, check in found if check is not None]

    def check(value: Any, name: str) -> None:
        check_kind(value, name)
        if isinstance(value, KeptStruct) and value.has_encoding:
            return
        for field, check_field in fields():
            check_field(getattr(value, field), f"{name}.{field}")

    return check


def _sequence_of(part: Any) -> _Check:
    check_part = _check_of(part)

    def check(value: Any, name: str) -> None:
        if isinstance(value, bytes | str) or not isinstance(value, collections.abc.Sequence):
            raise LocalError(f"{name} must be a sequence, not {_kind(value)}")
        if check_part is not None:
            for number, each in enumerate(value):
                check_part(each, f"{name}[{number}]")

    return check


def _any_of(kinds: tuple[Any, ...]) -> _Check | None:
    checks = {kind: _check_of(kind) for kind in kinds if kind is not type(None)}
    takes_none = type(None) in kinds
    if any(check is None for check in checks.values()):
        return None

    def check(value: Any, name: str) -> None:
        if value is None and takes_none:
            return
        for kind, check_kind in checks.items():
            if check_kind is not None and (not isinstance(kind, type) or isinstance(value, kind)):
                check_kind(value, name)
                return
        names = " or ".join(getattr(kind, "__name__", str(kind)) for kind in checks)
        raise LocalError(f"{name} must be of {names}, not {_kind(value)}{_hint(value)}")

    return check


def _kind(value: Any) -> str:
    return type(value).__name__


def _hint(value: Any) -> str:
    return ": decode it first" if isinstance(value, bytes) else ""

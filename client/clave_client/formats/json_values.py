"""Values of the library as JSON and back: records by their fields, bytes in hexadecimal.

The JSON of a type follows from its declaration alone. An `Event` is an object with a field "type", such as
"room_closed". Knows no connection.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec

from clave_client import events
from clave_client.events import Event

__all__ = ["BadValue", "dump", "event_types", "load", "load_event", "type_tag"]

T = TypeVar("T")


class BadValue(ValueError):
    """A JSON value is not of the type that is due; one line, with where."""


def type_tag(kind: type) -> str:
    """Return the "type" of an event's JSON: its class's name in lower case, words joined by underscores."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


@functools.cache
def event_types() -> Mapping[str, type[Event]]:
    """Return all events, by the "type" of their JSON."""
    kinds = (getattr(events, name) for name in events.__all__)
    return {type_tag(each): each for each in kinds if issubclass(each, Event) and each is not Event}


# --- to JSON ---


def dump(value: object) -> Any:
    """Return `value` as what JSON can hold."""
    match value:
        case None | bool() | float() | msgspec.Raw():
            return value
        case enum.Enum():
            return value.name.lower()
        case int():
            return int(value)
        case str():
            return str(value)
        case bytes() | bytearray():
            return value.hex()
        case Mapping():
            return {str(dump(key)): dump(each) for key, each in value.items()}
    kind: Any = type(value)
    names = _field_names(kind)
    if names is not None:
        found = {name: dump(getattr(value, name)) for name in names}
        return {"type": type_tag(kind), **found} if isinstance(value, Event) else found
    if isinstance(value, Iterable):
        return [dump(each) for each in value]
    raise TypeError(f"no JSON for {type(value).__name__}")


@functools.cache
def _field_names(kind: Any) -> tuple[str, ...] | None:
    """Return the names of a record's fields; None if `kind` is no record."""
    if issubclass(kind, msgspec.Struct):
        return tuple(str(name) for name in kind.__struct_fields__)
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return tuple(str(name) for name in kind._fields)
    return None


# --- from JSON ---


def load_event(raw: object) -> Event:
    """Return the event that `dump` made `raw` of. Raises `BadValue`."""
    if not isinstance(raw, dict) or raw.get("type") not in event_types():
        raise BadValue("it is no event that this version knows")
    kind: Any = event_types()[raw["type"]]
    fields = {name: each for name, each in raw.items() if name != "type"}
    event: Event = _load_record(kind, _field_names(kind) or (), fields, "")
    return event


def load(kind: type[T], raw: object) -> T:
    """Return the value of type `kind` that `dump` made `raw` of. Raises `BadValue`."""
    value: T = _load(kind, raw, "")
    return value


def _load(kind: Any, raw: object, where: str) -> Any:
    origin = get_origin(kind)
    if origin is Annotated:
        value = _load(get_args(kind)[0], raw, where)
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise BadValue(f"{where or 'it'}: {error}") from None
    if origin in (Union, types.UnionType):
        return _load_union(get_args(kind), raw, where)
    if origin in (list, tuple, frozenset, Sequence):
        if not isinstance(raw, list):
            raise _wrong(kind, raw, where)
        item, *rest = get_args(kind)
        if origin is tuple and rest != [Ellipsis]:
            kinds = get_args(kind)
            if len(kinds) != len(raw):
                raise _wrong(kind, raw, where)
            return tuple(_load(each, one, where) for each, one in zip(kinds, raw, strict=True))
        make = list if origin is Sequence else origin
        return make(_load(item, each, f"{where}[{place}]") for place, each in enumerate(raw))
    if origin is dict:
        if not isinstance(raw, dict):
            raise _wrong(kind, raw, where)
        return {key: _load(get_args(kind)[1], each, f"{where}.{key}") for key, each in raw.items()}
    if kind is Any or kind is object:
        return raw
    if isinstance(kind, type) and issubclass(kind, Event):
        event = load_event(raw)
        if not isinstance(event, kind):
            raise _wrong(kind, raw, where)
        return event
    return _load_plain(kind, raw, where)


def _load_union(kinds: tuple[Any, ...], raw: object, where: str) -> Any:
    if raw is None and type(None) in kinds:
        return None
    *first, last = [each for each in kinds if each is not type(None)]
    for kind in first:
        try:
            return _load(kind, raw, where)
        except BadValue:
            pass
    return _load(last, raw, where)


def _load_plain(kind: Any, raw: object, where: str) -> Any:
    if kind is type(None) and raw is None:
        return None
    if issubclass(kind, enum.Enum):
        found = next((each for each in kind if each.name.lower() == raw), None)
        if found is None:
            raise _wrong(kind, raw, where)
        return found
    if kind is bytes:
        try:
            return bytes.fromhex(raw)  # type: ignore[arg-type]  # what is no text raises
        except (TypeError, ValueError):
            raise _wrong(kind, raw, where) from None
    if kind is float:
        if not isinstance(raw, int | float) or isinstance(raw, bool):
            raise _wrong(kind, raw, where)
        try:
            return float(raw)
        except OverflowError:
            raise _wrong(kind, raw, where) from None
    if kind in (bool, int, str):
        if type(raw) is not kind:
            raise _wrong(kind, raw, where)
        return raw
    names = _field_names(kind)
    if names is None:
        raise TypeError(f"no JSON for {kind!r}")
    if not isinstance(raw, dict):
        raise _wrong(kind, raw, where)
    return _load_record(kind, names, raw, where)


def _load_record(kind: Any, names: Sequence[str], raw: Mapping[str, object], where: str) -> Any:
    hints = _hints(kind)
    unknown = raw.keys() - set(names)
    if unknown:
        raise BadValue(f"{where or 'it'} has no field called {min(unknown)}")
    skipped = (
        {f.name for f in dataclasses.fields(kind) if not f.init} if dataclasses.is_dataclass(kind) else ()
    )
    values = {name: _load(hints[name], each, name) for name, each in raw.items() if name not in skipped}
    try:
        return kind(**values)
    except TypeError:
        missing = sorted(_required(kind, names) - values.keys())
        raise BadValue(f"{where or 'it'} lacks {', '.join(missing)}") from None


def _required(kind: Any, names: Sequence[str]) -> set[str]:
    if issubclass(kind, msgspec.Struct):
        return {f.name for f in msgspec.structs.fields(kind) if f.required}
    if dataclasses.is_dataclass(kind):
        nothing = dataclasses.MISSING
        fields = dataclasses.fields(kind)
        return {f.name for f in fields if f.init and f.default is nothing and f.default_factory is nothing}
    return set(names) - set(kind._field_defaults)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _wrong(kind: Any, raw: object, where: str) -> BadValue:
    name = getattr(kind, "__name__", str(kind))
    due = {
        "bytes": "hexadecimal digits",
        "str": "a text",
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
    }
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return BadValue(f"{where or 'it'} is one of {', '.join(each.name.lower() for each in kind)}")
    return BadValue(f"{where or 'it'} is not {due.get(name, f'of type {name}')} but {type(raw).__name__}")

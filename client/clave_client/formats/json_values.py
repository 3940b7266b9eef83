"""Values of the library as JSON and back: records by their fields, bytes in hexadecimal.

The JSON of a type follows from its declaration alone. An `Event` is an object with a field "type", such as
"room_closed". Knows no connection.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
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
    kind: Any = type(value)
    return _dumper(kind)(value)


@functools.cache
def _dumper(kind: type) -> Callable[[Any], Any]:
    """Return what makes JSON of the values of a type: it is looked at once, not for each value."""
    names = _field_names(kind)
    if kind is type(None) or issubclass(kind, bool | float | msgspec.Raw):
        return lambda value: value
    if issubclass(kind, enum.Enum):
        return lambda value: value.name.lower()
    if issubclass(kind, int):
        return int
    if issubclass(kind, str):
        return str
    if issubclass(kind, bytes | bytearray):
        return lambda value: value.hex()
    if issubclass(kind, Mapping):
        return lambda value: {str(dump(key)): dump(each) for key, each in value.items()}
    if names is not None:
        tag = {"type": type_tag(kind)} if issubclass(kind, Event) else {}
        return lambda value: tag | {name: dump(getattr(value, name)) for name in names}
    if issubclass(kind, Iterable):
        return lambda value: [dump(each) for each in value]
    raise TypeError(f"no JSON for {kind.__name__}")


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

_Loader = Callable[[Any, str], Any]
"""Makes a value of its JSON; the text says where that stands. Raises `BadValue`."""


def load_event(raw: object) -> Event:
    """Return the event that `dump` made `raw` of. Raises `BadValue`."""
    name = raw.get("type") if isinstance(raw, dict) else None
    if not isinstance(raw, dict) or not isinstance(name, str) or name not in event_types():
        raise BadValue("it is no event that this version knows")
    fields = {name: each for name, each in raw.items() if name != "type"}
    event: Event = _load_record(event_types()[name], fields, "")
    return event


def load(kind: type[T], raw: object) -> T:
    """Return the value of type `kind` that `dump` made `raw` of. Raises `BadValue`."""
    value: T = _loader(kind)(raw, "")
    return value


def _loader(kind: Any) -> _Loader:
    """Return what makes values of a type."""
    return _make_loader(kind, repr(kind))


@functools.cache
def _make_loader(kind: Any, _spelling: str) -> _Loader:
    """Make what `_loader` returns: a type is looked at once, not for each value.

    Types are told apart by how they are spelled, too, as `int | str` and `str | int` are equal.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return partial(_load_annotated, kind, _loader(arguments[0]))
    if origin in (Union, types.UnionType):
        kinds = [each for each in arguments if each is not type(None)]
        return partial(_load_union, [_loader(each) for each in kinds], len(kinds) < len(arguments))
    if origin is tuple and arguments[1:] != (Ellipsis,):
        return partial(_load_tuple, kind, [_loader(each) for each in arguments])
    if origin in (list, tuple, frozenset, Sequence):
        return partial(_load_items, kind, list if origin is Sequence else origin, _loader(arguments[0]))
    if origin is dict:
        return partial(_load_dict, kind, _loader(arguments[1]))
    if kind is Any or kind is object:
        return lambda raw, _: raw
    if kind in (type(None), bool, int, str):
        return partial(_load_same, kind)
    if kind is bytes:
        return _load_bytes
    if kind is float:
        return _load_float
    if issubclass(kind, Event):
        return partial(_load_event, kind)
    if issubclass(kind, enum.Enum):
        return partial(_load_enum, kind, {each.name.lower(): each for each in kind})
    if _field_names(kind) is None:
        raise TypeError(f"no JSON for {kind!r}")
    return partial(_load_record, kind)


def _load_annotated(kind: Any, plain: _Loader, raw: object, where: str) -> Any:
    value = plain(raw, where)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise BadValue(f"{where or 'it'}: {error}") from None


def _load_union(loaders: Sequence[_Loader], may_be_none: bool, raw: object, where: str) -> Any:
    if raw is None and may_be_none:
        return None
    for each in loaders[:-1]:
        with contextlib.suppress(BadValue):
            return each(raw, where)
    return loaders[-1](raw, where)


def _load_tuple(kind: Any, loaders: Sequence[_Loader], raw: object, where: str) -> Any:
    if not isinstance(raw, list) or len(raw) != len(loaders):
        raise _wrong(kind, raw, where)
    return tuple(each(one, where) for each, one in zip(loaders, raw, strict=True))


def _load_items(kind: Any, make: Callable[[Any], Any], item: _Loader, raw: object, where: str) -> Any:
    if not isinstance(raw, list):
        raise _wrong(kind, raw, where)
    return make(item(each, f"{where}[{place}]") for place, each in enumerate(raw))


def _load_dict(kind: Any, item: _Loader, raw: object, where: str) -> Any:
    if not isinstance(raw, dict):
        raise _wrong(kind, raw, where)
    return {key: item(each, f"{where}.{key}") for key, each in raw.items()}


def _load_same(kind: Any, raw: object, where: str) -> Any:
    if type(raw) is not kind:
        raise _wrong(kind, raw, where)
    return raw


def _load_bytes(raw: Any, where: str) -> bytes:
    try:
        return bytes.fromhex(raw)
    except (TypeError, ValueError):
        raise _wrong(bytes, raw, where) from None


def _load_float(raw: object, where: str) -> float:
    if not isinstance(raw, int | float) or isinstance(raw, bool):
        raise _wrong(float, raw, where)
    try:
        return float(raw)
    except OverflowError:
        raise _wrong(float, raw, where) from None


def _load_enum(kind: Any, values: Mapping[str, object], raw: object, where: str) -> Any:
    if not isinstance(raw, str) or raw not in values:
        raise _wrong(kind, raw, where)
    return values[raw]


def _load_event(kind: type[Event], raw: object, where: str) -> Event:
    event = load_event(raw)
    if isinstance(event, kind):
        return event
    raise _wrong(kind, raw, where)


def _load_record(kind: Any, raw: object, where: str) -> Any:
    if not isinstance(raw, dict):
        raise _wrong(kind, raw, where)
    fields = _field_loaders(kind)
    values = {}
    for name, each in raw.items():
        if name not in fields:
            raise BadValue(f"{where or 'it'} has no field called {name}")
        if (loader := fields[name]) is not None:
            values[name] = loader(each, name)
    try:
        return kind(**values)
    except TypeError:
        missing = sorted(_required(kind) - values.keys())
        raise BadValue(f"{where or 'it'} lacks {', '.join(missing)}") from None


@functools.cache
def _field_loaders(kind: Any) -> Mapping[str, _Loader | None]:
    """Return what makes the fields of a record, by their names; None for those that its type computes."""
    hints = typing.get_type_hints(kind, include_extras=True)
    computed = (
        {f.name for f in dataclasses.fields(kind) if not f.init} if dataclasses.is_dataclass(kind) else set()
    )
    names = _field_names(kind) or ()
    return {name: None if name in computed else _loader(hints[name]) for name in names}


def _required(kind: Any) -> set[str]:
    if issubclass(kind, msgspec.Struct):
        return {f.name for f in msgspec.structs.fields(kind) if f.required}
    if dataclasses.is_dataclass(kind):
        nothing = dataclasses.MISSING
        fields = dataclasses.fields(kind)
        return {f.name for f in fields if f.init and f.default is nothing and f.default_factory is nothing}
    return set(kind._fields) - set(kind._field_defaults)


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

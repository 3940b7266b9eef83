"""The TLS presentation language (RFC 9420, section 2.1): declare a struct, get its encoder and decoder.

Knows bytes only: not what a field means, nor which values a protocol allows.

Decoding is strict: minimal vector lengths, no trailing bytes, no unknown cases. So encoding a decoded struct
gives the bytes it came from. A field is one of

    u8, u16, u32, u64           unsigned integer, big-endian
    an `Enum8` or `Enum16`      registry value; unknown ones are refused
    bytes, Secret               opaque<V>
    tuple[T, ...]               T<V>
    T | None                    optional<T>
    A | B | C                   select over structs; the `tag` comes first
    a struct                    itself
"""

from __future__ import annotations

import dataclasses
import enum
import struct as binary
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Self, dataclass_transform

from clave_crypto.errors import DecodeError, UnknownValueError
from clave_crypto.keys import Secret

__all__ = [
    "Enum8",
    "Enum16",
    "KeptStruct",
    "Struct",
    "Write",
    "decode_vector",
    "encode_vector",
    "struct",
    "u8",
    "u16",
    "u32",
    "u64",
    "vector_end",
    "vector_header",
]

Write = Callable[[bytes], object]


@dataclasses.dataclass(frozen=True)
class _Uint:
    size: int


u8 = Annotated[int, _Uint(1)]
u16 = Annotated[int, _Uint(2)]
u32 = Annotated[int, _Uint(4)]
u64 = Annotated[int, _Uint(8)]


class Enum8(enum.IntEnum):
    """A registry of one-byte values."""


class Enum16(enum.IntEnum):
    """A registry of two-byte values."""


_SHORT_HEADERS = [bytes([length]) for length in range(0x40)]


def vector_header(length: int) -> bytes:
    """Return the shortest header of a vector of `length` bytes (RFC 9420, section 2.1.2).

    Raises:
        ValueError: `length` is 2**30 or more.

    """
    if length < 0x40:
        return _SHORT_HEADERS[length]
    if length < 0x4000:
        return (length | 0x4000).to_bytes(2, "big")
    if length < 0x4000_0000:
        return (length | 0x8000_0000).to_bytes(4, "big")
    raise ValueError("a vector holds less than 2**30 bytes")


def vector_end(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Read the header at `start`; return the offsets (start, end) of the vector's body.

    Raises:
        DecodeError: the header is not minimal, or the body does not fit before `end`.

    """
    if start >= end:
        raise DecodeError("truncated vector header")
    prefix = data[start] >> 6
    if prefix == 3:
        raise DecodeError("invalid vector header")
    body = start + (1 << prefix)
    length = int.from_bytes(data[start:body], "big") & (1 << (8 << prefix) - 2) - 1
    if prefix and length < (0x40, 0x4000)[prefix - 1]:
        raise DecodeError("vector header is not minimal")
    if body + length > end:
        raise DecodeError("vector is longer than its message")
    return body, body + length


def encode_vector(items: bytes) -> bytes:
    """Return `items` prefixed with their length in bytes (RFC 9420, section 2.1.2)."""
    return vector_header(len(items)) + items


def decode_vector(data: bytes) -> bytes:
    """Return the body of a vector that is all of `data`.

    Raises:
        DecodeError: not a vector, or bytes follow it.

    """
    start, end = vector_end(data, 0, len(data))
    if end != len(data):
        raise DecodeError("bytes after the end")
    return data[start:end]


class Struct:
    """Base of every wire struct; subclasses are declared with `@struct`."""

    __slots__ = ()
    tag: ClassVar[bytes] = b""

    def __repr__(self) -> str:
        shown = (f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self))  # type: ignore[arg-type]  # it is a dataclass once declared
        return f"{self.__class__.__qualname__}({', '.join(shown)})"

    def __setattr__(self, name: str, value: object) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def write(self, w: Write) -> None:
        """Pass the pieces of the encoding to `w`."""
        raise NotImplementedError

    @staticmethod
    def read(data: bytes, at: int, end: int) -> tuple[Any, int]:
        """Read a struct at offset `at`; return it and the offset after it.

        Raises:
            DecodeError: no valid encoding is there.

        """
        raise NotImplementedError

    def encode(self) -> bytes:
        """Return the encoding."""
        parts: list[bytes] = []
        self.write(parts.append)
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the struct that `data` encodes; nothing may follow it.

        Raises:
            DecodeError: `data` is not one whole encoding.

        """
        value, end = cls.read(data, 0, len(data))
        if end != len(data):
            raise DecodeError("bytes after the end")
        return typing.cast(Self, value)


class KeptStruct(Struct):
    """Base of a struct that caches its encoding, for structs that are encoded often."""

    __slots__ = ("_encoding",)
    _encoding: bytes

    def write_fields(self, w: Write) -> None:
        """Pass the pieces of the encoding to `w`, without using the cache."""
        raise NotImplementedError

    def write(self, w: Write) -> None:
        """Pass the encoding to `w`."""
        w(self.encode())

    def encode(self) -> bytes:
        """Return the encoding."""
        try:
            return self._encoding
        except AttributeError:
            parts: list[bytes] = []
            self.write_fields(parts.append)
            return self.keep(b"".join(parts))

    @property
    def has_encoding(self) -> bool:
        """Whether it was decoded, or encoded before."""
        return hasattr(self, "_encoding")

    def keep(self, encoding: bytes) -> bytes:
        """Cache the encoding and return it."""
        object.__setattr__(self, "_encoding", encoding)
        return encoding


_PACK = {1: "B", 2: "H", 4: "I", 8: "Q"}
"""Format letters of Python's `struct` for unsigned integers, by size in bytes."""


class _Compiler:
    """Writes the source of one struct's `write` and `read`."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {
            "vector_header": vector_header,
            "vector_end": vector_end,
            "pack": binary.pack,
            "unpack": binary.unpack,
            "DecodeError": DecodeError,
            "UnknownValueError": UnknownValueError,
            "Secret": Secret,
        }

    def name(self, value: Any = None) -> str:
        name = f"_{len(self.names)}"
        self.names[name] = value
        return name

    def write(self, kind: Any, value: str, indent: str) -> list[str]:
        """Return the lines that pass the encoding of the expression `value` to `w`."""
        deeper = indent + "    "
        if size := _uint_size(kind):
            return [f"{indent}w({value}.to_bytes({size}, 'big'))"]
        if kind in {bytes, Secret}:
            return [f"{indent}w(vector_header(len({value})))", f"{indent}w({value})"]
        if (item := _item(kind)) and (size := _plain_size(item)):
            return [
                f"{indent}w(vector_header({size} * len({value})))",
                f"{indent}w(pack(f'>{{len({value})}}{_PACK[size]}', *{value}))",
            ]
        if item:
            outer, parts, each = self.name(), self.name(), self.name()
            return [
                f"{indent}{outer}, {parts} = w, []",
                f"{indent}w = {parts}.append",
                f"{indent}for {each} in {value}:",
                *self.write(item, each, deeper),
                f"{indent}{parts} = b''.join({parts})",
                f"{indent}w = {outer}",
                f"{indent}w(vector_header(len({parts})))",
                f"{indent}w({parts})",
            ]
        cases, optional = _cases(kind)
        if optional:
            present = cases[0] if len(cases) == 1 else typing.Union[tuple(cases)]  # noqa: UP007 - built at run time
            return [
                f"{indent}if {value} is None:",
                f"{deeper}w(b'\\0')",
                f"{indent}else:",
                f"{deeper}w(b'\\1')",
                *self.write(present, value, deeper),
            ]
        if len(cases) > 1:
            return [f"{indent}w({value}.tag)", f"{indent}{value}.write(w)"]
        return [f"{indent}{value}.write(w)"]

    def read(self, kind: Any, target: str, indent: str) -> list[str]:
        """Return the lines that read `target` from `data[at:end]` and move `at`."""
        deeper = indent + "    "
        if size := _uint_size(kind):
            after = self.name()
            lines = [
                f"{indent}{after} = at + {size}",
                f"{indent}if {after} > end: raise DecodeError('truncated')",
                f"{indent}{target} = int.from_bytes(data[at:{after}], 'big')",
                f"{indent}at = {after}",
            ]
            if isinstance(kind, type):
                known = self.name({member.value: member for member in typing.cast(type[enum.IntEnum], kind)})
                lines += [
                    f"{indent}{target} = {known}.get({target})",
                    f"{indent}if {target} is None: raise UnknownValueError('unknown {kind.__name__}')",
                ]
            return lines
        if kind in {bytes, Secret}:
            stop = self.name()
            return [
                *self.read_header(stop, indent),
                f"{indent}{target} = {'Secret' if kind is Secret else ''}(data[at:{stop}])",
                f"{indent}at = {stop}",
            ]
        if (item := _item(kind)) and (size := _plain_size(item)):
            stop, count, rest = self.name(), self.name(), self.name()
            return [
                *self.read_header(stop, indent),
                f"{indent}{count}, {rest} = divmod({stop} - at, {size})",
                f"{indent}if {rest}: raise DecodeError('truncated')",
                f"{indent}{target} = unpack(f'>{{{count}}}{_PACK[size]}', data[at:{stop}])",
                f"{indent}at = {stop}",
            ]
        if item:
            stop, items, each, outer = self.name(), self.name(), self.name(), self.name()
            return [
                *self.read_header(stop, indent),
                f"{indent}{outer}, end, {items} = end, {stop}, []",
                f"{indent}while at < end:",
                *self.read(item, each, deeper),
                f"{deeper}{items}.append({each})",
                f"{indent}end, {target} = {outer}, tuple({items})",
            ]
        cases, optional = _cases(kind)
        if optional:
            present = cases[0] if len(cases) == 1 else typing.Union[tuple(cases)]  # noqa: UP007 - built at run time
            flag = self.name()
            return [
                f"{indent}if at >= end: raise DecodeError('truncated')",
                f"{indent}{flag} = data[at]",
                f"{indent}at += 1",
                f"{indent}if {flag} == 1:",
                *self.read(present, target, deeper),
                f"{indent}elif {flag} == 0:",
                f"{deeper}{target} = None",
                f"{indent}else:",
                f"{deeper}raise DecodeError('optional is neither absent nor present')",
            ]
        if len(cases) > 1:
            readers, reader, size = (
                self.name({case.tag: case for case in cases if case.tag}),
                self.name(),
                len(cases[0].tag),
            )
            otherwise = [f"raise UnknownValueError('unknown {_names(cases)}')"]
            if others := [case for case in cases if not case.tag]:
                otherwise = [
                    f"try: {target}, at = {self.name(others[0])}.read(data, at, end)",
                    f"except DecodeError: {otherwise[0]} from None",
                ]
            return [
                f"{indent}if at + {size} > end: raise DecodeError('truncated')",
                f"{indent}{reader} = {readers}.get(data[at:at + {size}])",
                f"{indent}if {reader} is None:",
                *(f"{deeper}{line}" for line in otherwise),
                f"{indent}else:",
                f"{deeper}{target}, at = {reader}.read(data, at + {size}, end)",
            ]
        return [f"{indent}{target}, at = {self.name(cases[0])}.read(data, at, end)"]

    def read_header(self, stop: str, indent: str) -> list[str]:
        """Return the lines that move `at` past a vector's header and set `stop` to its end."""
        return [
            f"{indent}if at < end and data[at] < 0x40:",
            f"{indent}    {stop} = at + 1 + data[at]",
            f"{indent}    at += 1",
            f"{indent}    if {stop} > end: raise DecodeError('vector is longer than its message')",
            f"{indent}else:",
            f"{indent}    at, {stop} = vector_end(data, at, end)",
        ]


def _uint_size(kind: Any) -> int:
    if typing.get_origin(kind) is Annotated:
        return typing.cast(_Uint, kind.__metadata__[0]).size
    if isinstance(kind, type) and issubclass(kind, enum.IntEnum):
        return 1 if issubclass(kind, Enum8) else 2
    return 0


def _plain_size(kind: Any) -> int:
    """Return the bytes of an integer that is not a registry value, 0 for anything else."""
    return 0 if isinstance(kind, type) else _uint_size(kind)


def _item(kind: Any) -> Any:
    return typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else None


def _cases(kind: Any) -> tuple[list[Any], bool]:
    if typing.get_origin(kind) not in {types.UnionType, typing.Union}:
        return [kind], False
    members = typing.get_args(kind)
    return [member for member in members if member is not type(None)], type(None) in members


def _names(cases: list[Any]) -> str:
    return "kind: none of " + ", ".join(case.__name__ for case in cases)


@dataclass_transform(frozen_default=True)
def struct(tag: Enum8 | Enum16 | None = None, *, others: bool = False) -> Callable[[type], Any]:
    """Declare a frozen wire struct; `tag` identifies it where it is a case of a select.

    One of `others` stands for all tags that no other case has, and has the tag as its first field.
    """

    def declare(cls: type) -> Any:
        # A dataclass without methods of its own: making those takes most of the time of an import.
        declared: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True)(cls)
        if tag is not None:
            declared.tag = tag.to_bytes(1 if isinstance(tag, Enum8) else 2, "big")
        elif others:
            declared.tag = b""
        for method in ("__init__", _write_method(declared)):
            setattr(declared, method, _compiling(declared, method))
        declared.read = staticmethod(_compiling(declared, "read"))
        return declared

    return declare


def _write_method(declared: type) -> str:
    return "write_fields" if issubclass(declared, KeptStruct) else "write"


def _compiling(declared: Any, method: str) -> Callable[..., Any]:
    """Return a method that compiles those of a struct when it is first called, and then is replaced."""

    def compile_and_call(*arguments: Any, **named: Any) -> Any:
        _compile(declared)
        return getattr(declared, method)(*arguments, **named)

    return compile_and_call


def _compile(declared: Any) -> None:
    """Give a struct its `__init__`, `__eq__`, `__hash__`, `write` and `read`; it has no instances before."""
    kinds = typing.get_type_hints(declared, include_extras=True)
    fields = [field.name for field in dataclasses.fields(declared)]
    compiler = _Compiler()
    compiler.names |= {"cls": declared, "set_field": object.__setattr__}
    source = [f"def __init__(self, {', '.join(fields)}):", "    pass"]
    source += [f"    set_field(self, '{field}', {field})" for field in fields]
    own, others = (f"({''.join(f'{of}.{field}, ' for field in fields)})" for of in ("self", "other"))
    source += ["def __eq__(self, other):", "    if other.__class__ is not cls: return NotImplemented"]
    source += [f"    return {own} == {others}", "def __hash__(self):", f"    return hash({own})"]
    source += ["def write(self, w):", "    pass"]
    for field in fields:
        source += compiler.write(kinds[field], f"self.{field}", "    ")
    source += ["def read(data, at, end):", "    start = at"]
    for field in fields:
        source += compiler.read(kinds[field], f"f_{field}", "    ")
    source += [f"    value = cls({', '.join('f_' + field for field in fields)})"]
    if issubclass(declared, KeptStruct):
        source += ["    value.keep(data[start:at])"]
    source += ["    return value, at"]
    exec("\n".join(source), compiler.names)  # noqa: S102 - the source is made of declarations, never of input
    for method in ("__init__", "__eq__", "__hash__"):
        if method == "__init__" or method not in declared.__dict__:
            setattr(declared, method, compiler.names[method])
    setattr(declared, _write_method(declared), compiler.names["write"])
    declared.read = staticmethod(compiler.names["read"])

"""Makes docs/rpc.openrpc.json and the list of methods and events in docs/rpc.md from the typed API."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import sys
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from clave_client.cli.exit_status import EXIT_STATUSES
from clave_client.events import Event
from clave_client.formats.json_values import event_types, type_tag
from clave_client.rpc import methods as m
from clave_client.rpc.jsonrpc import ErrorCode
from clave_client.store.journal import is_stored

DOCS = Path(__file__).parents[1] / "docs"
PAGE, SCHEMA = DOCS / "rpc.md", DOCS / "rpc.openrpc.json"
BEGIN, END = "<!-- generated: make rpc-page -->", "<!-- end of what is generated -->"

PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    bytes: {"type": "string", "pattern": "^([0-9a-f]{2})*$"},
    type(None): {"type": "null"},
    Any: {},
}
BOUNDS = {"ge": "minimum", "le": "maximum", "max_length": "maxLength"}


class Schemas:
    """JSON Schemas of types; `named` has those of records, by name."""

    def __init__(self) -> None:
        self.named: dict[str, dict[str, Any]] = {}

    def of(self, kind: Any) -> dict[str, Any]:
        """Return the schema of a type."""
        origin = get_origin(kind)
        if origin is Annotated:
            plain, meta = get_args(kind)[:2]
            bounds = {
                name: getattr(meta, key) for key, name in BOUNDS.items() if getattr(meta, key) is not None
            }
            return self.of(plain) | bounds
        if origin in (Union, types.UnionType):
            return {"anyOf": [self.of(each) for each in get_args(kind)]}
        if origin in (list, tuple, Sequence):
            return {"type": "array", "items": self.of(get_args(kind)[0])}
        if kind in PLAIN:
            return PLAIN[kind]
        if kind is Event:
            for each in event_types().values():
                self._record(each)
            names = sorted(each.__name__ for each in event_types().values())
            return {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in names]}
        if issubclass(kind, enum.Enum):
            return {"enum": [each.name.lower() for each in kind]}
        self._record(kind)
        return {"$ref": f"#/components/schemas/{kind.__name__}"}

    def _record(self, kind: Any) -> None:
        if kind.__name__ in self.named:
            return
        schema = self.named[kind.__name__] = {"type": "object", "description": first_line(kind)}
        properties = {name: self.of(each) for name, each, _ in fields(kind)}
        required = [name for name, _, required in fields(kind) if required]
        if issubclass(kind, Event):
            properties = {"type": {"const": type_tag(kind)}, **properties}
            required = ["type", *required]
        schema |= {"properties": properties, "required": required}
        self.named[kind.__name__] = schema


def fields(kind: Any) -> list[tuple[str, Any, bool]]:
    """Return a record's fields: name, type, and whether it is always there or must be given."""
    hints = typing.get_type_hints(kind, include_extras=True)
    if issubclass(kind, msgspec.Struct):
        return [(f.name, hints[f.name], f.required) for f in msgspec.structs.fields(kind)]
    if dataclasses.is_dataclass(kind):
        nothing = dataclasses.MISSING
        return [(f.name, hints[f.name], f.default is nothing) for f in dataclasses.fields(kind)]
    return [(name, hints[name], True) for name in kind._fields]


def first_line(kind: Any) -> str:
    return (inspect.getdoc(kind) or "").splitlines()[0]


def openrpc() -> str:
    """Return the OpenRPC document."""
    schemas = Schemas()
    methods = []
    for name, method in m.METHODS.items():
        params = [
            {"name": field, "required": required, "schema": schemas.of(kind)}
            for field, kind, required in fields(method)
        ]
        result = {"name": "result", "schema": schemas.of(method.RESULT or type(None))}
        description = inspect.getdoc(method) or ""
        methods.append(
            {
                "name": name,
                "summary": description.splitlines()[0],
                "description": description,
                "paramStructure": "by-name",
                "params": params,
                "result": result,
            }
        )
    schemas.of(Event)
    document = {
        "openrpc": "1.3.2",
        "info": {"title": "clave", "version": str(m.RPC_VERSION)},
        "methods": methods,
        "components": {"schemas": dict(sorted(schemas.named.items()))},
    }
    return json.dumps(document, indent=1) + "\n"


def words(schema: dict[str, Any]) -> str:
    """Return a schema in a few words."""
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if "anyOf" in schema:
        return " or ".join(words(each) for each in schema["anyOf"])
    if "oneOf" in schema:
        return "an event"
    if "enum" in schema:
        return " or ".join(f'"{each}"' for each in schema["enum"])
    if "const" in schema:
        return f'"{schema["const"]}"'
    if "pattern" in schema:
        return "hexadecimal digits"
    if schema.get("type") == "array":
        return f"a list of {words(schema['items'])}"
    names = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean", "null": "null"}
    return names.get(schema.get("type", ""), "any")


def generated() -> str:
    """Return the part of docs/rpc.md that follows from the code."""
    schemas = Schemas()
    lines = [BEGIN, "", "### Methods", ""]
    for name, method in m.METHODS.items():
        change = issubclass(method, m.Change)
        given = ", ".join(
            f"{field}{'' if required else '?'}: {words(schemas.of(kind))}"
            for field, kind, required in fields(method)
            if field != "key"
        )
        lines += [f"**{name}**({given}{', ' if given and change else ''}{'key?: text' if change else ''})"]
        lines += [f"-> {words(schemas.of(method.RESULT or type(None)))}  "]
        lines += [*(inspect.getdoc(method) or "").splitlines(), ""]
    schemas.of(Event)
    lines += ["### Events", "", "Stored ones have a number; the others are reported only as they happen.", ""]
    lines += ["| type | stored | fields | |", "|---|---|---|---|"]
    for tag, event in sorted(event_types().items()):
        blank = event.__new__(event)
        names = ", ".join(f"{field}: {words(schemas.of(kind))}" for field, kind, _ in fields(event))
        lines += [f"| {tag} | {'yes' if is_stored(blank) else 'no'} | {names} | {first_line(event)} |"]
    lines += ["", "### Records", "", "| name | fields | |", "|---|---|---|"]
    events = {event.__name__ for event in event_types().values()}
    for name, schema in sorted(schemas.named.items()):
        if name not in events:
            properties = ", ".join(f"{field}: {words(each)}" for field, each in schema["properties"].items())
            lines += [f"| `{name}` | {properties} | {schema['description']} |"]
    lines += ["", "### Error codes", "", "| code | name |", "|---|---|"]
    lines += [f"| {int(code)} | {code.name.lower().replace('_', ' ')} |" for code in ErrorCode]
    lines += ["", "### Exit statuses of the commands", "", "| status | |", "|---|---|"]
    lines += [f"| {number} | {text} |" for number, text in EXIT_STATUSES.items()]
    return "\n".join([*lines, "", END])


def page() -> str:
    """Return docs/rpc.md with its generated part made anew."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    return before + generated() + rest.partition(END)[2]


if __name__ == "__main__":
    SCHEMA.write_text(openrpc(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE} and {SCHEMA}\n")

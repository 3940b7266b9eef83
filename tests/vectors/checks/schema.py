"""Declare a kind of vector by the fields of its cases and their check. Knows no kind itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clave_crypto.keys import Secret

Case = dict[str, Any]
Shape = dict[str, Any]

LEAF = None
"""In a shape: a value with no fields of its own."""


@dataclass(frozen=True)
class Schema:
    """The fields of a kind of case, and what checks it."""

    shape: Shape
    check: Callable[[Case], None]


SCHEMAS: list[Schema] = []


def vector(**shape: Any) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    def declare(check: Callable[[Case], None]) -> Callable[[Case], None]:
        SCHEMAS.append(Schema(shape, check))
        return check

    return declare


def schema_of(case: Case) -> Schema:
    """Return the schema a case has, or fail on fields that none has."""
    for schema in SCHEMAS:
        if schema.shape.keys() == case.keys():
            assert_shape(schema.shape, case)
            return schema
    raise AssertionError(f"no known kind of vector has the fields {sorted(case)}")


def assert_shape(shape: Any, value: Any) -> None:
    if isinstance(shape, list):
        for item in value:
            assert_shape(shape[0], item)
    elif isinstance(shape, dict):
        assert shape.keys() == value.keys(), f"unknown fields: {sorted(shape.keys() ^ value.keys())}"
        for name, inner in shape.items():
            assert_shape(inner, value[name])


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def secret(text: str) -> Secret:
    return Secret(bytes.fromhex(text))

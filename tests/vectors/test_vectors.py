"""Every case of the official MLS vectors, for the cipher suites this library has."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clave_crypto.mls import SUITES
from vectors.checks import Case, schema_of


def test_vector(
    file: str, suite: int | None, count: int, case: Case, record_property: Callable[[str, object], None]
) -> None:
    record_property("vector", (file, str(suite or "any"), count))
    schema = schema_of(case)
    if suite is not None and suite not in SUITES:
        pytest.skip(f"cipher suite {suite} is not supported")
    schema.check(case)


def test_unknown_fields_fail() -> None:
    with pytest.raises(AssertionError, match="no known kind"):
        schema_of({"cipher_suite": 1, "surprise": ""})

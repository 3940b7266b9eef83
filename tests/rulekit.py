"""Expecting that a rule of RFC 9420 refuses something, and remembering which rules a test is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clave_crypto.mls import ValidationError
from clave_crypto.mls.rules.registry import RULES
from groupkit import Party

TESTED: set[str] = set()


def breaks(rule_id: str) -> Any:
    """Expect a refusal by this rule; remember that it is tested."""
    assert rule_id in RULES
    return pytest.raises(ValidationError, match=rf"{RULES[rule_id].section}: {rule_id}\)")


def proves(*rule_ids: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    TESTED.update(rule_ids)
    return lambda test: test


def refused(party: Party, message: bytes, rule_id: str) -> None:
    """Check that `message` breaks the rule and leaves the state byte-identical."""
    before = party.group.state()
    with breaks(rule_id):
        party.sees(message)
    assert party.group.state() == before

"""How a rule is declared: its id, its section, and what it refuses. Knows no rule itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from clave_crypto.errors import DecodeError, KeyRejected, SignatureInvalid
from clave_crypto.mls.errors import ValidationError

__all__ = ["RULES", "BrokenRuleError", "Rule", "rule"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Rule:
    """One rule: `id`, its RFC 9420 `section`, in words what must hold, and what checks it."""

    id: str
    section: str
    text: str
    check: Callable[..., Any]


RULES: dict[str, Rule] = {}
"""Every rule by its id. Its check is looked up here when it runs, so that a test can try to do without it."""


class BrokenRuleError(Exception):
    """What a check raises; its caller sees a `ValidationError` with the rule's id."""


def rule(rule_id: str, section: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare a check. Its docstring's first line is the rule; what it raises becomes a `ValidationError`."""

    def declare(check: Callable[P, R]) -> Callable[P, R]:
        RULES[rule_id] = Rule(rule_id, section, (check.__doc__ or "").splitlines()[0], check)

        @wraps(check)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                result: R = RULES[rule_id].check(*args, **kwargs)
            except (BrokenRuleError, DecodeError, KeyRejected, SignatureInvalid) as error:
                raise ValidationError(rule_id, section, str(error)) from None
            return result

        return run

    return declare

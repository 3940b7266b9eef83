"""Expecting that something is refused, and finding which tests prove which rule of a catalogue."""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from clave_crypto.mls import MLSError, ValidationError, rules
from clave_crypto.mls.rules.registry import RULES
from groupkit import Party

TESTS = Path(__file__).parent

for module in pkgutil.iter_modules(rules.__path__):
    importlib.import_module(f"{rules.__name__}.{module.name}")


@contextmanager
def breaks(rule_id: str, *parties: Party) -> Iterator[pytest.ExceptionInfo[ValidationError]]:
    """Expect a refusal by this rule, which leaves the parties' states byte-identical."""
    before = [party.group.state() for party in parties]
    with pytest.raises(ValidationError, match=rf"{RULES[rule_id].section}: {rule_id}\)") as caught:
        yield caught
    assert [party.group.state() for party in parties] == before


def refused(party: Party, message: bytes, expected: str | type[MLSError]) -> Any:
    """Check that `message` breaks that rule, or raises that error, and leaves the state byte-identical."""
    before = party.group.state()
    with breaks(expected) if isinstance(expected, str) else pytest.raises(expected) as caught:
        party.sees(message)
    assert party.group.state() == before
    return caught.value


def proves(*rule_ids: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Say which rules a test fails without."""

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        test.proves = frozenset(rule_ids)  # type: ignore[attr-defined]  # a mark of the catalogue's own
        return test

    return mark


@dataclass(frozen=True)
class Proof:
    """A test that proves rules."""

    path: str
    name: str
    rule_ids: frozenset[str]
    test: Callable[..., None]

    def runs(self, rule_id: str) -> Iterator[bool]:
        """Run the test with each of its parameters that is about the rule; yield whether it passed."""
        for arguments in self._arguments():
            if arguments.get("rule_id", rule_id) == rule_id:
                try:
                    self.test(**arguments)
                except (Exception, pytest.fail.Exception):  # noqa: BLE001 - however it fails, it fails
                    yield False
                else:
                    yield True

    def _arguments(self) -> Iterator[dict[str, Any]]:
        """Yield what pytest would call the test with."""
        axes = []
        for mark in getattr(self.test, "pytestmark", ()):
            names, rows = mark.args
            names = [name.strip() for name in names.split(",")] if isinstance(names, str) else names
            axes.append([dict(zip(names, row if len(names) > 1 else (row,), strict=True)) for row in rows])
        for combination in itertools.product(*axes):
            yield {name: value for part in combination for name, value in part.items()}


@cache
def proofs(folder: str = "crypto") -> tuple[Proof, ...]:
    """Return every test in that folder of tests that proves a rule, in the order of files and lines."""
    return tuple(
        Proof(path.relative_to(TESTS.parent).as_posix(), name, test.proves, test)
        for path in sorted(TESTS.glob(f"{folder}/**/test_*.py"))
        if "@proves(" in path.read_text()
        for name, test in inspect.getmembers(_load(path), inspect.isfunction)
        if hasattr(test, "proves")
    )


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"proofs_{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

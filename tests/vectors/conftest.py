"""Collect the official vectors, one test per case, and print at the end what passed and what was skipped."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from clave_crypto.mls import SUITES
from vectors.checks import Case

VARIABLE = "CLAVE_MLS_VECTORS"
DEFAULT = Path(__file__).parents[2].parent / "shared" / "mls"


def vector_folder() -> Path:
    return Path(os.environ.get(VARIABLE, DEFAULT))


def is_vector_file(cases: object) -> bool:
    """Scenario scripts lie beside the vectors; they are objects, vectors are lists of cases."""
    return isinstance(cases, list) and bool(cases) and all(isinstance(case, dict) for case in cases)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    params = []
    folder = vector_folder()
    for path in sorted(folder.rglob("*.json")):
        cases = json.loads(path.read_bytes())
        if not is_vector_file(cases):
            continue
        by_suite: dict[int | None, list[Case]] = defaultdict(list)
        for case in cases:
            by_suite[case.get("cipher_suite")].append(case)
        name = str(path.relative_to(folder))
        for suite, group in by_suite.items():
            if suite is None or suite in SUITES:
                params += [
                    pytest.param(name, suite, 1, case, id=f"{name}-{suite or 'any'}-{number}")
                    for number, case in enumerate(group)
                ]
            else:
                params.append(pytest.param(name, suite, len(group), group[0], id=f"{name}-{suite}-all"))
    if not params:
        reason = f"no vectors: {folder} has none; set {VARIABLE} to a folder that does"
        params = [pytest.param("", None, 0, {}, id="none", marks=pytest.mark.skip(reason=reason))]
    metafunc.parametrize(("file", "suite", "count", "case"), params)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any) -> None:
    rows: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    reasons: dict[tuple[str, str], set[str]] = defaultdict(set)
    refusals: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.getreports(outcome):
            vector = dict(report.user_properties).get("vector")
            if vector is None:
                continue
            file, suite, count = vector
            rows[file, suite][outcome] += count
            refused = dict(report.user_properties).get("refused")
            if refused is not None:
                refusals[file, suite][refused] += count
            if outcome == "skipped":
                reasons[file, suite].add(report.longrepr[2].removeprefix("Skipped: "))
    if not rows:
        return
    terminalreporter.section("vectors")
    terminalreporter.write_line(f"{'file':44} {'suite':5} {'passed':>6} {'failed':>6} {'skipped':>7}  reason")
    for (file, suite), counts in sorted(rows.items()):
        for rule, number in refusals[file, suite].items():
            reasons[file, suite].add(f"{number} break {rule}: refused, and pass without that rule")
        line = f"{file:44} {suite:5} {counts['passed']:6} {counts['failed']:6} {counts['skipped']:7}"
        terminalreporter.write_line(f"{line}  {'; '.join(sorted(reasons[file, suite]))}".rstrip())

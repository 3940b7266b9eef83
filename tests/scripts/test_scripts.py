"""The scenario scripts of the MLS interoperability tests, with this library in every role."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clave_crypto.mls import SUITES, find_suite
from scripts.stage import Stage, Step
from vectors.conftest import vector_folder

LONG = 120
"""Steps of a script that is played in part here, and whole by `make soak`."""


def scripts() -> list[Any]:
    found = []
    for path in sorted((vector_folder() / "scenarios").glob("*.json")):
        for name, steps in json.loads(path.read_bytes())["scripts"].items():
            found.append(pytest.param(steps, id=f"{path.stem}-{name}"))
    skip = pytest.mark.skip(reason=f"no scripts in {Path(vector_folder().name) / 'scenarios'}")
    return found or [pytest.param([], id="none", marks=skip)]


@pytest.mark.parametrize(
    ("suite_id", "public"), [(suite_id, False) for suite_id in sorted(SUITES)] + [(1, True)]
)
@pytest.mark.parametrize("steps", scripts())
def test_script(steps: Sequence[Step], suite_id: int, public: bool) -> None:
    stage = Stage(find_suite(suite_id), public=public)
    stage.play(steps[:LONG])
    assert len(stage.results) == min(len(steps), LONG)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("steps", [one for one in scripts() if len(one.values[0]) > LONG])
def test_long_script(steps: Sequence[Step]) -> None:
    stage = Stage(find_suite(1), public=False)
    stage.play(steps)
    assert len(stage.results) == len(steps)

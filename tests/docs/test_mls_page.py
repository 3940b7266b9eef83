"""The examples of docs/mls.md run as they stand, and print what the page says they print."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import subprocess
import sys
from pathlib import Path

from clave_crypto import mls

PAGE = Path(__file__).parents[2] / "docs" / "mls.md"
_EXAMPLE = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, str]]:
    """Return each example's source and what it prints."""
    text = PAGE.read_text(encoding="utf-8")
    found = _EXAMPLE.findall(text)
    assert len(found) == text.count("```python"), "every example is followed by what it prints"
    assert len(found) >= 6
    return found


def test_the_first_example_runs_by_itself() -> None:
    source, printed = examples()[0]
    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert ran.stdout == printed


def test_the_examples_go_on_from_each_other() -> None:
    namespace: dict[str, object] = {}
    for number, (source, printed) in enumerate(examples()):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile(source, f"{PAGE.name}, example {number}", "exec"), namespace)  # noqa: S102 (our own page)
        assert output.getvalue() == printed, f"example {number}"


def test_every_method_of_a_policy_and_every_bound_is_explained() -> None:
    text = PAGE.read_text(encoding="utf-8")
    asked = {name for name in vars(mls.Policy) if not name.startswith("_")}
    assert asked == set(re.findall(r"^\| `(\w+)` \| (?:whether|what to)", text, re.MULTILINE))
    bounds = text.split("## Bounds")[1].split("\n## ")[0]
    limits = {(field.name, str(field.default)) for field in dataclasses.fields(mls.Limits)}
    assert limits == set(re.findall(r"^\| `(\w+)` \| (\d+) \|", bounds, re.MULTILINE))
    assert f"0x{mls.MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519.id:X}" in text

"""End the processes of libraries; with `-v`, print which operations passed with which library and suite."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import pytest

pytest.register_assert_rewrite("interop.steps")

from interop.matrix import Cell, lay_out  # noqa: E402 - after what must precede the import of interop.steps
from interop.mixes import LIBRARIES, Mix  # noqa: E402

CELL = "interop cell"
"""The property of a test that holds its `Cell`."""


@pytest.fixture(scope="session", autouse=True)
def _processes() -> Iterator[None]:
    yield
    for library in LIBRARIES:
        library.close()


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Note the cell of each test that has a parameter `mix`, by its name and its parameter `what`."""
    for item in items:
        if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
            continue
        parameters = item.callspec.params
        mix = parameters.get("mix")
        if isinstance(mix, Mix):
            operation = item.originalname.removeprefix("test_").replace("_", " ")
            if "what" in parameters:
                operation += f": {parameters['what']}"
            cell = Cell(mix.theirs.name, operation, mix.creator.name, str(mix.suite))
            item.user_properties.append((CELL, list(cell)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.get_verbosity() < 1:
        return
    tables: dict[str, dict[Cell, list[str]]] = defaultdict(lambda: defaultdict(list))
    for outcome in ("passed", "failed", "error", "skipped", "xfailed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in getattr(report, "user_properties", ()):
                if name == CELL:
                    cell = Cell(*value)
                    tables[cell.library][cell].append(outcome)
    for library, outcomes in sorted(tables.items()):
        terminalreporter.section(f"{library}: tests passed")
        for line in lay_out(outcomes):
            terminalreporter.write_line(line)

"""The live area has few rows and says how many it leaves out."""

from __future__ import annotations

from clave_client.ui.terminal.live_area import cut_line, job_lines, limit_rows
from clave_client.ui.terminal.wrapping import Line


def plain(lines: list[Line]) -> list[str]:
    return ["".join(text for _, text in line) for line in lines]


def test_what_runs_comes_before_what_waits() -> None:
    assert plain(job_lines("/invite green", "waiting for the relay", ["a", "b\nc", "d", "e", "f"])) == [
        "/invite green: waiting for the relay ... Ctrl-C cancels",
        "next: a",
        "next: b...",
        "next: d",
        "and 2 more",
    ]


def test_rows_beyond_the_most_are_counted() -> None:
    lines: list[Line] = [[("", f"line {number}")] for number in range(5)]
    assert plain(limit_rows(lines, 80, 5)) == [f"line {number}" for number in range(5)]
    assert plain(limit_rows(lines, 80, 3)) == ["(3 more)", "line 3", "line 4"]
    assert plain(limit_rows(lines, 4, 3)) == ["(...", "line", " 4"]
    assert plain(limit_rows(lines, 80, 1)) == ["line 4"]
    assert limit_rows(lines, 80, 0) == []


def test_a_long_line_is_cut() -> None:
    line: Line = [("time", "waiting "), ("note", "text")]
    assert cut_line(line, 12) == line
    assert cut_line(line, 10) == [("time", "waiting "), ("note", "te...")]
    assert cut_line(line, 3) == [("time", "wai...")]

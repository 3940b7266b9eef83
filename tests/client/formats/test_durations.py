from __future__ import annotations

import pytest

from clave_client.formats.durations import duration_words, exact_duration_words, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("10m", 600), ("8H", 28_800), ("7d", 604_800), ("4w", 2_419_200), ("0s", 0)]
    + [(bad, None) for bad in ("", "d", "1", "1y", "-1d", "1.5h", "999999999d", "\u0661d", "1d2h", "off")],
)
def test_a_typed_duration_is_read_or_refused(text: str, seconds: int | None) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "exact", "rough"),
    [
        (1, "1 second", "1 seconds"),
        (90, "90 seconds", "90 seconds"),
        (3600, "1 hour", "60 minutes"),
        (86_400, "1 day", "24 hours"),
        (604_800, "7 days", "7 days"),
    ],
)
def test_a_duration_is_said_in_words(seconds: int, exact: str, rough: str) -> None:
    assert exact_duration_words(seconds) == exact
    assert duration_words(seconds) == rough

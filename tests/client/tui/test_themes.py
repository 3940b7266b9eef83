"""The themes: all text can be read, and no two meanings look alike to colour-blind people."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from rich.style import Style
from textual.color import Color
from textual.theme import Theme

from clave_client.testing import MemoryRelay
from clave_client.tui.themes import DARK, LIGHT, THEMES
from client.tui.screenkit import Screen, in_a_room, screen_of

TEXTS = ("text-primary", "text-success", "text-accent", "text-warning", "text-error", "text-secondary")
GROUNDS = ("background", "surface", "panel")

SEEN_BY = {
    "most people": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopes": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "deuteranopes": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "tritanopes": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}
"""Machado, Oliveira, Fernandes: "A Physiologically-based Model for Simulation of Color Vision Deficiency"."""

APART = 15.0
"""Least distance of two colours in CIELAB that mean different things; one can tell 2.3 apart."""


def _linear(color: Color) -> tuple[float, float, float]:
    def channel(value: float) -> float:
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (channel(each) for each in color.normalized)
    return red, green, blue


def _luminance(color: Color) -> float:
    red, green, blue = _linear(color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: Color, other: Color) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _lab(color: Color, seen_by: str) -> tuple[float, float, float]:
    rgb = _linear(color)
    red, green, blue = (
        max(0.0, sum(part * value for part, value in zip(row, rgb, strict=True))) for row in SEEN_BY[seen_by]
    )
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089

    def root(value: float) -> float:
        return value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116

    return 116 * root(y) - 16, 500 * (root(x) - root(y)), 200 * (root(y) - root(z))


def _colors(theme: Theme) -> dict[str, Color]:
    """Return the colours of a theme, those of texts as they look on its background."""
    found = theme.to_color_system().generate()
    colors = {
        name: Color.parse(found[name]) for name in (*GROUNDS, "foreground", "text-muted") if name in found
    }
    background = colors["background"]
    for name in TEXTS:
        colors[name] = background.blend(Color.parse(found[name]), Color.parse(found[name]).a).with_alpha(1.0)
    return colors


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
@pytest.mark.parametrize("ground", GROUNDS)
def test_all_text_can_be_read(theme: Theme, ground: str) -> None:
    colors = _colors(theme)
    for name in (*TEXTS, "foreground", "text-muted"):
        assert _contrast(colors[name], colors[ground]) >= 4.5, name


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
@pytest.mark.parametrize("seen_by", SEEN_BY)
def test_names_mentions_and_alarms_do_not_look_alike(theme: Theme, seen_by: str) -> None:
    colors = _colors(theme)
    for one, other in combinations(("text-primary", "text-warning", "foreground"), 2):
        pairs = zip(_lab(colors[one], seen_by), _lab(colors[other], seen_by), strict=True)
        assert sum((a - b) ** 2 for a, b in pairs) ** 0.5 >= APART, (one, other)


def test_one_is_dark_and_one_is_light() -> None:
    assert DARK.dark
    assert not LIGHT.dark


def _drawn_styles(screen: Screen) -> dict[str, Style | None]:
    """Return the style in which each text is drawn."""
    app = screen.pilot.app
    styles: dict[str, Style | None] = {}
    for strip in app.screen._compositor.render_strips():
        for line_filter in app.get_line_filters():
            strip = strip.apply_filter(line_filter, Color(0, 0, 0))
        styles |= {text.strip(): style for text, style, _ in strip}
    return styles


async def test_without_colours_what_is_chosen_is_still_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with MemoryRelay() as relay, relay.client("blue") as blue, screen_of(relay, tmp_path) as red:
        await in_a_room(red, blue, "look")
        await red.pilot.press("alt+m")
        await red.until(lambda: bool(red.main.messages.chosen))
        styles = _drawn_styles(red)
        assert all(each is None or each.color is None or each.color.is_default for each in styles.values())
        chosen, name = styles["look"], styles["blue (unverified)"]
        assert chosen is not None
        assert chosen.reverse
        assert name is not None
        assert name.bold
        for key, tabs, chosen_text in (
            ("alt+o", 0, "is called:"),
            ("alt+n", 1, "7 days"),
            ("alt+n", 3, "Make a link"),
        ):
            await red.pilot.press(key)
            await red.shows("Esc close")
            await red.pilot.press(*["tab"] * tabs)
            await red.pilot.pause()
            drawn = _drawn_styles(red)[chosen_text]
            assert drawn is not None
            assert drawn.underline, chosen_text
            await red.pilot.press("escape")
            await red.until(lambda: red.pilot.app.screen is red.main)

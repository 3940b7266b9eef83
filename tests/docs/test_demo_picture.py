"""docs/demo.svg shows the conversation that `clave demo` has today, and can be read by any viewer of SVG."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from demopicture import COLUMNS, PICTURE, draw

SPOKEN = ("/new friends", "/invite green", "hello, both of you", "blue cannot read this one")
SVG = "{http://www.w3.org/2000/svg}"


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(picture).iter(f"{SVG}text")]  # noqa: S314 (our own)


def test_the_picture_shows_chat_and_relay() -> None:
    picture = PICTURE.read_text(encoding="utf-8")
    shown = texts(picture)
    assert set(SPOKEN) <= set(shown)
    assert {"rekey", "confirm", "application"} <= set(shown)
    assert len(picture) < 100_000
    assert "url(" not in picture, "no fonts or images from elsewhere"
    assert "prefers-color-scheme: dark" in picture


def test_text_is_escaped_and_stands_in_its_column() -> None:
    (title, *drawn) = texts(draw([f"{'':8}a < b & c", f"{'red':>6}  {'said':20} | seen  here"]))
    assert title == "clave demo"
    assert drawn == ["a < b & c", "red", "said", "seen", "here"]


def test_lines_without_a_bar_are_chat() -> None:
    assert 'class="relay"' not in draw(["x" * COLUMNS])

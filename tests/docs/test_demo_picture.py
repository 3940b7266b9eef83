"""docs/demo.svg shows the conversation that `clave demo` has today, and can be read by any viewer of SVG."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from demopicture import PICTURE, demo_picture

SPOKEN = ("> /new friends", "> /invite green", "hello, both of you", "blue cannot read this one")
RELAY = ("registered", "rekey", "confirm", "application")
RECEIPT = ("what the relay could learn of message", "what it could not:", "the text (25 characters)")
SVG = "{http://www.w3.org/2000/svg}"


def said(picture: str) -> str:
    """Return all text of a picture, by its places from left to right and down, in one line."""
    elements = ET.fromstring(picture).iter(f"{SVG}text")  # noqa: S314 (our own)
    return " ".join(" ".join("".join(each.itertext()).split()) for each in elements)


def check(picture: str) -> None:
    shown = said(picture)
    for words in (*SPOKEN, *RELAY, *RECEIPT):
        assert words in shown, words
    assert len(picture) < 200_000
    assert "@font-face" not in picture
    assert "://" not in picture.replace("http://www.w3.org/2000/svg", "").replace(
        "https://www.textualize.io", ""
    ), "nothing is loaded from elsewhere"


def test_the_picture_shows_people_relay_and_receipt() -> None:
    check(PICTURE.read_text(encoding="utf-8"))


async def test_the_demo_of_today_makes_such_a_picture() -> None:
    check(await demo_picture())

"""The pictures docs/screens/*.svg: every scene of the full screen, dark and light. Run this to write them."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from client.tui.scenes import SCENES, THEMES, room_scene, wear
from client.tui.views import VIEWS, leave
from svgpictures import picture_of

FOLDER = Path(__file__).parents[1] / "docs" / "screens"

SIZE = (110, 32)
"""Columns and rows."""


async def write_pictures(folder: Path) -> None:
    """Write a picture of each scene and each view in each theme."""
    with tempfile.TemporaryDirectory(prefix="clave-scene-") as home:
        async with room_scene(Path(home), SIZE) as red:
            for name, brings in VIEWS.items():
                await brings(red)
                await _write(folder, name, red.pilot)
                await leave(red)
    for name, scene in SCENES.items():
        with tempfile.TemporaryDirectory(prefix="clave-scene-") as home:
            async with scene(Path(home), SIZE) as pilot:
                await _write(folder, name, pilot)


async def _write(folder: Path, name: str, pilot: Pilot[Any]) -> None:
    for theme in THEMES:
        await wear(pilot, theme)
        path = folder / f"{name}-{theme.removeprefix('clave-')}.svg"
        path.write_text(picture_of(pilot.app, "clave"), encoding="utf-8")


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for former in FOLDER.glob("*.svg"):
        former.unlink()
    asyncio.run(write_pictures(FOLDER))

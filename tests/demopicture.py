"""The picture docs/demo.svg: what `clave demo` shows on a terminal. Run this to write it.

The demo runs for real, so that times, ports, room ids and digests differ from run to run.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from clave_client.tui.demo import DemoApp, playing
from svgpictures import picture_of

PICTURE = Path(__file__).parents[1] / "docs" / "demo.svg"

COLUMNS, ROWS = 128, 56
"""Size of the terminal, in characters; wide enough for the relay's rows, and as high as the talk is long."""

_MOST_SECONDS = 60.0


async def demo_picture() -> str:
    """Return an SVG of the demo at the end of its script. Raises what ended it before."""
    app = DemoApp(pace=0.0)
    async with app.run_test(size=(COLUMNS, ROWS)) as pilot, playing(app), asyncio.timeout(_MOST_SECONDS):
        while not app.is_over:
            if app.failure is not None:
                raise app.failure
            await pilot.pause(0.05)
        await pilot.pause()
        return picture_of(app, "clave demo")


if __name__ == "__main__":
    PICTURE.write_text(asyncio.run(demo_picture()), encoding="utf-8")

"""Each scene looks as its stored snapshots, at three sizes and in two themes; those show what differs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.content import Content
from textual.widgets import Static

from client.tui.scenes import SCENES, SIZES, THEMES, room_scene, wear
from client.tui.snapshots import UPDATE, assert_snapshot, snapshot_of, stored_snapshots
from client.tui.views import VIEWS, leave


def snapshot_name(scene: str, size: tuple[int, int], theme: str) -> str:
    return f"{scene}-{size[0]}x{size[1]}-{theme.removeprefix('clave-')}"


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("scene", SCENES)
async def test_a_scene_looks_as_it_is_stored(scene: str, size: tuple[int, int], tmp_path: Path) -> None:
    async with SCENES[scene](tmp_path, size) as pilot:
        for theme in THEMES:
            await wear(pilot, theme)
            assert_snapshot(pilot.app, snapshot_name(scene, size, theme))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_each_view_looks_as_it_is_stored(size: tuple[int, int], tmp_path: Path) -> None:
    different: list[str] = []
    async with room_scene(tmp_path, size) as red:
        for name, brings in VIEWS.items():
            await brings(red)
            for theme in THEMES:
                await wear(red.pilot, theme)
                try:
                    assert_snapshot(red.pilot.app, snapshot_name(name, size, theme))
                except AssertionError as error:
                    different.append(f"{name}: {error}")
            await leave(red)
    assert not different, "\n".join(different)


@pytest.mark.skipif(UPDATE in os.environ, reason="the snapshots are being stored")
def test_each_stored_snapshot_is_of_a_scene() -> None:
    names = {
        snapshot_name(scene, size, theme) for scene in (*SCENES, *VIEWS) for size in SIZES for theme in THEMES
    }
    assert stored_snapshots() == names


class Words(App[None]):
    """Shows one line."""

    def __init__(self, *words: str | tuple[str, str]) -> None:
        super().__init__()
        self._words = Content.assemble(*words)

    def compose(self) -> ComposeResult:
        yield Static(self._words)


async def shown(*words: str | tuple[str, str]) -> str:
    async with Words(*words).run_test(size=(20, 2)) as pilot:
        await wear(pilot, THEMES[0])
        return snapshot_of(pilot.app)


async def test_a_snapshot_has_text_and_the_style_of_each_run() -> None:
    assert await shown("a ", ("\u4e16\u754c", "bold #ff0000"), " b at 23:59") == (
        "a \u4e16\u754c b at HH:MM\n"
        "\n"
        "=== styles\n"
        "1: #dce1e6 on #111519 <1, on #111519 <2, #ff0000 on #111519 bold <6, on #111519 <7,"
        " #dce1e6 on #111519 <17, on #111519 <20\n"
        "2: on #111519 <20\n"
    )


async def test_what_is_shown_in_another_way_fails_with_a_diff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(UPDATE, raising=False)
    async with Words("hello").run_test(size=(20, 2)) as pilot:
        with pytest.raises(AssertionError, match="there is no snapshot words"):
            assert_snapshot(pilot.app, "words", tmp_path)
        monkeypatch.setenv(UPDATE, "1")
        assert_snapshot(pilot.app, "words", tmp_path)
        monkeypatch.delenv(UPDATE)
        assert_snapshot(pilot.app, "words", tmp_path)
        assert stored_snapshots(tmp_path) == {"words"}
    async with Words(("hello", "bold")).run_test(size=(20, 2)) as pilot:
        with pytest.raises(AssertionError, match=r"(?s)\n-1: .* <5, .*\n\+1: .* bold <5, "):
            assert_snapshot(pilot.app, "words", tmp_path)

"""Stories of leaving the full screen, for a while and for good: the terminal is given back as it was."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from scenarios.fullscreen import (
    CTRL_C,
    CTRL_Q,
    CTRL_Z,
    ENTER,
    alt,
    composer,
    is_sane,
    ready,
    said,
    says,
    shell,
    two_friends,
)
from scenarios.test_bad_input import clave

# --- for good ---


async def test_ctrl_c_twice_ends_it(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there, there.window() as red:
        before = red.attributes
        await ready(red)
        red.press("never sent" + CTRL_C)
        await red.until(lambda: "never" not in composer(red), "an empty line")
        red.press(CTRL_C)
        await red.shows("once more closes this window")
        red.press(CTRL_C)
        assert await red.ended() == 128 + signal.SIGINT
        assert is_sane(red, before), (red.attributes, red.modes)
        assert there.blue.texts(there.room) == []


async def test_ctrl_q_ends_it(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there, there.window() as red:
        before = red.attributes
        await ready(red)
        red.press(CTRL_Q)
        assert await red.ended() == 0
        assert is_sane(red, before), (red.attributes, red.modes)


async def test_sigterm_gives_the_terminal_back(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there, there.window() as red:
        before = red.attributes
        await ready(red)
        red.send(signal.SIGTERM)
        await red.ended()
        assert is_sane(red, before), (red.attributes, red.modes)
        assert b"Traceback" not in red.written


@pytest.mark.parametrize("how", [signal.SIGTERM, None])
async def test_a_signal_says_so_in_the_exit_status(tmp_path: Path, how: signal.Signals | None) -> None:
    """Without a signal the window of the terminal is closed: the system sends SIGHUP."""
    async with two_friends(tmp_path) as there, there.window() as red:
        await ready(red)
        if how is None:
            red.close_window()
        else:
            red.send(how)
        assert await red.ended() == 128 + (how or signal.SIGHUP)


@pytest.mark.parametrize("how", [CTRL_Q, signal.SIGTERM])
async def test_a_draft_is_kept_when_it_ends(tmp_path: Path, how: str | signal.Signals) -> None:
    async with two_friends(tmp_path) as there, there.window() as red:
        await ready(red)
        red.press("a draft")
        await red.until(lambda: "a draft" in composer(red), "a draft")
        if isinstance(how, str):
            red.press(how)
        else:
            red.send(how)
        await red.ended()
        assert (await clave("draft", "--name", "red", "friends", home=there.home)).out == "a draft\n"


async def test_what_was_written_survives_a_kill(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there:
        async with there.window() as red:
            await ready(red)
            await says(red, "said")
            await there.blue.reads("said")
            red.send(signal.SIGKILL)
            assert await red.ended() == -signal.SIGKILL
        async with there.window() as red:
            await ready(red)
            await red.shows("  said")
            assert said(red).count("said") == 1


# --- for a while ---


async def test_ctrl_z_gives_the_terminal_back_and_fg_goes_on(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there, shell(there.home, CLAVE_NAME="red") as red:
        await red.prompts("shell>")
        for time in range(2):
            before, modes = red.attributes, red.modes
            red.press(("python -m clave_client" if time == 0 else "fg") + "\r")
            await ready(red)
            red.press(f"draft {time},")
            await red.until(lambda: f"draft {time}" in composer(red), "a draft")  # noqa: B023  (awaited at once)
            red.press(CTRL_Z)
            await red.shows("Stopped")
            await red.until(lambda: red.text.endswith("shell>"), "the prompt")
            assert red.attributes == before
            assert red.modes - {"2004"} == modes - {"2004"}  # which readline has on itself
            red.press("stty -a | grep -ow 'isig\\|icanon\\|echo' | tr '\\n' ' '; echo .\r")
            await red.shows("isig icanon echo .")
            await red.until(lambda: red.text.endswith("shell>"), "the prompt")
        await there.blue.client.send(there.room, "while it was stopped")
        red.press("fg\r")
        await red.until(lambda: "while it was stopped" in said(red), "what came meanwhile")
        await red.until(lambda: "draft 0,draft 1," in composer(red), "what is written")
        assert "shell>" not in red.text
        red.press(ENTER)
        await there.blue.reads("draft 0,draft 1,")
        red.press(CTRL_Q)
        await red.until(lambda: red.text.endswith("shell>"), "the prompt")


async def test_it_goes_on_after_sigstop_and_sigcont_and_gives_the_terminal_back(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there, there.window() as red:
        before = red.attributes
        await ready(red)
        red.send(signal.SIGSTOP)
        await there.blue.client.send(there.room, "while it was stopped")
        red.send(signal.SIGCONT)
        await red.until(lambda: "while it was stopped" in said(red), "what came meanwhile")
        for number in range(5):
            await says(red, f"answer {number}")
            await there.blue.reads(f"answer {number}")
        red.press(CTRL_Q)
        assert await red.ended() == 0
        assert is_sane(red, before), (red.attributes, red.modes)


# --- an editor, and the bare view ---


def editor(folder: Path, lines: str) -> str:
    """Make a program that is called with a file to edit; return its path."""
    path = folder / "editor"
    path.write_text("#!/bin/sh\n" + lines)
    path.chmod(0o700)
    return str(path)


async def test_a_text_is_written_in_an_editor(tmp_path: Path) -> None:
    program = editor(tmp_path, 'printf "second line\\nthird \\342\\234\\223\\n" >> "$1"\n')
    async with two_friends(tmp_path) as there, there.window(EDITOR=program, VISUAL="") as red:
        before = red.attributes
        await ready(red)
        red.press("first " + alt("e"))
        await red.until(lambda: "third \u2713" in composer(red), "what the editor wrote")
        assert "first second line" in composer(red)
        red.press(ENTER)
        await there.blue.reads("first second line\nthird \u2713")
        red.press(CTRL_Q)
        assert await red.ended() == 0
        assert is_sane(red, before)


async def test_an_editor_that_fails_leaves_the_text(tmp_path: Path) -> None:
    program = editor(tmp_path, "exit 3\n")
    async with two_friends(tmp_path) as there, there.window(EDITOR=program, VISUAL="") as red:
        await ready(red)
        red.press("as before")
        for lines, why in (
            ("exit 3\n", "ended with status 3; the text is as before"),
            ('printf "\\377" > "$1"\n', "cannot be read as UTF-8"),
            ('rm "$1"\n', "cannot be read as UTF-8"),
        ):
            editor(tmp_path, lines)
            before = red.text.count(why.split()[-1])
            red.press(alt("e"))
            await red.until(lambda: red.text.count(why.split()[-1]) > before, why)  # noqa: B023  (awaited at once)
            await red.until(lambda: "as before" in composer(red), "the text")
        red.press(" and after" + ENTER)
        await there.blue.reads("as before and after")


async def test_an_editor_that_is_not_there_leaves_the_text(tmp_path: Path) -> None:
    program = str(tmp_path / "none")
    async with two_friends(tmp_path) as there, there.window(EDITOR=program, VISUAL="") as red:
        await ready(red)
        red.press("as before" + alt("e"))
        await red.shows("cannot run the editor")
        red.press(" and after" + ENTER)
        await there.blue.reads("as before and after")


async def test_an_editor_uses_the_terminal_as_a_shell_has_it(tmp_path: Path) -> None:
    program = editor(
        tmp_path, 'stty -a < /dev/tty > "$1.modes"; echo "type:"; read line < /dev/tty; echo "$line" > "$1"\n'
    )
    async with two_friends(tmp_path) as there, there.window(EDITOR=program, VISUAL="") as red:
        await ready(red)
        red.press(alt("e"))
        await red.shows("type:")
        await there.blue.client.send(there.room, "meanwhile")
        red.press("typed there\r")
        await red.until(lambda: "typed there" in composer(red), "what was typed")
        await red.until(lambda: "meanwhile" in said(red), "what came meanwhile")


async def test_the_bare_view_shows_the_messages_alone_until_enter(tmp_path: Path) -> None:
    async with two_friends(tmp_path) as there, there.window() as red:
        await ready(red)
        await says(red, "to be copied")
        await there.blue.reads("to be copied")
        await red.until(lambda: "to be copied" in said(red), "the message")
        modes = red.modes
        red.press(alt("w"))
        await red.shows("--- Enter goes back to clave ---")
        assert not red.modes & {"1000", "1003", "1006", "1049", "keys"}
        await there.blue.client.send(there.room, "meanwhile")
        red.press("\r")
        await red.until(lambda: "meanwhile" in said(red), "what came meanwhile")
        assert "Enter goes back" not in red.text
        await red.until(lambda: red.modes == modes, "the modes of the screen")
        red.press(alt("w"))
        await red.shows("--- Enter goes back to clave ---")
        red.send(signal.SIGTERM)
        await red.ended()

"""The terminal on a pseudo-terminal: what is typed arrives, and what is printed stands there once."""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path

import pytest

from client.ui.terminal.window import CHILD, TIMEOUT, Window, window


def handled(shown: Window) -> list[str]:
    """The lines that were handled, oldest first."""
    return [row.removeprefix("handled ") for row in shown.everything if row.startswith("handled ")]


def test_lines_typed_ahead_are_taken_one_by_one() -> None:
    with window() as shown:
        shown.press("wait\r")
        shown.shows("waiting began")
        shown.press("one\rtwo\rthree\rfour\rfive\rsix\rseven")
        shown.prompts("seven")
        assert handled(shown) == []
        shown.send(signal.SIGUSR1)
        shown.shows("handled 'six'")
        assert handled(shown) == ["'one'", "'two'", "'three'", "'four'", "'five'", "'six'"]
        shown.prompts("seven")


def test_a_marked_paste_is_text_and_an_unmarked_one_is_lines() -> None:
    with window() as shown:
        shown.press("\x1b[200~first\r\nsecond\rthird\n\x1b[201~")
        shown.ends_with("room> first", "      second", "      third")
        shown.press("!\r")
        shown.shows(r"handled 'first\nsecond\nthird!'")
        shown.press("a\nb\rc\n")
        shown.shows("handled 'c'")
        assert handled(shown)[1:] == ["'a'", "'b'", "'c'"]
        shown.press("x\x1b\ry\r")
        shown.shows(r"handled 'x\ny'")
        shown.press("\r \r")
        shown.prompts()
        assert len(handled(shown)) == 5


def test_a_large_paste_arrives_whole() -> None:
    pasted = "\n".join(f"{number} " + "y" * 70 for number in range(900))
    with window() as shown:
        shown.press("size \x1b[200~")
        for start in range(0, len(pasted), 1000):
            shown.press(pasted[start : start + 1000])
            shown.read()
        shown.press("\x1b[201~")
        shown.shows("899 yyy")
        shown.press("\r")
        shown.shows(f"size {len(pasted)}")


def test_prints_leave_the_draft_and_its_cursor_alone_and_the_terminal_raw() -> None:
    with window() as shown:
        shown.press("stream\r")
        shown.shows("stream 5")
        for character in "draft":
            shown.press(character)
            count = len(shown.everything)
            while len(shown.everything) == count:
                assert shown.is_raw
                assert shown.read(TIMEOUT)
        shown.prompts("draft")
        shown.press("\x1b[D\x1b[D_")
        shown.prompts("dra_ft")
        shown.send(signal.SIGUSR1)
        shown.shows("stream ended")
        assert (shown.screen.cursor.x, shown.screen.cursor.y) == (len("room> dra_"), len(shown.rows) - 1)
        numbers = [row for row in shown.everything if row.startswith("stream ") and row[-1].isdigit()]
        assert numbers == [f"stream {number}" for number in range(len(numbers))]
        shown.press("\r")
        shown.shows("handled 'dra_ft'")


def test_ten_thousand_lines_are_printed_once_each_while_one_types() -> None:
    with window() as shown:
        shown.press("burst 10000\rtyped during it")
        shown.shows("burst 9999")
        shown.prompts("typed during it")
        printed = [row for row in shown.everything if row.startswith("burst ")]
        assert printed == [f"burst {number}" for number in range(10_000)]


@pytest.mark.parametrize("reflows", [False, True])
@pytest.mark.parametrize("size", [(40, 10), (20, 5), (120, 40), (200, 24)])
def test_a_window_that_changes_keeps_the_draft_once(size: tuple[int, int], reflows: bool) -> None:
    draft = "a draft of many words that takes more than one row of a window with few columns"
    with window(rows=12, VTE_VERSION="7000" if reflows else "") as shown:
        shown.screen.reflows = reflows
        shown.press("live above\r")
        shown.shows("above")
        shown.press("burst 30\r" + draft)
        shown.shows("burst 29\nabove\nroom> a draft")
        shown.resize_and_wait(*size)
        columns = size[0]
        rows = [
            ("room> " + draft)[start : start + columns].rstrip()
            for start in range(0, 6 + len(draft), columns)
        ]
        shown.ends_with("above", *rows[-size[1] + 1 :])
        shown.resize_and_wait(80, 12)
        shown.ends_with("above", ("room> " + draft)[:80].rstrip(), ("room> " + draft)[80:])
        shown.press("\r")
        shown.shows("handled")
        text = "\n".join(shown.everything)
        assert text.count("a draft of") == 1, "only as handled"
        assert [row for row in shown.everything if row.startswith("burst ")] == [
            f"burst {n}" for n in range(30)
        ]


@pytest.mark.parametrize(("columns", "rows"), [(3, 1), (1, 1), (2, 2), (10, 2), (1000, 3), (0, 0)])
def test_windows_of_odd_sizes_work(columns: int, rows: int) -> None:
    with window(columns=columns, rows=rows, prompted=False) as shown:
        shown.until(lambda: shown.is_raw, "raw mode")
        shown.press("say 日本語 😀 e\u0301 words\rexit\r")
        assert shown.ended() == 0
        assert shown.is_restored


def test_a_window_that_gets_its_size_back_is_drawn_again() -> None:
    with window() as shown:
        shown.press("live above\rtext that is cut")
        shown.ends_with("above", "room> text that is cut")
        shown.resize(10, 24)
        shown.resize(80, 24)
        assert "is cut" not in shown.text
        shown.ends_with("above", "room> text that is cut")
        assert shown.rows == ["above", "room> text that is cut"]


def test_a_size_of_nothing_is_taken_for_the_usual_one() -> None:
    with window(columns=0, rows=0) as shown:
        shown.press("say " + "word " * 30 + "\r")
        shown.shows(" ".join(["word"] * 16))


def test_words_wrap_at_spaces() -> None:
    with window(columns=30) as shown:
        shown.press("say aaaaaaaaaa bbbbbbbbbb 日本語日本語 cc\r")
        shown.shows(
            "aaaaaaaaaa bbbbbbbbbb\n      日 本 語 日 本 語  cc".replace("日 本 語 日 本 語 ", "日本語日本語")
        )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_cancelled_restores_the_terminal(number: signal.Signals) -> None:
    with window() as shown:
        shown.press("wait\rtyped")
        shown.shows("waiting began")
        shown.prompts("typed")
        assert shown.is_raw
        shown.send(number)
        assert shown.ended() == 128 + number
        assert shown.is_restored
        assert shown.rows[-1] == "ended: CANCELLED"


def test_the_terminal_is_restored_before_a_line_has_cleaned_up() -> None:
    with window() as shown:
        shown.press("linger\r")
        shown.shows("lingering")
        shown.send(signal.SIGTERM)
        shown.until(lambda: shown.is_restored, "the former mode")
        shown.send(signal.SIGCONT)
        shown.send(signal.SIGUSR1)
        assert shown.ended() == 128 + signal.SIGTERM
        assert shown.is_restored


def test_a_terminal_that_takes_nothing_holds_up_nothing_else(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with window() as shown:
        shown.press(f"burst 20000\rmark {mark}\rdraft")
        shown.becomes(mark.exists, "the next line's effect")
        shown.until(lambda: "burst 19999" in shown.text, "the last line")
        shown.prompts("draft")
        printed = [row for row in shown.everything if row.startswith("burst ")]
        assert printed == [f"burst {number}" for number in range(20_000)]


def test_a_terminal_that_takes_nothing_does_not_hold_up_the_end() -> None:
    with window() as shown:
        shown.press("burst 20000\r")
        shown.becomes(lambda: select.select([shown.master], [], [], 0)[0] != [], "output")
        shown.send(signal.SIGTERM)
        assert shown.process.wait(10) == 128 + signal.SIGTERM


@pytest.mark.parametrize("trap", ["", "trap '' HUP;"])
@pytest.mark.parametrize("line", ["stream", "live room"])
def test_a_lost_terminal_ends_it(trap: str, line: str) -> None:
    with window("/bin/sh", "-c", f"{trap} exec {sys.executable} {CHILD}") as shown:
        shown.press(line + "\r")
        shown.until(lambda: "stream 5" in shown.text or shown.rows[0] == "room", "the effect")
        os.close(shown.master)
        assert shown.process.wait(30) == (0 if trap else 128 + signal.SIGHUP)


def test_a_stopped_program_gives_the_terminal_back_and_goes_on_where_it_was(shell: Window) -> None:
    shell.press("live above\r")
    shell.shows("above")
    shell.press("a draft\x1a")
    shell.ends_with("$")
    assert shell.is_restored
    assert "room>" not in shell.text
    assert "above" not in shell.rows
    shell.press("echo $((6 * 7))\r")
    shell.shows("42")
    shell.press("fg\r")
    shell.ends_with("above", "room> a draft")
    assert shell.is_raw
    shell.press("\r")
    shell.shows("handled 'a draft'")
    assert "^" not in shell.text
    assert shell.rows.count("above") == 1
    shell.press("exit\r")
    shell.ends_with("ended: STOPPED", "$")
    assert shell.is_restored


def test_a_program_stopped_by_force_goes_on_where_it_was(shell: Window) -> None:
    shell.press("pid\r")
    shell.shows("pid is ")
    pid = int(shell.text.partition("pid is ")[2].split()[0])
    shell.press("a draft")
    shell.prompts("a draft")
    os.kill(pid, signal.SIGSTOP)
    shell.ends_with("$")
    shell.press("stty sane; echo $((6 * 7))\n")
    shell.shows("42")
    shell.press("fg\n")
    shell.prompts("a draft")
    assert shell.is_raw
    shell.press("\x1b[D-\r")
    shell.shows("handled 'a draf-t'")
    assert "^" not in shell.text
    os.kill(pid, signal.SIGTERM)
    shell.shows("ended: CANCELLED")
    shell.ends_with("$")
    assert shell.is_restored


def test_where_no_shell_could_continue_it_it_does_not_stop() -> None:
    with window() as shown:
        shown.press("a draft\x1a!")
        shown.prompts("a draft!")
        assert shown.is_raw


def test_interrupts_cancel_then_clear_then_ask_then_quit() -> None:
    with window() as shown:
        shown.press("wait\rtyped")
        shown.shows("waiting began")
        shown.press("\x03")
        shown.shows("* cancelled: wait")
        shown.prompts("typed")
        shown.press("\x03")
        shown.prompts()
        shown.press("\x1b[A")
        shown.prompts("typed")
        shown.press("\x03\x03")
        shown.ends_with("Ctrl-C once more quits", "room>")
        shown.press("\x03")
        assert shown.ended() == 0
        assert shown.rows[-1] == "ended: INTERRUPTED"


def test_the_question_whether_to_quit_is_taken_back() -> None:
    with window() as shown:
        shown.press("\x03")
        shown.ends_with("Ctrl-C once more quits", "room>")
        shown.until(lambda: shown.rows == ["room>"], "the prompt alone")


def test_an_interrupt_by_a_signal_is_one_by_the_key() -> None:
    with window() as shown:
        shown.press("wait\r")
        shown.shows("waiting began")
        shown.send(signal.SIGINT)
        shown.shows("* cancelled: wait")


def test_the_end_of_input_ends_it_after_what_was_typed_before() -> None:
    with window() as shown:
        shown.press("wait\r")
        shown.shows("waiting began")
        shown.press("one\r\x04")
        shown.shows("one", "next: Ctrl-D")
        shown.send(signal.SIGUSR1)
        assert shown.ended() == 0
        assert shown.rows[-2:] == ["handled 'one'", "ended: END_OF_INPUT"]


def test_with_text_the_end_of_input_deletes_a_character() -> None:
    with window() as shown:
        shown.press("abc\x01\x04")
        shown.prompts("bc")


def test_a_slow_line_says_what_it_waits_for_and_what_comes_next() -> None:
    with window() as shown:
        shown.press("wait\r" + "".join(f"line {number}\r" for number in range(5)) + "typed")
        shown.ends_with(
            "wait: waiting for the test ... Ctrl-C cancels",
            "next: line 0",
            "next: line 1",
            "next: line 2",
            "and 2 more",
            "room> typed",
        )
        shown.send(signal.SIGUSR1)
        shown.shows("handled 'line 4'")
        shown.prompts("typed")
        assert "Ctrl-C" not in shown.text
        assert "next:" not in shown.text


def test_a_refused_line_returns_to_the_prompt_or_is_one_key_away() -> None:
    with window() as shown:
        shown.press("refuse me\r")
        shown.prompts("refuse me")
        shown.press("\x15refuse-later this\rtyped")
        shown.prompts("typed")
        shown.send(signal.SIGUSR1)
        shown.shows("what was typed before is kept; Up brings it back")
        shown.prompts("typed")
        shown.press("\x1b[A")
        shown.prompts("refuse-later this")
        shown.press("\x1b[B")
        shown.prompts("typed")


def test_up_goes_through_earlier_texts_whole() -> None:
    with window() as shown:
        shown.press("typed here\rdraft\x1b[A")
        shown.prompts("typed here")
        shown.press("\x1b[A")
        shown.ends_with("room> with", "      two lines")
        shown.press("\x1b[A\x1b[A")
        shown.prompts("older")
        shown.press("\r")
        shown.shows("handled 'older'")
        shown.press("\x1b[A\x1b[A")
        shown.prompts("draft")
        shown.press("\x15remembered\r")
        shown.shows("remembered ['typed here', 'older', 'remembered']")


def test_earlier_texts_can_be_searched() -> None:
    with window() as shown:
        shown.press("first one\rsecond one\r")
        shown.shows("handled 'second one'")
        shown.press("\x12first")
        shown.shows("room> first one")
        shown.press("\r")
        shown.prompts("first one")
        shown.press("\x12second\x03")
        shown.prompts("first one")
        shown.press("\r")
        shown.until(lambda: handled(shown) == ["'first one'", "'second one'", "'first one'"], "the line")


def test_completion_inserts_what_is_certain_and_shows_the_choices() -> None:
    with window() as shown:
        shown.press("/m\t")
        shown.prompts("/members")
        shown.press("\x15/f\t")
        shown.ends_with("/fingerprint  /find", "room> /fin")
        shown.press("g")
        shown.prompts("/fing")
        assert "/find" not in shown.text
        shown.press("\t me")
        shown.prompts("/fingerprint me")
        shown.press("\x15/nothing\t")
        shown.prompts("/nothing")


def test_shortcuts_run_in_turn_and_change_the_prompt() -> None:
    with window() as shown:
        shown.press("draft\x1b1")
        shown.ends_with("one> draft")
        shown.press("\x1ba")
        shown.ends_with("next> draft")


def test_what_is_typed_before_a_shortcut_is_for_it_and_what_comes_later_stays() -> None:
    with window() as shown:
        shown.press("wait\rbefore\x1b2after")
        shown.prompts("after")
        shown.send(signal.SIGUSR1)
        shown.shows("kept 'before'")
        shown.ends_with("two> after")
        shown.press("\x15wait\rbefore\x1b1after")
        shown.ends_with("two> after")
        shown.send(signal.SIGUSR1)
        shown.shows("what was typed before is kept; Up brings it back")
        shown.ends_with("one> after")
        shown.press("\x1b[A")
        shown.ends_with("one> before")


def test_what_is_typed_before_a_shortcut_that_never_runs_is_left() -> None:
    with window() as shown:
        shown.press("linger\r")
        shown.shows("lingering")
        shown.press("before\x1b2")
        shown.prompts()
        shown.press("\x03\x03")
        shown.shows("Ctrl-C once more quits")
        shown.press("\x03")
        assert shown.ended() == 0
        assert shown.rows[-2:] == ["left: 'before'", "ended: INTERRUPTED"]


def test_text_of_others_is_inert_and_nothing_that_lacks_in_the_encoding_raises() -> None:
    with window(PYTHONUTF8="0", PYTHONIOENCODING="latin-1") as shown:
        shown.press("say caf\xe9 ".encode("latin-1") + b"\r")
        shown.until(lambda: b"caf\xe9\r" in shown.written, "the line")
        shown.press("hostile\r")
        shown.shows("?[2J smile ? end")
    with window() as shown:
        shown.press("hostile\r")
        shown.shows("?[2J smile 😀 end")


def test_what_is_typed_can_be_outside_the_encoding() -> None:
    with window(PYTHONUTF8="0", PYTHONIOENCODING="ascii") as shown:
        shown.press(b"caf\xc3\xa9 ole")
        shown.prompts("caf?? ole")


def test_notifications_are_one_sequence_whatever_they_say() -> None:
    with window() as shown:
        shown.press("notify a\x11\x07b\x11\x1b;c\r")
        shown.until(lambda: b"\x1b]9;ab;c\x07" in shown.written, "the notification")
        shown.press("notify 4;1\r")
        shown.until(lambda: b"\x1b]9; 4;1\x07" in shown.written, "the notification")
        shown.press("bell\r")
        shown.until(lambda: shown.written.endswith(b"\x07") or b"\x07\x1b[?25l" in shown.written, "the bell")


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours_can_be_turned_off(no_color: str) -> None:
    with window(NO_COLOR=no_color) as shown:
        shown.press("text\r")
        shown.shows("handled 'text'")
        assert (b"\x1b[0;32m" in shown.written) is not bool(no_color)


def test_an_error_of_the_caller_ends_it_with_the_terminal_restored() -> None:
    with window() as shown:
        shown.press("fail loudly\r")
        assert shown.ended() == 1
        assert shown.is_restored
        assert shown.rows[-1] == "failed: loudly"


def test_a_cursor_position_that_nobody_asked_for_changes_nothing() -> None:
    with window() as shown:
        shown.press("\x1b[2;1Rtext")
        shown.prompts("text")
        shown.press("\x0c")
        shown.until(lambda: shown.rows == ["room> text"], "the prompt at the top")
        shown.press("\x0f")
        shown.shows("handled 'text'")


@pytest.mark.parametrize("term", ["dumb", "", "unknown"])
def test_a_terminal_that_cannot_move_its_cursor_is_not_usable(term: str) -> None:
    with window(prompted=False, TERM=term) as shown:
        assert shown.ended() == 1
        assert shown.rows == ["not usable"]

"""The prompt with the live area above it, on one Application, and the lines printed above both.

It stays in raw mode from start to end. Knows not what the keys do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from prompt_toolkit.application import Application
from prompt_toolkit.data_structures import Size
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindingsBase
from prompt_toolkit.layout import BufferControl, FormattedTextControl, HSplit, Layout, Window
from prompt_toolkit.layout.processors import (
    HighlightIncrementalSearchProcessor,
    Processor,
    Transformation,
    TransformationInput,
)
from prompt_toolkit.styles import Style
from prompt_toolkit.widgets import SearchToolbar

from clave_client.ui.terminal.device import TerminalInput, TerminalOutput, reflows
from clave_client.ui.terminal.draft import Draft
from clave_client.ui.terminal.live_area import cut_line, limit_rows
from clave_client.ui.terminal.reflow import cursor_after_reflow
from clave_client.ui.terminal.wrapping import Line, printable, split_rows, width

__all__ = ["PendingLines", "Screen"]

_REDRAW_SECONDS: Final = 1 / 30

_PRINT_SECONDS: Final = 0.02
"""How long lines are printed in one redraw; keys are read before the next."""

_MOST_LINES: Final = 20_000
_MOST_CHARACTERS: Final = 4 * 2**20
"""Most lines, and characters of them, that wait to be printed."""

_STYLE = Style.from_dict(
    {
        "name": "ansicyan",
        "own": "ansigreen",
        "time": "ansibrightblack",
        "note": "ansibrightblack",
        "alarm": "ansired",
        "bold": "bold",
        "italic": "italic",
        "strike": "strike",
        "code": "ansiyellow",
        "link": "underline",
        "mention": "bold ansimagenta",
    }
)


class PendingLines:
    """Lines that wait to be printed. Of too many the oldest are left out; a line says so in their place."""

    def __init__(self) -> None:
        self._lines: deque[Line] = deque()
        self._characters = 0
        self._left_out = 0

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, line: Line) -> None:
        """Add a line, which is never left out itself while it is the last."""
        self._lines.append(line)
        self._characters += _length(line)
        while len(self._lines) > 1 and self._is_too_much():
            self._remove()
            self._left_out += 1

    def _is_too_much(self) -> bool:
        return len(self._lines) > _MOST_LINES or self._characters > _MOST_CHARACTERS

    def _remove(self) -> Line:
        line = self._lines.popleft()
        self._characters -= _length(line)
        return line

    def take(self) -> Line:
        """Remove and return the next line to print. Raises `IndexError` if there is none."""
        if self._left_out:
            lines = "1 line was" if self._left_out == 1 else f"{self._left_out} lines were"
            self._left_out = 0
            return [("note", f"* {lines} left out; /history shows them")]
        return self._remove()


class Screen:
    """What is drawn. `prompt` and `live` are called at each redraw; what they raise ends `run`.

    `lost` is called once when the terminal is gone.
    """

    def __init__(
        self,
        draft: Draft,
        keys: KeyBindingsBase,
        prompt: Callable[[], str],
        live: Callable[[], list[Line]],
        lost: Callable[[], None],
        *,
        stdin: TextIO,
        stdout: TextIO,
    ) -> None:
        self._draft = draft
        self._prompt = prompt
        self._live = live
        self._output = TerminalOutput(stdout, self._redraw, lost)
        self._input = TerminalInput(stdin)
        self._reflows = reflows()
        self._pending = PendingLines()
        self._prompt_text = ""
        self._rows: list[Line] = []
        self._timer: asyncio.TimerHandle | None = None
        self._drawn_at = 0.0
        self._has_ended = False
        self._app = _Application(
            layout=self._layout(),
            key_bindings=keys,
            style=_STYLE,
            include_default_pygments_style=False,
            erase_when_done=True,
            max_render_postpone_time=None,
            terminal_size_polling_interval=None,
            before_render=lambda _: self._prepare(),
            input=self._input,
            output=self._output,
        )

    def _layout(self) -> Layout:
        search = SearchToolbar()
        control = BufferControl(
            self._draft,
            input_processors=[_Prefix(lambda: self._prompt_text), HighlightIncrementalSearchProcessor()],
            search_buffer_control=search.control,
            preview_search=True,
        )
        rows = Window(FormattedTextControl(self._live_text), height=lambda: len(self._rows))
        return Layout(HSplit([rows, Window(control, wrap_lines=True), search]), focused_element=control)

    def _live_text(self) -> StyleAndTextTuples:
        text: StyleAndTextTuples = []
        for row in self._rows:
            text += [("", "\n")] if text else []
            text += [(_class(style), piece) for style, piece in row] or [("", " ")]
        return text

    def _clean(self, line: Line) -> Line:
        return printable(line, self._output.encoding())

    def print(self, line: Line) -> None:
        """Print a line above the prompt, at one of the next redraws; at once after `run`."""
        self._pending.add(line)
        if self._has_ended:
            self._write_pending(self._output.get_size().columns)
            self._output.flush()
        else:
            self.refresh()

    def refresh(self) -> None:
        """Draw again soon, at most 30 times a second."""
        if self._timer is None and self._app.is_running:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._drawn_at + _REDRAW_SECONDS, self._redraw)

    def _redraw(self) -> None:
        self._timer = None
        self._app.invalidate()

    def bell(self) -> None:
        """Ring the bell, once a second at most; not while the terminal takes nothing."""
        self._output.bell()

    def write_sequence(self, sequence: str) -> None:
        """Write an escape sequence that moves nothing; drop it while the terminal takes nothing."""
        self._output.write_sequence(sequence)

    async def run(self) -> None:
        """Draw and read keys until `end`. Raises EOFError if the terminal is gone, or the error of `end`."""
        self._output.begin()
        try:
            await self._app.run_async(handle_sigint=False, set_exception_handler=False)
        finally:
            self._has_ended = True
            if self._timer is not None:
                self._timer.cancel()
            self._write_pending(self._output.get_size().columns)
            self._output.end()

    def end(self, error: BaseException | None = None) -> None:
        """Have `run` return, or raise `error`. Does nothing when it has not begun, or ends already."""
        if not self._is_active():
            return
        if error is None:
            self._app.exit()
        else:
            self._app.exit(exception=error)

    def _is_active(self) -> bool:
        """Return whether `run` has begun and does not end yet."""
        return self._app.is_running and not self._app.is_done

    @contextmanager
    def released(self) -> Iterator[None]:
        """Erase the prompt and give the terminal back meanwhile, also its input; then draw again."""
        if not self._is_active():
            yield
            return
        self._app.renderer.erase()
        self._output.end()
        self._app.is_released = True
        mode = self._input.raw_mode()
        mode.__exit__()
        try:
            with self._input.detach():
                yield
        finally:
            self._app.is_released = False
            self.take_again()

    def take_again(self) -> None:
        """Enter raw mode, and draw below what others have written meanwhile; nothing once `run` ends."""
        if not self._is_active():
            return
        self._input.raw_mode().__enter__()
        with self._output.held():
            self._app.renderer.reset()
            self._output.begin()
            self._output.write_raw("\r")
            self._output.erase_down()
        self._app.invalidate()

    def _prepare(self) -> None:
        """Before the prompt is drawn: erase it where needed, and write what was printed."""
        self._drawn_at = asyncio.get_running_loop().time()
        size = self._output.get_size()
        most_rows = min(size.rows - 1, size.rows // 2)
        try:
            [(_, self._prompt_text)] = self._clean([("", self._prompt())])
            live = [self._clean(cut_line(line, most_rows * size.columns)) for line in self._live()]
        except Exception as error:  # noqa: BLE001 (it ends `run`, which raises it)
            self.end(error)
            return
        self._rows = limit_rows(live, size.columns, most_rows)
        with self._output.held():
            if self._must_erase(size):
                self._app.renderer.erase()
            self._app.was_resized = False
            self._write_pending(size.columns, None if self._app.is_done else self._drawn_at + _PRINT_SECONDS)
        if self._pending:
            self.refresh()

    def _must_erase(self, size: Size) -> bool:
        renderer = self._app.renderer
        drawn, drawn_size = renderer.last_rendered_screen, renderer._last_size
        if drawn is None or drawn_size is None:
            return False
        if size.columns < drawn_size.columns and self._reflows:
            renderer._cursor_pos = cursor_after_reflow(drawn, renderer._cursor_pos, size.columns)
        needed = self._app.layout.container.preferred_height(size.columns, size.rows).preferred
        return self._app.was_resized or size != drawn_size or bool(self._pending) or needed < drawn.height

    def _write_pending(self, columns: int, until: float | None = None) -> None:
        """Write what was printed; `until` is the time of the loop to stop at."""
        output, depth, clock = (
            self._output,
            self._output.get_default_color_depth(),
            asyncio.get_running_loop().time,
        )
        while self._pending and (until is None or clock() < until):
            for row, goes_on in split_rows(self._clean(self._pending.take()), columns):
                for style, text in row:
                    if style:
                        output.set_attributes(_STYLE.get_attrs_for_style_str(_class(style)), depth)
                    output.write(text)
                    if style:
                        output.reset_attributes()
                # A terminal joins the rows of a URL again when it is copied, if it broke them itself.
                if not goes_on:
                    output.write_raw("\r\n")


def _length(line: Line) -> int:
    return sum(len(text) for _, text in line)


def _class(style: str) -> str:
    return " ".join(f"class:{name}" for name in style.split())


class _Application(Application[None]):
    """An Application that leaves erasing to `before_render`, which knows the cursor after a resize.

    Draws nothing while the terminal has not taken what was drawn before.
    """

    output: TerminalOutput

    was_resized = False
    """Whether the window has changed since it was drawn, if only to its former size again."""

    is_released = False
    """Whether others use the terminal, so that nothing is drawn."""

    def _on_resize(self) -> None:
        self.was_resized = True
        self._redraw()

    def _redraw(self, render_as_done: bool = False) -> None:
        if render_as_done or not (self.is_released or self.output.is_full()):
            super()._redraw(render_as_done)


class _Prefix(Processor):
    """Draws the prompt before the first line of the text, and spaces before the others."""

    def __init__(self, prompt: Callable[[], str]) -> None:
        self._prompt = prompt

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        prompt = self._prompt()
        before = prompt if transformation_input.lineno == 0 else " " * width(prompt)
        return Transformation(
            [("", before), *transformation_input.fragments],
            source_to_display=lambda position: position + len(before),
            display_to_source=lambda position: position - len(before),
        )

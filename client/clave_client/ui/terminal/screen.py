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
from clave_client.ui.terminal.live_area import limit_rows
from clave_client.ui.terminal.reflow import cursor_after_reflow
from clave_client.ui.terminal.wrapping import Line, printable, split_rows, width

__all__ = ["Screen"]

_REDRAW_SECONDS: Final = 1 / 30

_PRINT_SECONDS: Final = 0.02
"""How long lines are printed in one redraw; keys are read before the next."""

_STYLE = Style.from_dict(
    {
        "name": "ansicyan",
        "own": "ansigreen",
        "time": "ansibrightblack",
        "note": "ansibrightblack",
        "alarm": "ansired",
    }
)


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
        self._pending: deque[Line] = deque()
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
        self._pending.append(line)
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
        """Ring the bell."""
        self._output.bell()

    def write_sequence(self, sequence: str) -> None:
        """Write an escape sequence that moves nothing."""
        self._output.write_raw(sequence)
        self._output.flush()

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
        """Erase the prompt and give the terminal back meanwhile; then draw again."""
        if not self._is_active():
            yield
            return
        self._app.renderer.erase()
        self._output.end()
        mode = self._input.raw_mode()
        mode.__exit__()
        try:
            yield
        finally:
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
        try:
            [(_, self._prompt_text)] = self._clean([("", self._prompt())])
            live = [self._clean(line) for line in self._live()]
        except Exception as error:  # noqa: BLE001 (it ends `run`, which raises it)
            self.end(error)
            return
        self._rows = limit_rows(live, size.columns, min(size.rows - 1, size.rows // 2))
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
            for row, is_broken in split_rows(self._clean(self._pending.popleft()), columns):
                for style, text in row:
                    if style:
                        output.set_attributes(_STYLE.get_attrs_for_style_str(_class(style)), depth)
                    output.write(text)
                    if style:
                        output.reset_attributes()
                # A terminal joins the rows of a broken word again when it is copied, if it broke them itself.
                if not (is_broken and width("".join(text for _, text in row)) == columns):
                    output.write_raw("\r\n")


def _class(style: str) -> str:
    return f"class:{style}" if style else ""


class _Application(Application[None]):
    """An Application that leaves erasing to `before_render`, which knows the cursor after a resize.

    Draws nothing while the terminal has not taken what was drawn before.
    """

    output: TerminalOutput

    was_resized = False
    """Whether the window has changed since it was drawn, if only to its former size again."""

    def _on_resize(self) -> None:
        self.was_resized = True
        self._redraw()

    def _redraw(self, render_as_done: bool = False) -> None:
        if render_as_done or not self.output.is_full():
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

"""A prompt at the end of a terminal, for a caller that says what lines and shortcuts do. Knows no chat."""

from __future__ import annotations

import asyncio
import enum
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Final

from clave_client.ui.draft_line import TypedText
from clave_client.ui.terminal.draft import Draft
from clave_client.ui.terminal.input_queue import InputQueue, Job
from clave_client.ui.terminal.interrupts import CONFIRM_SECONDS, Interrupt, Interrupts
from clave_client.ui.terminal.keys import make_keys
from clave_client.ui.terminal.live_area import LABEL_COLUMNS, job_lines
from clave_client.ui.terminal.screen import Screen
from clave_client.ui.terminal.secret import SecretQuestion
from clave_client.ui.terminal.signals import handle_signals, stop_process_group
from clave_client.ui.terminal.wrapping import Line, shorten

__all__ = ["Ending", "LineRefused", "Terminal"]

_SLOW_SECONDS: Final = 1.0
"""After this time it is shown what runs."""

_MOST_NOTIFIED: Final = 200
"""Most characters of a notification."""


class LineRefused(Exception):
    """A typed line was not accepted; its `text` is put back for editing."""

    def __init__(self, text: str) -> None:
        super().__init__("this line was refused")
        self.text = text


class Ending(enum.Enum):
    """How a terminal's `run` ended."""

    STOPPED = "stop() was called"
    END_OF_INPUT = "Ctrl-D"
    INTERRUPTED = "Ctrl-C, confirmed"
    HUNG_UP = "the terminal is gone"


class Terminal:
    """A prompt that is there from start to end, while lines are printed above it and typed ones are handled.

    `prompt` and `live` give the prompt and the lines above it; they are called at each redraw. `handle` runs
    one typed line at a time; it prints what is to remain of it, and may raise `LineRefused`. `waiting` says
    what a line waits for. `complete` gets the text before the cursor and returns what could stand there
    instead. `history` holds earlier texts, oldest first; `remember` is called with each new one. `shortcuts`
    maps keys such as "alt-1" to what they run, in turn with the lines: it gets what was typed before the key,
    which leaves the prompt, and is put back unless it was kept. What a callback raises ends `run`. Must be
    made on the loop that runs it.
    """

    def __init__(
        self,
        *,
        prompt: Callable[[], str],
        live: Callable[[], list[Line]],
        handle: Callable[[str], Awaitable[None]],
        waiting: Callable[[], str],
        complete: Callable[[str], Awaitable[list[str]]],
        history: Sequence[str],
        remember: Callable[[str], Awaitable[None]],
        shortcuts: Mapping[str, Callable[[TypedText], Awaitable[None]]],
    ) -> None:
        self._live = live
        self._handle = handle
        self._waiting = waiting
        self._complete = complete
        self._remember = remember
        self._shortcuts = shortcuts
        self._ending: Ending | None = None
        self._asking: SecretQuestion | None = None
        self._completions: list[str] = []
        self._completing: asyncio.Task[None] | None = None
        self._cut: list[TypedText] = []
        self._draft = Draft(history)
        self._draft.on_text_changed += lambda _: self._forget_completions()
        clock = asyncio.get_running_loop().time
        self._interrupts = Interrupts(clock)
        self._queue = InputQueue(clock, self._job_changed, self._job_cancelled)
        self._screen = Screen(
            self._draft,
            make_keys(self, shortcuts),
            prompt,
            self._live_lines,
            partial(self._end, Ending.HUNG_UP),
            stdin=sys.stdin,
            stdout=sys.stdout,
        )

    def print(self, line: Line) -> None:
        """Print a line above the prompt; many are printed together, 30 times a second."""
        self._screen.print(line)

    def text(self) -> str:
        """Return what is typed."""
        return self._draft.text

    def put_back(self, text: str) -> None:
        """Make `text` what is typed; if something is, the newest of the earlier texts, and say so."""
        if text and not self._draft.put_back(text):
            self._note("what was typed before is kept; Up brings it back")
        self.refresh()

    def refresh(self) -> None:
        """Draw again soon, as the prompt or the live lines have changed."""
        self._screen.refresh()

    def bell(self) -> None:
        """Ring the terminal's bell."""
        self._screen.bell()

    def notify(self, text: str) -> None:
        """Have the terminal show a desktop notification, if it can (OSC 9)."""
        shown = "".join(character for character in text if character.isprintable())[:_MOST_NOTIFIED]
        # Some terminals take a leading number for a command of their own.
        self._screen.write_sequence(f"\x1b]9;{' ' if shown[:1].isdigit() else ''}{shown}\x07")

    async def ask_secret(self, question: str) -> str:
        """Ask for a text that is not shown, with the terminal given back meanwhile; "" if none is given."""
        with self._screen.released():
            self._asking = SecretQuestion(question, source=sys.stdin.fileno(), target=sys.stdout.fileno())
            try:
                return await self._asking.ask()
            finally:
                self._asking = None

    def stop(self) -> None:
        """End `run`."""
        self._end(Ending.STOPPED)

    async def run(self) -> Ending:
        """Run until `stop`, Ctrl-D with no text, Ctrl-C confirmed, or the terminal is gone; return which.

        After Ctrl-D the lines typed before are still handled. Must be called in the main thread, once.
        Cancelling it restores the terminal.
        """
        if self._ending is not None:
            return self._ending
        handlers: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGINT: self.interrupt,
            signal.SIGTSTP: self.suspend,
            signal.SIGCONT: self._continued,
        }
        working = asyncio.create_task(self._run_safely(self._queue.run()))
        try:
            with handle_signals(handlers):
                await self._screen.run()
        except EOFError:
            self._ending = self._ending or Ending.HUNG_UP
        finally:
            tasks = [task for task in (working, self._completing) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            texts = [typed.text for typed in self._cut] + [self._draft.cut()]  # shortcuts that did not run
            self._draft.put_back("\n".join(text for text in texts if text))
        return self._ending or Ending.STOPPED

    def _end(self, ending: Ending) -> None:
        self._ending = self._ending or ending
        self._screen.end()

    async def _run_safely(self, work: Coroutine[None, None, None]) -> None:
        """Await `work`; if it fails, have `run` raise its error."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 (`run` raises it)
            self._screen.end(error)

    def _note(self, text: str, style: str = "note") -> None:
        self.print([(style, f"* {text}")])

    def _live_lines(self) -> list[Line]:
        lines = list(self._live())
        job = self._queue.running
        if job is not None and self._queue.seconds >= _SLOW_SECONDS:
            lines += job_lines(job.label, self._waiting(), [each.label for each in self._queue.waiting])
        if self._completions:
            lines.append([("note", "  ".join(self._completions))])
        if self._interrupts.is_asking():
            lines.append([("note", "Ctrl-C once more quits")])
        return lines

    def _forget_completions(self) -> None:
        self._completions = []

    def _job_changed(self) -> None:
        if self._queue.running is not None:
            asyncio.get_running_loop().call_later(_SLOW_SECONDS, self.refresh)
        self.refresh()

    def _job_cancelled(self, job: Job) -> None:
        self._note(f"cancelled: {shorten(job.label, LABEL_COLUMNS)}")

    async def _run_line(self, text: str, is_new: bool) -> None:
        if is_new:
            await self._remember(text)
        try:
            await self._handle(text)
        except LineRefused as refused:
            self.put_back(refused.text)

    def enter(self) -> None:
        """Take the text as a line to handle; nothing if it is blank."""
        text, is_new = self._draft.take()
        if text.strip():
            self._queue.put(Job(text, partial(self._run_line, text, is_new)))

    def new_line(self) -> None:
        """Insert a newline into the text."""
        self._draft.newline(copy_margin=False)

    def paste(self, text: str) -> None:
        """Insert a pasted text."""
        self._draft.paste(text)

    def interrupt(self) -> None:
        """Cancel the question or the line that runs, else clear the text, else ask, else end."""
        if self._asking is not None:
            self._asking.cancel()
            return
        match self._interrupts.press(running=self._queue.is_cancellable(), has_text=bool(self._draft.text)):
            case Interrupt.CANCEL:
                self._queue.cancel()
            case Interrupt.CLEAR:
                self._draft.take()
            case Interrupt.ASK:
                asyncio.get_running_loop().call_later(CONFIRM_SECONDS, self.refresh)
            case Interrupt.QUIT:
                self._end(Ending.INTERRUPTED)
        self.refresh()

    def delete_or_end(self) -> None:
        """Delete the character at the cursor; with no text, end after the lines typed so far."""
        if self._draft.text:
            self._draft.delete()
        else:
            self._queue.put(Job("Ctrl-D", self._end_input))

    async def _end_input(self) -> None:
        self._end(Ending.END_OF_INPUT)

    def suspend(self) -> None:
        """Give the terminal back and stop until a shell continues this program."""
        if self._asking is not None:
            self._asking.hide()
            stop_process_group()
            self._asking.show()
            return
        with self._screen.released():
            stop_process_group()

    def _continued(self) -> None:
        if self._asking is not None:
            self._asking.show()
        else:
            self._screen.take_again()

    def complete(self) -> None:
        """Complete the text before the cursor as far as there is no choice; show the choices."""
        if self._completing is not None:
            self._completing.cancel()
        self._completing = asyncio.create_task(
            self._run_safely(self._insert_completion(self._draft.document.text_before_cursor))
        )

    async def _insert_completion(self, before: str) -> None:
        found = await self._complete(before)
        if found and self._draft.replace_start(before, _common_start(found)):
            self._completions = found if len(found) > 1 else []
        self.refresh()

    def shortcut(self, name: str) -> None:
        """Run a shortcut in turn with the lines; what is typed from now on is for what comes after it."""
        typed = TypedText(self._draft.cut())
        self._cut.append(typed)
        self._queue.put(Job(name, partial(self._run_shortcut, name, typed)))

    async def _run_shortcut(self, name: str, typed: TypedText) -> None:
        try:
            await self._shortcuts[name](typed)
        finally:
            self._cut.remove(typed)
            if not typed.is_kept:
                self.put_back(typed.text)


def _common_start(texts: list[str]) -> str:
    first, last = min(texts), max(texts)
    length = next((place for place, each in enumerate(first) if last[place] != each), len(first))
    return first[:length]

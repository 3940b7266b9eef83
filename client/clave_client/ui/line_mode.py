"""Line mode: a prompt below an append-only conversation, and the same over plain pipes. Knows no commands."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal, Protocol

from clave_client import events
from clave_client.errors import ClientError, UsageError
from clave_client.formats.content import MAX_BODY_BYTES
from clave_client.rpc import methods as m
from clave_client.rpc.session import Session
from clave_client.ui.chat_commands import run_input, run_shortcut, switch, switch_to_unread
from clave_client.ui.completing import completed_line
from clave_client.ui.conversation import Conversation
from clave_client.ui.display import Line, name_with_warning, note, plain
from clave_client.ui.input_lines import read_byte_lines
from clave_client.ui.link_text import holds_link
from clave_client.ui.output import Output
from clave_client.ui.terminal.usable import is_usable
from clave_client.ui.warnings import encoded, print_out

__all__ = ["OWNER_ENDED", "Alerts", "OpenSession", "run_line_mode"]

Alerts = Literal["off", "bell", "desktop", "content"]
"""What tells of a message: nothing, the bell, also a desktop notification, or one that says what it is."""

OWNER_ENDED = "the process that held this profile has ended; passphrase: "


class OpenSession(Protocol):
    """Makes the session of this window, not opened yet; the arguments are those of `Session`."""

    def __call__(
        self,
        *,
        patient: bool,
        on_stall: Callable[[int], None],
        on_attached: Callable[[], None],
        ask: Callable[[], Awaitable[str]] | None,
    ) -> Session:
        """Return the session."""


async def run_line_mode(
    make_session: OpenSession,
    room: str | Callable[[Session], Awaitable[str]] | None,
    alerts: Alerts,
    *,
    must_own: bool = False,
) -> int:
    """Run the conversation until `exit` or the end of input, and return the exit status.

    `room` is where to talk, or joins it first, or None for the last one. With `must_own`, another process may
    not hold the profile, as that one has connected already. Raises `ClientError` when it cannot go on.
    """
    window = _Window()
    on_terminal = is_usable()
    session = make_session(
        patient=True,
        on_stall=window.stalled,
        on_attached=window.attached,
        ask=window.ask_passphrase if on_terminal else None,
    )
    async with session:
        if must_own and not session.is_owner:
            raise UsageError(
                f"process {session.info.process} holds this profile and is connected already; end it,"
                " then give --proxy again"
            )
        if callable(room):
            room = await room(session)
        if on_terminal:
            return await _run_on_terminal(window, session, room, alerts)
        await _run_on_pipes(window, session, room)
        return 0


class _Window:
    """What the session tells a conversation that is made after it."""

    def __init__(self) -> None:
        self.talk: Conversation | None = None
        self.ask: Callable[[], Awaitable[str]] | None = None
        self.stalled_by = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def stalled(self, process: int) -> None:
        self.stalled_by = process
        if self.talk is not None:
            self.talk.owner_stalled(process)

    def attached(self) -> None:
        if self.talk is not None:
            task = asyncio.create_task(self._refresh(self.talk))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _refresh(self, talk: Conversation) -> None:
        with contextlib.suppress(ClientError):  # which whoever waits for the next event is told of
            await talk.refresh()

    async def ask_passphrase(self) -> str:
        return "" if self.ask is None else await self.ask()

    def waits_for(self) -> str:
        return f"waiting for process {self.stalled_by}" if self.stalled_by else "waiting for the relay"


# --- on pipes ---


async def _run_on_pipes(window: _Window, session: Session, room: str | None) -> None:
    output = Output(sys.stdout.fileno())
    talk = window.talk = Conversation(session, lambda line: output.put(encoded(plain(line))))
    talk.shown = output.flush
    await session.ask(m.WaitSettled())
    await talk.begin(room)
    reading = asyncio.create_task(_read(talk))
    listening = asyncio.create_task(talk.listen())
    try:
        await asyncio.wait((reading, listening), return_when=asyncio.FIRST_COMPLETED)
        for task in (reading, listening):
            if task.done():
                task.result()
        await talk.finish()
        await output.flush()
    finally:
        for task in (reading, listening):
            task.cancel()
        await asyncio.gather(reading, listening, return_exceptions=True)


async def _read(talk: Conversation) -> None:
    first = True
    async for line in read_byte_lines(sys.stdin.fileno(), MAX_BODY_BYTES):
        if line is None:
            talk.show(note(f"a line of more than {MAX_BODY_BYTES} bytes was not taken", "alarm"))
            continue
        text = line.decode(errors="replace")
        await run_input(talk, text.removeprefix("\ufeff") if first else text)
        first = False
        await talk.shown()
        if talk.finished:
            return


def _print(line: Line) -> None:
    print_out(plain(line))


# --- on a terminal ---


async def _run_on_terminal(window: _Window, session: Session, room: str | None, alerts: Alerts) -> int:
    from clave_client.ui.terminal.terminal import Ending, LineRefused, Terminal

    history = await session.ask(m.GetTypedLines())
    lines: list[Line] = []
    talk = window.talk = Conversation(session, lines.append, interactive=True)
    begun = asyncio.Event()

    async def handle(text: str) -> None:
        await begun.wait()  # what is typed ahead of the prompt is for the room that it will be in
        accepted = await run_input(talk, text)
        if talk.finished:
            terminal.stop()
        if not accepted:
            raise LineRefused(text)

    async def remember(text: str) -> None:
        if holds_link(text):
            return
        with contextlib.suppress(ClientError):  # a full disk; the line itself is handled next, and says so
            await session.ask(m.AddTypedLine(line=text))

    def alert(message: events.Message, title: str) -> None:
        if alerts != "off":
            terminal.bell()
        if alerts == "content":
            terminal.notify(f"{name_with_warning(message.sender)} in {title}: {message.text}")
        elif alerts == "desktop":
            terminal.notify(f"a message in {title}")

    terminal = Terminal(
        prompt=lambda: talk.prompt,
        live=talk.live,
        handle=handle,
        waiting=window.waits_for,
        complete=partial(_complete, talk),
        history=history,
        remember=remember,
        shortcuts={
            key: partial(run_shortcut, talk, work)
            for key, work in {
                **{f"alt-{number}": partial(switch, talk, number) for number in range(1, 10)},
                "alt-a": partial(switch_to_unread, talk),
            }.items()
        },
    )
    window.ask = partial(terminal.ask_secret, OWNER_ENDED)
    talk.connect(terminal.print, terminal.refresh, alert, terminal)
    running = asyncio.create_task(terminal.run())
    listening = asyncio.create_task(_begin_and_listen(talk, room, begun))
    try:
        await asyncio.wait((running, listening), return_when=asyncio.FIRST_COMPLETED)
        terminal.stop()
        ending = await running
        talk.connect(_print, lambda: None, lambda *_: None)
        if listening.done():
            listening.result()
        await talk.finish()
        return {Ending.INTERRUPTED: 128 + signal.SIGINT, Ending.HUNG_UP: 128 + signal.SIGHUP}.get(ending, 0)
    finally:
        for task in (running, listening):
            task.cancel()
        await asyncio.gather(running, listening, return_exceptions=True)


async def _begin_and_listen(talk: Conversation, room: str | None, begun: asyncio.Event) -> None:
    await talk.begin(room)
    begun.set()
    await talk.listen()


async def _complete(talk: Conversation, text: str) -> list[str]:
    return completed_line(talk, text)

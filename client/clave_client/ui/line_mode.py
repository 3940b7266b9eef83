"""Line mode: a prompt below an append-only conversation, and the same over plain pipes. Knows no commands."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterable

from prompt_toolkit import PromptSession, print_formatted_text
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.styles import Style

from clave_client.client import Client
from clave_client.errors import ClientError
from clave_client.ui.chat_commands import COMMANDS, run_input
from clave_client.ui.conversation import Conversation
from clave_client.ui.display import Line, plain
from clave_client.ui.line_reader import read_lines

__all__ = ["run_line_mode"]

_STYLE = Style.from_dict(
    {
        "name": "ansicyan",
        "own": "ansigreen",
        "time": "ansibrightblack",
        "note": "ansibrightblack",
        "alarm": "ansired",
    }
)


async def run_line_mode(client: Client, room: bytes | None) -> None:
    """Run the conversation until `exit` or the end of input. Raises `ClientError` when it cannot go on."""
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    talk = Conversation(client, _show_on_terminal if on_terminal else _show_plain)
    talk.begin(room)
    reading = asyncio.create_task(_prompt(talk) if on_terminal else _pipe(talk))
    listening = asyncio.create_task(talk.listen())
    try:
        await asyncio.wait((reading, listening), return_when=asyncio.FIRST_COMPLETED)
        for task in (reading, listening):
            if task.done():
                task.result()
        await talk.finish()
    finally:
        for task in (reading, listening):
            task.cancel()
        await asyncio.gather(reading, listening, return_exceptions=True)


def _show_plain(line: Line) -> None:
    print(plain(line), flush=True)  # noqa: T201 (printing is its purpose)


def _show_on_terminal(line: Line) -> None:
    # The pieces are data, not markup: text of a peer cannot set a style.
    pieces = FormattedText([(f"class:{style}" if style else "", text) for style, text in line])
    depth = ColorDepth.DEPTH_1_BIT if os.environ.get("NO_COLOR") else None
    print_formatted_text(pieces, style=_STYLE, color_depth=depth)


async def _pipe(talk: Conversation) -> None:
    async for text in read_lines(sys.stdin):
        await run_input(talk, text)
        if talk.finished:
            return


async def _prompt(talk: Conversation) -> None:
    session: PromptSession[str] = PromptSession(
        history=InMemoryHistory(),
        completer=_Completer(talk),
        complete_while_typing=False,
        key_bindings=_keys(),
        multiline=True,
        prompt_continuation=lambda width, _line, _wrap: " " * width,
    )
    with patch_stdout(raw=False):
        while not talk.finished:
            try:
                text = await session.prompt_async(lambda: talk.prompt)
            except (EOFError, KeyboardInterrupt):
                return
            await run_input(talk, text)


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        # More keys in the queue mean that this Enter is part of a paste: it must not send.
        if event.app.key_processor.input_queue:
            event.current_buffer.newline(copy_margin=False)
        else:
            event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    @keys.add("c-c")
    def _(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt)

    return keys


class _Completer(Completer):
    """Completes commands, and names or rooms where a command takes one."""

    def __init__(self, talk: Conversation) -> None:
        self._talk = talk

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        if not text.startswith("/"):
            return
        name, space, argument = text[1:].partition(" ")
        if not space:
            for command in COMMANDS:
                if command.startswith(name):
                    yield Completion(f"/{command}", start_position=-len(text))
            return
        known = COMMANDS.get(name)
        for choice in self._choices(known.completes if known else ""):
            if choice.casefold().startswith(argument.casefold()):
                yield Completion(choice, start_position=-len(argument))

    def _choices(self, kind: str) -> list[str]:
        with contextlib.suppress(ClientError):
            if kind == "room":
                return sorted(record.title for record in self._talk.client.rooms.values())
            if kind == "name":
                return self._talk.client.known_names()
        return []

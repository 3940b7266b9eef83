"""The chat commands with their help, and what else can be typed, for every mode. Knows no terminal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from clave_client.errors import ClientError, KeyMismatch, UsageError
from clave_client.ui.conversation import Conversation
from clave_client.ui.display import history_line, note, room_info_lines, warning_word
from clave_client.ui.hints import error_text
from clave_client.ui.key_commands import show_fingerprint, trust, verify
from clave_client.values import Phase, SeenKey
from clave_wire.text import sanitize

__all__ = ["COMMANDS", "Command", "run_input"]

_COUNT_DIGITS = 6
"""Most digits of a number of messages."""


@dataclass(frozen=True)
class Command:
    """One command. `completes` is the kind of its argument: "name", "room", or "" for free text or none."""

    usage: str
    help: str
    completes: str
    run: Callable[[Conversation, str], Awaitable[None]]


async def _new(talk: Conversation, title: str) -> None:
    room = await talk.client.create_room(_require(title, "/new TITLE"))
    talk.enter(room.id)
    talk.show(note(f"{talk.title(talk.current())} is open; /invite NAME brings people in"))


async def _invite(talk: Conversation, name: str) -> None:
    person = await talk.client.invite(talk.current(), _require(name, "/invite NAME"))
    talk.show(note(f"the invitation waits for {person.name}; compare with /fingerprint {person.name}"))


async def _accept(talk: Conversation, words: str) -> None:
    room = _invitation(talk, words)
    await talk.client.accept(room)
    talk.enter(room)
    talk.show(note(f"talking in {talk.title(room)}"))


async def _decline(talk: Conversation, words: str) -> None:
    room = _invitation(talk, words)
    talk.title(room)
    await talk.client.decline(room)


async def _room(talk: Conversation, words: str) -> None:
    if words:
        room = talk.client.find_room(words)
        if talk.client.rooms[room].phase is Phase.INVITED:
            raise UsageError(f"answer the invitation first: /accept {words} or /decline {words}")
        talk.enter(room)
        talk.show(note(f"talking in {talk.title(room)}"))
        return
    if not talk.client.rooms:
        raise UsageError("you are in no room; /new TITLE opens one")
    for record in talk.client.rooms.values():
        state = " (invited)" if record.phase is Phase.INVITED else ""
        here = " (here)" if record.id == talk.room else ""
        talk.show(note(f"{record.title}  {record.id.hex()[:8]}{state}{here}"))


async def _members(talk: Conversation, _: str) -> None:
    for person, admin, online in talk.client.members(talk.current()):
        you = person.name == talk.client.name and not person.known
        words = ["admin"] if admin else []
        words += ["you"] if you else [warning_word(person)] if warning_word(person) else []
        words += ["online" if online else "offline"]
        talk.show(note(f"{person.name} on {person.device_name}: {', '.join(words)}"))


async def _info(talk: Conversation, words: str) -> None:
    room = talk.client.find_room(words) if words else talk.current()
    for line in room_info_lines(talk.client.info(room)):
        talk.show(note(line))
    address, fingerprint = talk.client.relay
    talk.show(note(f"relay: {address}"))
    talk.show(note(f"relay fingerprint {fingerprint}"))


async def _remove(talk: Conversation, name: str) -> None:
    await talk.client.remove(talk.current(), _require(name, "/remove NAME"))


async def _title(talk: Conversation, title: str) -> None:
    await talk.client.set_title(talk.current(), _require(title, "/title TITLE"))


async def _history(talk: Conversation, count: str) -> None:
    if count and not (count.isdecimal() and len(count) <= _COUNT_DIGITS):
        raise UsageError("/history takes a number of messages, as in /history 50")
    for line in talk.client.history(talk.current(), last=int(count or 20)):
        sender = talk.client.sender(line)
        own = line.name == talk.client.name and not sender.known
        talk.show(history_line(line, own=own, sender=sender))


async def _leave(talk: Conversation, _: str) -> None:
    room = talk.current()
    talk.title(room)
    await talk.client.leave(room)


async def _exit(talk: Conversation, _: str) -> None:
    talk.finished = True


async def _help(talk: Conversation, _: str) -> None:
    width = max(len(command.usage) for command in COMMANDS.values())
    for command in COMMANDS.values():
        talk.show([("name", f"  {command.usage:<{width}}"), ("", f"  {command.help}")])
    talk.show([("", "  Anything else is said in the room. // says a line that starts with /.")])
    talk.show(
        [("", "  Alt-Enter starts a new line. Leaving a room is /leave; exit only closes the program.")]
    )


COMMANDS = {
    "new": Command("/new TITLE", "open a room", "", _new),
    "invite": Command("/invite NAME", "add somebody to this room", "name", _invite),
    "accept": Command("/accept [ROOM]", "answer an invitation with yes", "room", _accept),
    "decline": Command("/decline [ROOM]", "answer an invitation with no", "room", _decline),
    "room": Command("/room [ROOM]", "list your rooms, or talk in another one", "room", _room),
    "members": Command("/members", "list who is in this room", "", _members),
    "info": Command("/info [ROOM]", "show how this room is encrypted, and who carries it", "room", _info),
    "fingerprint": Command(
        "/fingerprint [NAME]", "show what to compare with somebody", "name", show_fingerprint
    ),
    "verify": Command("/verify NAME [DIGITS]", "remember that the key shown is right", "name", verify),
    "trust": Command("/trust NAME", "decide between two keys that go by one name", "name", trust),
    "title": Command("/title TITLE", "call this room something else", "", _title),
    "remove": Command("/remove NAME", "remove somebody and rekey the room", "name", _remove),
    "history": Command("/history [N]", "show the last N messages again (20)", "", _history),
    "leave": Command("/leave", "give up membership of this room; the others rekey", "", _leave),
    "help": Command("/help", "show this", "", _help),
    "exit": Command("exit", "say goodbye and close; you stay a member", "", _exit),
}


async def run_input(talk: Conversation, text: str) -> None:
    """Run a command or post a message; errors are shown, not raised."""
    try:
        await _run_input(talk, text)
    except ClientError as error:
        if isinstance(error, KeyMismatch):
            talk.keys.refused[error.name] = SeenKey(error.found, error.source)
        talk.show(note(error_text(error), "alarm"))


async def _run_input(talk: Conversation, text: str) -> None:
    text = text.encode(errors="replace").decode()  # bytes that are no UTF-8 arrive as surrogates
    words = text.strip()
    if words == "exit":
        talk.finished = True
    elif words.startswith("/") and not words.startswith("//"):
        name, *rest = words[1:].split(maxsplit=1)[:2] or [""]
        command = COMMANDS.get(name)
        if command is None:
            name = sanitize(name)
            raise UsageError(f"there is no /{name}; /help lists the commands (start with // to say it)")
        await command.run(talk, rest[0] if rest else "")
    elif words:
        talk.show_key_notices(talk.current())
        talk.client.post(talk.current(), words[1:] if words.startswith("//") else text)


def _require(argument: str, usage: str) -> str:
    if not argument:
        raise UsageError(f"say what or whom: {usage}")
    return argument


def _invitation(talk: Conversation, words: str) -> bytes:
    """Return the invitation that `words` name, or without words the only one."""
    if words:
        return talk.client.find_room(words, invited=True)
    invited = [record.id for record in talk.client.rooms.values() if record.phase is Phase.INVITED]
    if not invited:
        raise UsageError("there is no open invitation")
    if len(invited) > 1:
        titles = ", ".join(talk.title(room) for room in invited)
        raise UsageError(f"say which: {titles}")
    return invited[0]

"""The chat commands with their help, and what else can be typed, for every mode. Knows no terminal."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from clave_client.errors import ClientError, KeyMismatch, UsageError
from clave_client.rpc import methods as m
from clave_client.rpc.values import RoomSummary
from clave_client.ui.command import Command, require
from clave_client.ui.conversation import Conversation
from clave_client.ui.device_commands import DEVICE_COMMANDS
from clave_client.ui.display import name_with_warning, note, room_info_lines, room_line, warning_word
from clave_client.ui.draft_line import TypedText
from clave_client.ui.hints import error_text
from clave_client.ui.inspection_commands import INSPECTION_COMMANDS
from clave_client.ui.key_commands import show_fingerprint, trust, verify
from clave_client.ui.link_commands import LINK_COMMANDS
from clave_client.ui.message_commands import MESSAGE_COMMANDS
from clave_client.ui.role_commands import ROLE_COMMANDS
from clave_client.values import Phase, SeenKey
from clave_wire.text import sanitize

__all__ = ["COMMANDS", "run_input", "run_shortcut", "switch", "switch_to_unread"]

_COUNT_DIGITS = 6
"""Most digits of a number of messages or hours."""

_MOST_HISTORY = 1000
_FOREVER_HOURS = 24 * 36_500
_ALL = "all"
_ONCE = "once the relay is back"


async def _new(talk: Conversation, title: str) -> None:
    room = await talk.session.ask(m.CreateRoom(title=require(title, "/new TITLE")))
    await talk.enter(room.id)
    talk.show(note(f"{room.title} is open; /invite brings people in, by name or by a link"))


async def _accept(talk: Conversation, words: str) -> None:
    room = await _invitation(talk, words)
    done = await talk.session.ask(m.Accept(room=room.id.hex()))
    await talk.refresh()
    if room.id not in talk.rooms:
        return  # removed meanwhile, which an event says
    await talk.enter(room.id)
    title = talk.title(room.id)
    talk.show(note(f"talking in {title}" if done else f"{title} is accepted; the others hear it {_ONCE}"))


async def _decline(talk: Conversation, words: str) -> None:
    room = await _invitation(talk, words)
    talk.title(room.id)
    talk.note_declined(room.id)
    if not await talk.session.ask(m.Decline(room=room.id.hex())):
        talk.show(note(f"{room.title} is declined; the others hear it {_ONCE}"))
        await talk.refresh()


async def _room(talk: Conversation, words: str) -> None:
    if words and words != _ALL:
        await talk.enter(await talk.find_joined(words))
        talk.show(note(f"talking in {talk.title(talk.room)}"))
        return
    await talk.refresh()
    if not talk.rooms:
        raise UsageError("you are in no room; /new TITLE opens one")
    archived = 0
    for number, room in enumerate(talk.rooms.values(), start=1):
        if room.archived and words != _ALL and room.id != talk.room:
            archived += 1
        else:
            talk.show(note(f"{number} {room_line(room, here=room.id == talk.room)}"))
    if archived:
        talk.show(note(f"and {archived} archived; /room all lists them too"))


async def switch(talk: Conversation, number: int, typed: TypedText) -> None:
    """Enter the room with this number in the list of /room; `typed` is kept with the former one."""
    rooms = list(talk.rooms.values())
    if number <= len(rooms) and rooms[number - 1].phase is Phase.JOINED:
        await talk.enter(rooms[number - 1].id, typed)
        talk.show(note(f"talking in {talk.title(rooms[number - 1].id)}"))


async def switch_to_unread(talk: Conversation, typed: TypedText) -> None:
    """Enter the next room with something new, after the current one; `typed` is kept with that."""
    rooms = list(talk.rooms.values())
    place = next((n for n, room in enumerate(rooms) if room.id == talk.room), -1)
    for room in rooms[place + 1 :] + rooms[: place + 1]:
        if room.unread and room.id != talk.room and room.phase is Phase.JOINED:
            await talk.enter(room.id, typed)
            talk.show(note(f"talking in {talk.title(room.id)}"))
            return


async def run_shortcut(
    talk: Conversation, work: Callable[[TypedText], Awaitable[None]], typed: TypedText
) -> None:
    """Run what a key does; errors are shown, not raised."""
    try:
        await work(typed)
    except ClientError as error:
        talk.show(note(error_text(error), "alarm"))


async def _members(talk: Conversation, _: str) -> None:
    for member in await talk.session.ask(m.ListMembers(room=talk.current())):
        person = member.person
        you = person.account == talk.account
        words = [member.role] if member.role != "member" else []
        words += ["you"] if you else [warning_word(person)] if warning_word(person) else []
        words += ["online" if member.is_online else "offline"]
        talk.show(note(f"{person.name} on {person.device_name}: {', '.join(words)}"))


async def _who(talk: Conversation, _: str) -> None:
    members = await talk.session.ask(m.ListMembers(room=talk.current()))
    here = {name_with_warning(each.person, talk.account) for each in members if each.is_online}
    talk.show(note(f"online in {talk.title(talk.room)}: {', '.join(sorted(here))}"))


async def _info(talk: Conversation, words: str) -> None:
    for line in room_info_lines(await talk.session.ask(m.GetRoomInfo(room=words or talk.current()))):
        talk.show(note(line))
    profile = await talk.session.ask(m.GetProfile())
    talk.show(note(f"relay: {profile.relay}"))
    talk.show(note(f"relay fingerprint {profile.relay_fingerprint}"))


async def _remove(talk: Conversation, name: str) -> None:
    await talk.session.ask(m.Remove(room=talk.current(), name=require(name, "/remove NAME")))


async def _title(talk: Conversation, title: str) -> None:
    await talk.session.ask(m.SetTitle(room=talk.current(), title=require(title, "/title TITLE")))


async def _history(talk: Conversation, count: str) -> None:
    if count and not (count.isdecimal() and len(count) <= _COUNT_DIGITS):
        raise UsageError("/history takes a number of messages, as in /history 50")
    await talk.show_history(min(int(count or 20), _MOST_HISTORY))


async def _mute(talk: Conversation, words: str) -> None:
    *title, last = words.split() or [""]
    hours = _hours(last)
    if hours == 0:
        raise UsageError("say for how many hours, as in /mute 8h; /mute without a number mutes for good")
    named = " ".join(title) if hours is not None else words
    room = await talk.session.ask(m.FindRoom(room=named or talk.current()))
    is_muted = room.muted_until > time.time()
    until = 0.0 if is_muted and hours is None else time.time() + (hours or _FOREVER_HOURS) * 3600
    await talk.session.ask(m.Mute(room=room.id.hex(), until=until))
    await talk.refresh()
    how = "rings again" if not until else f"is muted for {hours} hours" if hours else "is muted"
    talk.show(note(f"{room.title} {how}"))


def _hours(word: str) -> int | None:
    """Return the hours of a word such as 8h, None for any other word."""
    digits = word[:-1]
    is_hours = word.endswith("h") and digits.isascii() and digits.isdecimal() and len(digits) <= _COUNT_DIGITS
    return int(digits) if is_hours else None


async def _leave(talk: Conversation, answer: str) -> None:
    room = talk.current()
    title = talk.title(talk.room)
    members = await talk.session.ask(m.ListMembers(room=room))
    others = {each.person.account for each in members} - {talk.account}
    owners = {each.person.account for each in members if each.role == "owner"}
    admins = {each.person.account for each in members if each.is_admin}
    if owners == {talk.account} and others:
        text = f"you are the only owner of {title}: the next one is its first admin, or else its first member"
        talk.show(note(text, "alarm"))
        talk.show(note("/role NAME owner chooses who it is"))
    elif admins == {talk.account} and others:
        text = f"you are the only admin of {title}: after you nobody can invite or remove anybody there"
        talk.show(note(text, "alarm"))
    waiting = sum(message.room.hex() == room for message in talk.waiting.values())
    if waiting:
        talk.show(note(f"{waiting} of your messages there wait to be sent, and will not be", "alarm"))
    if talk.interactive and answer != "yes":
        talk.show(note(f"leaving {title} deletes its keys here; to do it, type /leave yes"))
        return
    if not await talk.session.ask(m.Leave(room=room)):
        talk.show(note(f"you leave {title}; the others hear it {_ONCE}"))
        talk.room = None
        await talk.refresh()


async def _exit(talk: Conversation, _: str) -> None:
    talk.finished = True


async def _help(talk: Conversation, _: str) -> None:
    width = max(len(command.usage) for command in COMMANDS.values())
    for command in COMMANDS.values():
        talk.show([("name", f"  {command.usage:<{width}}"), ("", f"  {command.help}")])
    talk.show([("", "  Anything else is said in the room. // says a line that starts with /.")])
    talk.show(
        [("", "  Alt-Enter starts a new line. Leaving a room is /leave; exit only closes this window.")]
    )
    if talk.interactive:
        talk.show([("", "  Alt-1 to Alt-9 enter the rooms of /room, Alt-a the next with something new.")])


COMMANDS = {
    "new": Command("/new TITLE", "open a room", "", _new),
    **LINK_COMMANDS,
    "accept": Command("/accept [ROOM]", "answer an invitation with yes", "room", _accept),
    "decline": Command("/decline [ROOM]", "answer an invitation with no", "room", _decline),
    "room": Command("/room [ROOM]", "list your rooms, or talk in another one", "room", _room),
    "who": Command("/who", "who is online in this room", "", _who),
    "members": Command("/members", "list who is in this room", "", _members),
    "info": Command("/info [ROOM]", "show how this room is encrypted, and who carries it", "room", _info),
    "fingerprint": Command(
        "/fingerprint [NAME]", "show what to compare with somebody", "name", show_fingerprint
    ),
    "verify": Command(
        "/verify NAME|all [DIGITS]", "remember that the key shown is right, or all of a room", "name", verify
    ),
    "trust": Command("/trust NAME", "decide between two keys that go by one name", "name", trust),
    "title": Command("/title TITLE", "call this room something else", "", _title),
    "remove": Command("/remove NAME", "remove somebody and rekey the room", "name", _remove),
    "history": Command("/history [N]", "show the last N messages again (20)", "", _history),
    **ROLE_COMMANDS,
    **MESSAGE_COMMANDS,
    **INSPECTION_COMMANDS,
    **DEVICE_COMMANDS,
    "mute": Command("/mute [ROOM] [8h]", "ring no bell for a room, or ring again", "room", _mute),
    "leave": Command("/leave", "give up membership of this room; the others rekey", "", _leave),
    "help": Command("/help", "show this", "", _help),
    "exit": Command("exit", "say goodbye and close; you stay a member", "", _exit),
}


async def run_input(talk: Conversation, text: str) -> bool:
    """Run a command or post a message; errors are shown, not raised. Return False for a refused line."""
    try:
        await _run_input(talk, text)
    except ClientError as error:
        if isinstance(error, KeyMismatch):
            talk.keys.refused[error.name] = SeenKey(error.found, error.source)
        talk.show(note(error_text(error), "alarm"))
        return False
    return True


async def _run_input(talk: Conversation, text: str) -> None:
    text = text.encode(errors="replace").decode()  # bytes that are no UTF-8 arrive as surrogates
    talk.typed = text
    words = text.strip()
    if words == "exit":
        talk.finished = True
    elif words.startswith("/") and not words.startswith("//"):
        name, _, rest = words[1:].partition(" ")
        command = COMMANDS.get(name.lower())
        if command is None:
            name = sanitize(name)
            raise UsageError(f"there is no /{name}; /help lists the commands (start with // to say it)")
        await command.run(talk, rest.strip())
    elif words:
        await talk.post(words[1:] if words.startswith("//") else text)


async def _invitation(talk: Conversation, words: str) -> RoomSummary:
    """Return the invitation that `words` name, or without words the only one."""
    if words:
        return await talk.session.ask(m.FindRoom(room=words, invited=True))
    await talk.refresh()
    invited = [room for room in talk.rooms.values() if room.phase is Phase.INVITED]
    if not invited:
        raise UsageError("there is no open invitation")
    if len(invited) > 1:
        titles = ", ".join(room.title for room in invited)
        raise UsageError(f"say which: {titles}")
    return invited[0]

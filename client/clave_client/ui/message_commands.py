"""The chat commands about messages: answers, edits, reactions, search. Knows the conversation.

A message is named by its number, which /numbers shows before each line; without one it is the last.
"""

from __future__ import annotations

import secrets
from typing import Final

from clave_client.errors import UsageError
from clave_client.formats.durations import exact_duration_words, parse_duration
from clave_client.formats.emoji_names import emoji_of
from clave_client.rpc import methods as m
from clave_client.rpc.values import SendResult
from clave_client.ui.command import Command, require
from clave_client.ui.conversation import Conversation
from clave_client.ui.display import note
from clave_client.ui.message_lines import detail_lines, found_lines
from clave_wire.text import sanitize

__all__ = ["MESSAGE_COMMANDS", "edit_message", "reaction_of"]

_LAST: Final = "last"
_CONTEXT: Final = 5
"""Messages shown before and after one that is jumped to."""

_HERE: Final = "here"


def _message_first(words: str) -> tuple[str, str]:
    """Return which message `words` begin with, the last if with none, and the rest."""
    first, _, rest = words.partition(" ")
    if first == _LAST or (first.isascii() and first.isdecimal()):
        return first, rest.strip()
    return _LAST, words


async def _reply(talk: Conversation, words: str) -> None:
    message, text = _message_first(require(words, "/reply [N] TEXT"))
    await talk.post(require(text, "/reply [N] TEXT"), reply_to=message)


async def _timed(talk: Conversation, words: str) -> None:
    first, _, text = words.partition(" ")
    seconds = parse_duration(first)
    if not seconds:
        raise UsageError("say how long it is seen, as in /timed 1h TEXT (30s, 10m, 1h, 7d)")
    await talk.post(require(text.strip(), "/timed 1h TEXT"), expires=seconds)


async def _edit(talk: Conversation, words: str) -> None:
    message, text = _message_first(require(words, "/edit [N] TEXT"))
    await edit_message(talk, message, require(text, "/edit [N] TEXT"))


async def edit_message(talk: Conversation, message: str, text: str) -> None:
    """Give the own message that `message` names another text."""
    edit = m.Edit(
        room=talk.current(),
        text=text,
        message=message,
        typed=talk.typed,
        wait=0.0,
        key=secrets.token_hex(16),
    )
    _say_if_waiting(talk, await talk.session.ask(edit))


async def _delete(talk: Conversation, words: str) -> None:
    message, rest = _message_first(words)
    if rest not in ("", _HERE):
        raise UsageError("/delete [N] deletes your own message for all, /delete [N] here any on this device")
    delete = m.DeleteMessage(
        room=talk.current(),
        message=message,
        here_only=rest == _HERE,
        wait=0.0,
        key=secrets.token_hex(16),
    )
    result = await talk.session.ask(delete)
    if rest == _HERE:
        talk.show(note("deleted on this device only"))
    else:
        _say_if_waiting(talk, result)


async def _react(talk: Conversation, words: str) -> None:
    first, _, message = require(words, "/react EMOJI [N]").partition(" ")
    react = m.React(
        room=talk.current(),
        reaction=reaction_of(first),
        message=message.strip() or _LAST,
        wait=0.0,
        key=secrets.token_hex(16),
    )
    _say_if_waiting(talk, await talk.session.ask(react))


async def _unreact(talk: Conversation, words: str) -> None:
    message, reaction = _message_first(words)
    unreact = m.Unreact(
        room=talk.current(),
        message=message,
        reaction=reaction_of(reaction) if reaction else "",
        wait=0.0,
        key=secrets.token_hex(16),
    )
    _say_if_waiting(talk, await talk.session.ask(unreact))


def reaction_of(word: str) -> str:
    """Return the emoji that a word such as :tada: names, or the word itself. Raises `UsageError`."""
    if word.startswith(":") and word.endswith(":") and len(word) > 2:
        found = emoji_of(word)
        if not found:
            raise UsageError(f"there is no emoji called {sanitize(word)}")
        return found
    return word


def _say_if_waiting(talk: Conversation, result: SendResult) -> None:
    if not result.seq and not talk.is_online:
        talk.show(note("the others hear it once the relay is back"))


async def _show(talk: Conversation, words: str) -> None:
    message, rest = _message_first(words)
    if rest:
        raise UsageError("/show takes the number of a message, as in /show 12")
    details = await talk.session.ask(m.GetMessage(room=talk.current(), message=message))
    for line in detail_lines(details, me=talk.account):
        talk.show(line)


async def _numbers(talk: Conversation, _: str) -> None:
    talk.numbered = not talk.numbered
    talk.show(note(f"messages are shown {'with' if talk.numbered else 'without'} their numbers from now on"))
    if talk.numbered:
        await talk.show_history(_CONTEXT)


# --- search ---


async def _search(talk: Conversation, words: str) -> None:
    talk.find_more = m.Search(words=require(words, "/search WORDS"))
    talk.found = []
    await _search_page(talk)


async def _more(talk: Conversation, _: str) -> None:
    if talk.find_more is None:
        raise UsageError("there is nothing more; /search WORDS begins anew")
    await _search_page(talk)


async def _search_page(talk: Conversation) -> None:
    search = talk.find_more
    if search is None:
        return
    page = await talk.session.ask(search)
    first = len(talk.found) + 1
    talk.found += page.found
    for number, found in enumerate(page.found, start=first):
        elsewhere = found.room != talk.room
        for line in found_lines(number, found, me=talk.account, elsewhere=elsewhere):
            talk.show(line)
    talk.find_more = None
    if not talk.found:
        talk.show(note("nothing was found"))
    elif page.next:
        talk.find_more = m.Search(words=search.words, before=page.next)
        talk.show(note("/more shows older ones; /jump N shows what was said around one"))
    else:
        talk.show(note("that is all; /jump N shows what was said around one"))


async def _jump(talk: Conversation, words: str) -> None:
    number = int(words) if words.isascii() and words.isdecimal() and len(words) < 6 else 0
    if not 0 < number <= len(talk.found):
        raise UsageError("/jump takes the number of a message that /search has found, as in /jump 1")
    await talk.show_found(talk.found[number - 1])


# --- rooms and people ---


async def _dm(talk: Conversation, name: str) -> None:
    direct = m.OpenDirect(name=require(name, "/dm NAME"), key=secrets.token_hex(16))
    room = await talk.session.ask(direct)
    await talk.refresh()
    await talk.enter(room.id)
    talk.show(note(f"talking in {room.title}"))


async def _disappear(talk: Conversation, words: str) -> None:
    if not words:
        info = await talk.session.ask(m.GetRoomInfo(room=talk.current()))
        after = (
            f"disappear {exact_duration_words(info.expiry)} after they are read"
            if info.expiry
            else "are kept"
        )
        talk.show(note(f"new messages here {after}; /disappear 1d changes that, /disappear off ends it"))
        return
    seconds = 0 if words == "off" else parse_duration(words)
    if seconds is None:
        raise UsageError("say after how long, as in /disappear 1d (30s, 10m, 8h, 7d), or /disappear off")
    expiry = m.SetExpiry(room=talk.current(), seconds=seconds, key=secrets.token_hex(16))
    await talk.session.ask(expiry)


async def _receipts(talk: Conversation, words: str) -> None:
    if words not in ("on", "off"):
        raise UsageError(
            "/receipts on tells the others of this room what you have read, /receipts off does not"
        )
    await talk.session.ask(m.SetReadReceipts(room=talk.current(), on=words == "on"))
    told = "are told" if words == "on" else "are not told"
    talk.show(note(f"the others of {talk.title(talk.room)} {told} what you read from now on"))


async def _block(talk: Conversation, name: str) -> None:
    if not name:
        blocked = await talk.session.ask(m.ListBlocked())
        for each in blocked:
            talk.show(note(f"{each.name}  {each.fingerprint}"))
        if not blocked:
            talk.show(note("nobody is blocked; /block NAME blocks somebody"))
        return
    person = await talk.session.ask(m.Block(name=name))
    await talk.refresh()
    talk.show(note(f"{person.name} is blocked: you see nothing of theirs; /unblock {person.name} ends it"))


async def _unblock(talk: Conversation, name: str) -> None:
    person = await talk.session.ask(m.Unblock(name=require(name, "/unblock NAME")))
    talk.show(note(f"{person.name} is not blocked any more; /history shows what was said meanwhile"))


async def _archive(talk: Conversation, words: str) -> None:
    room = await talk.session.ask(m.FindRoom(room=words or talk.current()))
    await talk.session.ask(m.Archive(room=room.id.hex(), archived=not room.archived))
    await talk.refresh()
    if room.archived:
        talk.show(note(f"{room.title} is in the list again"))
    else:
        talk.show(note(f"{room.title} is archived until somebody says something there; /room all lists it"))


MESSAGE_COMMANDS: Final = {
    "reply": Command("/reply [N] TEXT", "answer a message: the last one, or number N", "", _reply),
    "edit": Command("/edit [N] TEXT", "give your message another text", "", _edit),
    "delete": Command("/delete [N] [here]", "delete your message for all, or any message here", "", _delete),
    "react": Command("/react EMOJI [N]", "react to a message, as in /react :tada:", "emoji", _react),
    "unreact": Command("/unreact [N] [EMOJI]", "take a reaction back", "", _unreact),
    "timed": Command("/timed 1h TEXT", "say something that disappears after it was read", "", _timed),
    "show": Command("/show [N]", "show all about a message: edits, reactions, receipts", "", _show),
    "numbers": Command("/numbers", "show messages with their numbers, or without", "", _numbers),
    "search": Command("/search WORDS", "find messages in all rooms, newest first", "", _search),
    "more": Command("/more", "show older ones of those that /search has found", "", _more),
    "jump": Command("/jump N", "show what was said around a found message", "", _jump),
    "dm": Command("/dm NAME", "talk to one person; with your own name, notes to yourself", "name", _dm),
    "disappear": Command("/disappear [1d]", "have this room's messages disappear, or off", "", _disappear),
    "receipts": Command("/receipts on|off", "tell the others what you have read here", "", _receipts),
    "block": Command("/block [NAME]", "see nothing of somebody, or list who is blocked", "name", _block),
    "unblock": Command("/unblock NAME", "see what somebody says again", "name", _unblock),
    "archive": Command("/archive [ROOM]", "leave a room out of lists, or take it in again", "room", _archive),
}
"""The commands by name, in the order of the help."""

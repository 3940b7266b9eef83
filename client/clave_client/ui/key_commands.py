"""The commands /fingerprint, /verify and /trust: decisions about exactly the keys that were shown.

Knows the conversation; never looks a key up again between showing it and deciding about it.
"""

from __future__ import annotations

from clave_client.errors import UsageError
from clave_client.rpc import methods as m
from clave_client.ui.conversation import Conversation, ShownKey
from clave_client.ui.display import code_note, note
from clave_client.values import SeenKey
from clave_wire.text import sanitize

__all__ = ["choice_of", "digits_match", "show_fingerprint", "trust", "verify"]

SHOWN_SECONDS = 15 * 60
"""How long after a key was shown a plain yes refers to it."""


async def show_fingerprint(talk: Conversation, name: str) -> None:
    """Show the fingerprint and safety number to compare with somebody."""
    shown = await _show(talk, name or talk.name, asked=True)
    if shown.found.safety_number:
        name = shown.found.name
        talk.show(note("compared and right" if shown.found.verified else f"compare it, then /verify {name}"))


async def verify(talk: Conversation, words: str) -> None:
    """Mark the key that was shown as verified: at once after /fingerprint, else by a yes or its digits."""
    name, answer = _split(words, "/verify NAME")
    if name == "all" and answer in ("", "yes") and await _verify_all(talk, agreed=answer == "yes"):
        return
    shown = talk.keys.last.get(name)
    if shown is None or talk.clock() - shown.at > SHOWN_SECONDS:
        shown = await _show(talk, name, asked=False)
        agreed = False
    else:
        agreed = shown.asked if not answer else answer == "yes"
    found = shown.found
    if not found.safety_number:
        raise UsageError("this is your own key: others compare it and verify you")
    if answer not in ("", "yes"):
        if not (digits_match(answer, found.fingerprint) or digits_match(answer, found.safety_number)):
            raise UsageError(
                f"that is not the key shown of {name}, nothing was marked: type at least the first half of"
                f" the fingerprint or safety number; if {name} read it to you, somebody stands between you"
            )
        agreed = True
    if not agreed:
        text = f"compare it, then /verify {name} yes, or type what {name} reads to you: /verify {name} DIGITS"
        talk.show(note(text))
        return
    await talk.session.ask(m.Verify(name=name, account=found.account))
    talk.show(note(f"{name} is verified: {found.fingerprint}"))


async def _verify_all(talk: Conversation, *, agreed: bool) -> bool:
    """Mark all members as verified by a yes to the code that was shown; False if a member's name is "all"."""
    room = talk.current()
    info = await talk.session.ask(m.GetRoomInfo(room=room))  # first, so that the members are none of before
    people = {one.person.name for one in await talk.session.ask(m.ListMembers(room=room))}
    if "all" in people:
        return False
    others = ", ".join(sorted(people - {talk.name}))
    if not others:
        raise UsageError(f"nobody else is in {info.title}")
    if not info.code:
        raise UsageError(f"{info.title} has no code just now: a change of it is not confirmed yet")
    code, at = talk.keys.codes.pop(room, ((), 0.0))
    if agreed and code and talk.clock() - at <= SHOWN_SECONDS:
        names = await talk.session.ask(m.VerifyRoom(room=room, code=list(code)))
        talk.show(note(f"verified: {', '.join(names)}"))
        return True
    for line in code_note(info.code):
        talk.show(note(line))
    talk.show(note(f"if each of them read out these words to you, /verify all yes: {others}"))
    talk.keys.codes[room] = (info.code, talk.clock())
    return True


async def trust(talk: Conversation, words: str) -> None:
    """Show the keys that go by a name, and pin the name to the one that the user chooses."""
    name, answer = _split(words, "/trust NAME")
    choice = talk.keys.choices.get(name)
    if not answer or choice is None:
        await _show_choice(talk, name)
        return
    if answer == "yes":
        matching = choice[1:] if choice[0].bound else []
    else:
        matching = [one for one in choice if digits_match(answer, _fingerprint(one))]
    if len(matching) != 1:
        raise UsageError(
            f"say which of the keys shown: /trust {name} and at least the first half of its fingerprint"
        )
    (chosen,) = matching
    await talk.session.ask(m.Repin(name=name, account=chosen.account))
    del talk.keys.choices[name]
    talk.keys.refused.pop(name, None)
    talk.keys.last.pop(name, None)
    talk.show(note(f"{name} is {_fingerprint(chosen)} from now on; compare with /fingerprint {name}"))


async def _show(talk: Conversation, name: str, *, asked: bool) -> ShownKey:
    found = await talk.session.ask(m.GetFingerprint(name=name, room=_room(talk)))
    talk.show(note(f"{found.name}: {found.fingerprint}  (from {found.source})"))
    if found.safety_number:
        talk.show(note(f"safety number with you: {found.safety_number}"))
    shown = talk.keys.last[name] = ShownKey(found, talk.clock(), asked)
    return shown


async def _show_choice(talk: Conversation, name: str) -> None:
    choice = await choice_of(talk, name)
    if len(choice) < 2:
        raise UsageError(f"there is nothing to decide: no two keys go by {sanitize(name)} here")
    for one in choice:
        talk.show(note(f"{name}: {_fingerprint(one)}  ({one.source})"))
    talk.keys.choices[name] = choice
    if len(choice) == 2 and choice[0].bound:
        text = f"if {name} says that the second is right: /trust {name} yes; to keep the first, do nothing"
    else:
        text = f"say which {name} says is right: /trust {name} and at least the first half of it"
    talk.show(note(text, "alarm"))


async def choice_of(talk: Conversation, name: str) -> list[SeenKey]:
    """Return the keys that go by a name, with one that an error named."""
    choice = await talk.session.ask(m.ListKeys(name=name, room=_room(talk)))
    refused = talk.keys.refused.get(name)
    if refused is not None and all(one.account != refused.account for one in choice):
        choice.append(refused)
    return choice


def _room(talk: Conversation) -> str:
    return "" if talk.room is None else talk.room.hex()


def _split(words: str, usage: str) -> tuple[str, str]:
    """Return the name, and the rest without spaces in lower case."""
    name, *rest = words.split() or [""]
    if not name:
        raise UsageError(f"say whom: {usage}")
    return name, "".join(rest).casefold()


def _fingerprint(one: SeenKey) -> str:
    from clave_crypto.identity import fingerprint  # here, as it loads `cryptography`

    return fingerprint(one.account)


def digits_match(typed: str, digits: str) -> bool:
    """Return whether `typed`, without spaces and in lower case, is at least the first half of `digits`."""
    typed, whole = "".join(typed.split()).casefold(), digits.replace(" ", "")
    return len(typed) * 2 >= len(whole) and whole.startswith(typed)

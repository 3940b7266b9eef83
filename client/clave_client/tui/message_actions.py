"""What can be done to a message that was chosen in the list. Knows the screen it is done on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from clave_client.errors import UsageError
from clave_client.events import MessageKind
from clave_client.rpc import methods as m
from clave_client.rpc.values import HistoryMessage
from clave_client.tui.message_text import link_targets
from clave_client.tui.screens.choice import ChoiceScreen
from clave_client.tui.screens.side import new_key
from clave_client.tui.screens.text import TextScreen
from clave_client.ui.display import clock_text, note
from clave_client.ui.inspection_lines import relay_view_lines
from clave_client.ui.message_commands import reaction_of
from clave_client.ui.message_lines import copied_text, detail_lines

if TYPE_CHECKING:
    from clave_client.tui.screens.main import MainScreen

__all__ = ["act_on", "copy_text"]

_REACTIONS: Final = ("\U0001f44d", "\u2764\ufe0f", "\U0001f602", "\U0001f389", "\U0001f440", "\u2705")


async def act_on(screen: MainScreen, action: str, messages: list[HistoryMessage]) -> None:
    """Do an action of the place "messages" in the keymap. Raises `ClientError`."""
    if action == "copy":
        copy_text(screen, _joined(screen, messages))
        return
    message = messages[-1]
    match action:
        case "react":
            await _react(screen, message)
        case "copy_link":
            await _copy_link(screen, message)
        case "details":
            details = await screen.talk.session.ask(
                m.GetMessage(room=_room(screen), message=message.id.hex())
            )
            lines = detail_lines(details, me=screen.talk.account)
            screen.app.push_screen(TextScreen("about this message", lines))
        case "receipt":
            view = await screen.talk.session.ask(m.GetRelayView(room=_room(screen), message=message.id.hex()))
            lines = [note(line) for line in relay_view_lines(view)]
            screen.app.push_screen(TextScreen("what the relay could learn", lines))
        case "pin":
            await _pin(screen, message)
        case "delete":
            await _delete(screen, message)
        case "go_to_answered":
            await _go_to_answered(screen, message)


def copy_text(screen: MainScreen, text: str) -> None:
    """Copy a text to the terminal's clipboard, and say so."""
    if not text:
        raise UsageError("there is no text to copy")
    screen.app.copy_to_clipboard(text)
    size = "1 character" if len(text) == 1 else f"{len(text)} characters"
    screen.status.flash(f"copied {size}, if the terminal allows it")


def _joined(screen: MainScreen, messages: list[HistoryMessage]) -> str:
    """Return the text of a message alone, or of several with who wrote each and when."""
    if len(messages) == 1:
        return copied_text(messages[0])
    return "\n".join(
        f"{clock_text(each.sent_at)} {each.sender.name}: {copied_text(each)}" for each in messages
    )


def _room(screen: MainScreen) -> str:
    return screen.talk.current()


async def _react(screen: MainScreen, message: HistoryMessage) -> None:
    own = [each.reaction for each in message.reactions if each.own]
    answers = {f"-{each}": f"take {each} back" for each in own}
    answers |= {f"+{each}": each for each in _REACTIONS if each not in own}
    answers["other"] = "another one, by its name"
    chosen = await screen.app.push_screen_wait(ChoiceScreen("react with", answers))
    if chosen is None:
        return
    if chosen == "other":
        if screen.composer.text:
            raise UsageError(f"send what you write first, or type /react :NAME: {message.number}")
        screen.composer.write(f"/react : {message.number}")
        screen.composer.move_cursor((0, len("/react :")))
        screen.composer.focus()
        return
    room, name = _room(screen), message.id.hex()
    if chosen.startswith("-"):
        request: m.React | m.Unreact = m.Unreact(
            room=room, message=name, reaction=chosen[1:], wait=0.0, key=new_key()
        )
    else:
        request = m.React(room=room, message=name, reaction=reaction_of(chosen[1:]), wait=0.0, key=new_key())
    await screen.talk.session.ask(request)


async def _copy_link(screen: MainScreen, message: HistoryMessage) -> None:
    targets = link_targets(message)
    if not targets:
        raise UsageError("there is no link in this message")
    chosen: str | None = targets[0]
    if len(targets) > 1:
        chosen = await screen.app.push_screen_wait(
            ChoiceScreen("copy which link?", {each: each for each in targets})
        )
    if chosen is not None:
        copy_text(screen, chosen)


async def _pin(screen: MainScreen, message: HistoryMessage) -> None:
    room, name = _room(screen), message.id.hex()
    pinned = await screen.talk.session.ask(m.ListPinned(room=room))
    if any(each.id == message.id for each in pinned):
        await screen.talk.session.ask(m.UnpinMessage(room=room, message=name, key=new_key()))
    else:
        await screen.talk.session.ask(m.PinMessage(room=room, message=name, key=new_key()))


async def _delete(screen: MainScreen, message: HistoryMessage) -> None:
    answers = {"no": "keep it", "here": "delete it on this device only"}
    if message.kind is MessageKind.TEXT:
        answers["all"] = "delete it for all" if message.own else "remove it for all, as an admin"
    chosen = await screen.app.push_screen_wait(ChoiceScreen("delete this message?", answers))
    if chosen in ("here", "all"):
        await screen.talk.session.ask(
            m.DeleteMessage(
                room=_room(screen),
                message=message.id.hex(),
                here_only=chosen == "here",
                wait=0.0,
                key=new_key(),
            )
        )
        await screen.talk.show_changed(message.id)


async def _go_to_answered(screen: MainScreen, message: HistoryMessage) -> None:
    if message.quote is None or not message.reply_to:
        raise UsageError("this message answers none")
    found = await screen.talk.ask_message(bytes.fromhex(_room(screen)), message.reply_to)
    if found is None:
        raise UsageError("the message that it answers is not here")
    await screen.talk.show_around(found.seq)

"""The keys of the full screen: what each does and where, as one table. Help and footers are made from it.

A file `keys.toml` in the folder of the profiles gives actions other keys: `next_unread = "alt+n"`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from textual.binding import Binding, BindingType

from clave_client.errors import UsageError

__all__ = [
    "ASKING",
    "AT_ONCE",
    "CHANGING",
    "FILE_NAME",
    "KEYMAP",
    "OPENING",
    "SWITCHING",
    "KeyAction",
    "Keys",
    "bindings",
    "load_keys",
    "shown_key",
]

FILE_NAME: Final = "keys.toml"


@dataclass(frozen=True)
class KeyAction:
    """What a key does: the name of the action, its keys as Textual names them, separated by commas.

    `words` say it in help; `short`, if any, in the line of keys at the bottom of a screen.
    """

    id: str
    keys: str
    words: str
    short: str = ""


def _actions(*actions: tuple[str, ...]) -> tuple[KeyAction, ...]:
    return tuple(KeyAction(*each) for each in actions)


KEYMAP: Final[Mapping[str, tuple[KeyAction, ...]]] = {
    "main": _actions(
        ("palette", "ctrl+p", "find any command by its name"),
        ("help", "f1", "show all keys and commands"),
        ("next_unread", "alt+a", "go to the next room with something new"),
        ("find_room", "ctrl+t", "find a room or person as you type"),
        ("previous_room", "alt+up", "go to the room above"),
        ("next_room", "alt+down", "go to the room below"),
        *((f"room_{n}", f"alt+{n}", f"go to room {n} of the list") for n in range(1, 10)),
        ("jump", "alt+j", "jump to what is in sight by a letter"),
        ("select", "alt+m", "choose a message: to answer, edit, react, copy"),
        ("answer_last", "alt+r", "answer the last message of somebody else"),
        ("edit_last", "alt+c", "correct your last message"),
        ("search", "alt+s", "search all messages"),
        ("members", "alt+p", "show the members at the right, or hide them"),
        ("info", "alt+i", "show the room's info and code at the right, or hide them"),
        ("invite", "alt+n", "invite somebody, by name or by a link"),
        ("verify", "alt+v", "verify somebody: compare keys"),
        ("links", "alt+l", "list the links to join by"),
        ("devices", "alt+d", "list your devices, add or remove one"),
        ("settings", "alt+o", "settings of this room, and how the screen looks"),
        ("editor", "alt+e", "write in $EDITOR"),
        ("bare", "alt+w", "show the messages alone, for copying by the terminal"),
        ("older", "pageup", "scroll one page up"),
        ("newer", "pagedown", "scroll one page down"),
        ("newest", "ctrl+end", "go to the newest message"),
        ("write", "escape", "stop answering or editing; go back to what you write"),
        ("suspend", "ctrl+z", "stop, until the shell goes on with fg"),
        ("leave", "ctrl+q", "close this window; you stay a member"),
    ),
    "composer": _actions(
        ("send", "enter", "send, or run the command"),
        ("newline", "alt+enter,shift+enter,ctrl+j", "begin another line"),
        ("complete", "tab", "complete a @name, an :emoji: or a /command"),
        ("undo", "alt+z", "undo what was written last"),
        ("stop", "ctrl+c", "copy what is selected, else empty the line"),
    ),
    "messages": _actions(
        ("cursor_up", "up,k", "the message above"),
        ("cursor_down", "down,j", "the message below"),
        ("reply", "r,enter", "answer it", "answer"),
        ("edit", "e", "edit it, if it is yours", "edit"),
        ("react", "plus", "react to it", "react"),
        ("copy", "y", "copy it, or the selected messages", "copy"),
        ("range", "v", "select several messages"),
        ("copy_link", "o", "copy a link in it"),
        ("details", "s", "show all about it: edits, reactions, who got and read it", "details"),
        ("receipt", "w", "show what the relay learned of it"),
        ("pin", "p", "pin it for all, or take the pin away"),
        ("delete", "d", "delete it", "delete"),
        ("go_to_answered", "g", "go to the message that it answers"),
        ("oldest", "home", "go to the oldest message"),
        ("newest", "end", "go to the newest message"),
    ),
    "side": _actions(
        ("close", "escape", "close this screen", "close"),
        ("body_up", "pageup", "scroll up"),
        ("body_down", "pagedown", "scroll down"),
    ),
    "search": _actions(
        ("older_hits", "ctrl+o", "find older ones", "older"),
        ("this_room", "ctrl+r", "search this room only, or all", "this room or all"),
        ("hit_above", "up", "the message above"),
        ("hit_below", "down", "the message below"),
    ),
    "help": _actions(
        ("line_up", "up", "scroll one line up"),
        ("line_down", "down", "scroll one line down"),
    ),
    "verify": _actions(
        ("same", "alt+y", "it is the same at both: remember that", "the same"),
        ("differ", "alt+x", "it is not the same", "they differ"),
    ),
    "invite": _actions(
        ("make_link", "alt+l", "make a link to join by", "make a link"),
        ("copy", "alt+c", "copy the link", "copy"),
    ),
    "links": _actions(
        ("revoke", "d,delete", "end the link", "end it"),
        ("revoke_all", "a", "end all links", "end all"),
    ),
    "devices": _actions(
        ("add", "a", "add a device", "add one"),
        ("remove", "d,delete", "remove the device", "remove it"),
        ("make_primary", "p", "make the device the primary one", "make it primary"),
    ),
    "pairing": _actions(
        ("same", "alt+y", "both show the same words: add it", "the same"),
        ("differ", "alt+x", "they show other words: add nothing", "they differ"),
    ),
    "room code": _actions(
        ("same", "alt+y", "all of them read these words: remember that", "the same"),
    ),
}
"""The actions by where their keys count: "main" anywhere on the main screen, "side" on every other one."""


def bindings(place: str, *, by: str = "") -> list[BindingType]:
    """Return the bindings of a screen or widget, each with an id; with `by` all are done by that action.

    Those of "side" leave the program too, as from the main screen.
    """
    found: list[BindingType] = [
        Binding(
            each.keys,
            f"{by}({each.id!r})" if by else each.id,
            each.short or each.words,
            show=bool(each.short),
            id=f"{place}.{each.id}",
        )
        for each in KEYMAP[place]
    ]
    if place == "side":
        found.append(Binding("ctrl+q", "app.leave", show=False, id="main.leave"))
    return found


class Keys:
    """The keys in use: those of `KEYMAP`, with what the user has changed, by place and action."""

    def __init__(self, changed: Mapping[str, str] | None = None) -> None:
        self.changed = dict(changed or {})
        self._actions = {
            place: {key: each.id for each in actions for key in self.of(place, each.id)}
            for place, actions in KEYMAP.items()
        }

    def of(self, place: str, action: str) -> tuple[str, ...]:
        """Return the keys of an action."""
        (found,) = (each.keys for each in KEYMAP[place] if each.id == action)
        return tuple(self.changed.get(f"{place}.{action}", found).split(","))

    def action(self, place: str, key: str) -> str | None:
        """Return the action of a key in a place, None for no action."""
        return self._actions[place].get(key)

    def shown(self, place: str, action: str) -> str:
        """Return the keys of an action in words, as in "Alt-a or Ctrl-Up"."""
        return " or ".join(map(shown_key, self.of(place, action)))


_NAMES: Final = {"plus": "+", "pageup": "PageUp", "pagedown": "PageDown", "escape": "Esc"}


def shown_key(key: str) -> str:
    """Return a key in words, as in "Alt-a"."""
    *modifiers, name = key.split("+")
    last = _NAMES.get(name, name if len(name) == 1 else name.capitalize())
    return "-".join([*(each.capitalize() for each in modifiers), last])


SWITCHING: Final = frozenset(
    {"next_unread", "previous_room", "next_room", *(f"room_{number}" for number in range(1, 10))}
)
"""Actions that lead to another room: what is written stays with the one that is left."""

OPENING: Final = frozenset(
    {"palette", "help", "jump", "search", "invite", "verify", "links", "devices", "settings"}
)
"""Actions that open another screen: what is typed next is for that."""

CHANGING: Final = OPENING - {"palette", "help", "jump", "search"}
"""Those where one may change who is in the room, or what one knows of them."""

ASKING: Final = frozenset({"react", "copy_link", "details", "receipt", "delete"})
"""What is done to messages in another screen."""

AT_ONCE: Final = OPENING | {"write", "select", "find_room", "answer_last", "edit_last"}
"""Actions that change where is written: the composer has them done before what is typed next."""

_KEY: Final = re.compile(r"(?:(?:ctrl|alt|shift|super)\+)*[a-z0-9_]+")
_PRINTED: Final = re.compile(r"[a-z0-9]|[a-z]+_[a-z_]+|space|plus|minus")
"""Keys that write something where a text is written."""

_WITH_TEXT: Final = frozenset({"main", "composer", "search", "verify", "invite", "help"})
"""Places where a text is written."""


def load_keys(path: Path) -> Keys:
    """Return the keys with the changes that a file says, if there is one. Raises `UsageError`.

    An action that is in several places is named with one, as in `"messages.newest" = "end"`.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return Keys()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    changed: dict[str, str] = {}
    for name, value in raw.items():
        place, action = _named(name, path)
        changed[f"{place}.{action}"] = ",".join(_read_keys(name, value, place, path))
    keys = Keys(changed)
    for place in KEYMAP:
        _check_unique(keys, place, path)
    return keys


def _named(name: str, path: Path) -> tuple[str, str]:
    place, _, action = name.rpartition(".")
    found = [
        (where, each.id)
        for where, actions in KEYMAP.items()
        for each in actions
        if each.id == action and place in ("", where)
    ]
    if not found:
        raise UsageError(f"{path}: there is no action {name}; F1 lists the actions with their keys")
    if len(found) > 1:
        names = " or ".join(f'"{where}.{action}"' for where, _ in found)
        raise UsageError(f"{path}: say which {name}: {names}")
    return found[0]


def _read_keys(name: str, value: object, place: str, path: Path) -> Iterator[str]:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f'{path}: {name} takes keys, as in {name} = "alt+n" or "alt+n,f2"')
    for key in value.split(","):
        if not _KEY.fullmatch(key.strip()):
            raise UsageError(f"{path}: {name} = {value!r}: {key.strip()!r} is not the name of a key")
        if place in _WITH_TEXT and _PRINTED.fullmatch(key.strip()):
            raise UsageError(f"{path}: {name} = {value!r}: {key.strip()} is needed to write")
        yield key.strip()


def _also_in(place: str) -> tuple[str, ...]:
    """Return the other places whose keys count in a place."""
    if place == "composer":
        return ("main",)
    return () if place in ("main", "messages", "side") else ("side",)


def _check_unique(keys: Keys, place: str, path: Path) -> None:
    seen: dict[str, str] = {}
    for other in (place, *_also_in(place)):
        for each in KEYMAP[other]:
            for key in keys.of(other, each.id):
                if key in seen:
                    raise UsageError(f"{path}: {key} is given to both {seen[key]} and {each.id}")
                seen[key] = each.id

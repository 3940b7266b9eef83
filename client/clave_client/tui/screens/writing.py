"""What is being written on the main screen: a draft, an answer, an edit, completions. Shows no messages."""

from __future__ import annotations

from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from clave_client.errors import UsageError
from clave_client.events import MessageKind
from clave_client.rpc.values import HistoryMessage
from clave_client.tui.keymap import Keys
from clave_client.tui.messages import About, TextEdited
from clave_client.tui.talk import ScreenConversation
from clave_client.tui.widgets.completion_list import CompletionList
from clave_client.tui.widgets.composer import Composer
from clave_client.tui.widgets.message_list import MessageList
from clave_client.ui.completing import completions
from clave_client.ui.display import note
from clave_client.ui.message_lines import copied_text, short

__all__ = ["WritingScreen"]


class WritingScreen(Screen[None]):
    """The part of the main screen in which one writes. `composer.about` is what the text is about."""

    keys: Keys
    talk: ScreenConversation
    messages: MessageList
    composer: Composer
    completions: CompletionList
    banner: Static
    _switched: int
    _not_shown: str
    _put: str

    # --- the draft of a room, as `DraftLine` ---

    def text(self) -> str:
        """Return what is written and not sent."""
        return "\n".join(text for text in (self._not_shown, self.composer.kept_text) if text)

    def put_back(self, text: str) -> None:
        """Write a kept draft into the composer, once nothing else is there.

        If what is written by now is for a room that is entered next, it is kept for the one before that.
        """
        if text and (self._switched != self.composer.cuts or self.composer.text):
            self._not_shown = text
        elif text:
            self.composer.write(text)
            self._put = self.composer.text

    def answer(self, message: HistoryMessage) -> None:
        """Have what is written next answer a message."""
        self.stop_answering()
        self.composer.about = About(message, edits=False)
        self._show_banner()
        self.set_focus(self.composer)

    def edit(self, message: HistoryMessage) -> None:
        """Have the user write another text for an own message."""
        if not message.own or message.kind is not MessageKind.TEXT:
            text = f"only {message.sender.name} can edit this message"
            self.talk.show(note("there is no text of it" if message.own else text, "alarm"))
            return
        self.stop_answering()
        about = About(message, edits=True, before=self.composer.text)
        self.composer.write(message.markup or message.text)
        self.composer.about = about
        self._show_banner()
        self.set_focus(self.composer)

    def _show_banner(self) -> None:
        about = self.composer.about
        self.banner.display = about is not None
        if about is not None:
            said = short(copied_text(about.message))
            what = f"editing: {said}" if about.edits else f"answering {about.message.sender.name}: {said}"
            self.banner.update(Content(f"{what}   {self.keys.shown('main', 'write')} stops"))

    def stop_answering(self) -> None:
        """Have what is written next answer and edit nothing."""
        about, self.composer.about = self.composer.about, None
        if about is not None and about.edits:
            self.composer.write(about.before)
        self._show_banner()

    def _take_last(self, *, edits: bool) -> None:
        """Edit the last own message, or answer the last one of somebody else."""
        self.messages.flush()
        if self.messages.has_newer:
            raise UsageError(f"{self.keys.shown('main', 'newest')} goes to the newest messages first")
        message = self.messages.rows.last_message(own=edits)
        if message is None:
            raise UsageError(f"there is no message of {'yours' if edits else 'somebody else'} in sight")
        (self.edit if edits else self.answer)(message)

    # --- completion ---

    def on_text_edited(self, _: TextEdited) -> None:
        """Show what the word at the cursor could become, and what the text is about."""
        self._show_banner()
        self.completions.show(completions(self.talk, self.composer.before_cursor))

    def _choose_completion(self, key: str) -> bool:
        if key == "tab":  # what was typed just before may not be in the list yet
            self.on_text_edited(TextEdited())
        chosen = self.completions.chosen
        if chosen is None:
            return False
        match key:
            case "up":
                self.completions.action_cursor_up()
            case "down":
                self.completions.action_cursor_down()
            case _:
                self.composer.complete(chosen.text)
        return True

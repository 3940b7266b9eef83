"""The text being typed is never lost: what was sent, cleared or refused is reached by going up."""

from __future__ import annotations

from prompt_toolkit.document import Document

from clave_client.ui.terminal.draft import Draft


def above(draft: Draft) -> list[str]:
    """The texts that going up shows, newest first."""
    found = []
    while draft.working_index:
        draft.history_backward()
        found.append(draft.text)
    return found


def typed(text: str, *history: str) -> Draft:
    draft = Draft(history)
    draft.insert_text(text)
    return draft


def test_taking_the_text_clears_it_and_makes_it_the_newest_entry() -> None:
    draft = typed("new", "older", "old")
    assert draft.take() == ("new", True)
    assert draft.text == ""
    assert above(draft) == ["new", "old", "older"]


def test_a_repeated_or_blank_text_is_no_new_entry() -> None:
    draft = typed("same", "same")
    assert draft.take() == ("same", False)
    draft.insert_text("  ")
    assert draft.take() == ("  ", False)
    assert above(draft) == ["same"]


def test_what_was_typed_before_an_earlier_text_was_taken_is_kept() -> None:
    draft = typed("half done", "old")
    draft.history_backward()
    assert draft.take() == ("old", True)
    assert above(draft) == ["old", "half done", "old"]


def test_a_text_returns_to_an_empty_prompt() -> None:
    draft = typed("refused")
    draft.take()
    assert draft.put_back("refused")
    assert draft.document == Document("refused", 7)
    draft.insert_text(" again")
    assert draft.take() == ("refused again", True)


def test_a_text_is_kept_above_one_being_typed() -> None:
    draft = typed("first")
    draft.take()
    draft.insert_text("second")
    draft.take()
    draft.insert_text("typing")
    draft.cursor_position = 2
    assert not draft.put_back("first")
    assert draft.document == Document("typing", 2)
    assert above(draft) == ["first", "second", "first"]


def test_a_text_put_back_does_not_move_who_looks_at_an_earlier_one() -> None:
    draft = typed("typing", "older", "old")
    draft.history_backward(2)
    assert not draft.put_back("refused")
    assert draft.text == "older"
    draft.history_forward(2)
    assert draft.text == "refused"
    draft.history_forward()
    assert draft.text == "typing"


def test_line_ends_of_a_paste_are_newlines_but_at_its_end() -> None:
    draft = typed("<")
    draft.paste("a\r\nb\rc\n\nd\n\r\n")
    assert draft.text == "<a\nb\nc\n\nd"


def test_a_start_is_replaced_though_the_text_has_grown() -> None:
    draft = typed("/fi friends")
    assert draft.replace_start("/fi", "/find")
    assert draft.document == Document("/find friends", 13)
    assert not draft.replace_start("/fi friends", "")
    draft.cursor_position = 1
    assert not draft.replace_start("/find", "")

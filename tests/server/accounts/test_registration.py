"""Who may register: registrations use up tokens, and each address registers a limited number of names."""

from __future__ import annotations

from pathlib import Path

from clave_server.accounts.registration import RegistrationPolicy
from clave_server.accounts.tokens import token_digest
from clave_server.admin.request_handler import AdminHandler
from clave_server.admin.requests import ListTokens, MakeToken
from clave_server.option_values import RegistrationMode
from clave_wire import messages as m
from relaykit import ConnectionClosed, Participant, RelayUnderTest, running_relay


async def refusal(relay: RelayUnderTest, participant: Participant, token: str = "") -> m.Closing | None:
    try:
        await relay.join(participant, token)
    except ConnectionClosed as closed:
        return closed.closing
    return None


async def test_one_address_registers_a_limited_number_of_names_per_hour(tmp_path: Path) -> None:
    async with running_relay(
        tmp_path, registration=RegistrationPolicy(RegistrationMode.OPEN, new_names=2)
    ) as relay:
        red = Participant("red")
        await relay.join(red)
        await relay.join("blue")
        closing = await refusal(relay, Participant("green"))
        assert closing is not None
        assert (closing.code, "30 minutes" in closing.text) == (m.Code.LIMIT, True)
        await relay.join(red)
        await relay.join(Participant("red", red.account))  # another device registers no name
        assert relay.relay.context.counters.registrations == 2
        assert relay.relay.context.counters.logins == 4
        assert relay.relay.context.counters.logins_refused == {m.Code.LIMIT: 1}


async def test_a_refused_name_counts_against_the_rate_but_uses_no_token(tmp_path: Path) -> None:
    async with running_relay(tmp_path, registration=RegistrationPolicy(RegistrationMode.TOKEN)) as relay:
        handler = AdminHandler(relay.relay, relay.data_dir)
        await handler.handle(MakeToken(token_digest("made"), "", None, 2))
        await relay.join("red", "made")
        closing = await refusal(relay, Participant("red"), "made")
        assert closing is not None
        assert closing.code is m.Code.NAME_TAKEN
        await relay.join("blue", "made")
        closing = await refusal(relay, Participant("green"), "made")
        assert closing is not None
        assert closing.code is m.Code.TOKEN
        answer = await handler.handle(ListTokens())
        assert isinstance(answer, list)
        assert [token.uses_left for token in answer] == [0]


async def test_tokens_from_a_file_and_made_tokens_both_register(tmp_path: Path) -> None:
    async with running_relay(
        tmp_path, registration=RegistrationPolicy(RegistrationMode.TOKEN, "sesame")
    ) as relay:
        await AdminHandler(relay.relay, relay.data_dir).handle(MakeToken(token_digest("made"), "", None, 1))
        assert await refusal(relay, Participant("red"), "sesame") is None
        assert await refusal(relay, Participant("blue"), "made") is None
        assert await refusal(relay, Participant("green"), "made") is not None
        assert await refusal(relay, Participant("green")) is not None

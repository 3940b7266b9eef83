"""One connection's conversation: logs the device in, answers about the directory, passes room messages on.

Knows no bytes, no sockets and no SQL; what it needs of the relay is in `RelayContext`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

import structlog

from clave_server.accounts import directory
from clave_server.accounts.directory import Applicant, Enrolment
from clave_server.accounts.registration import ConnectionLimits, RegistrationPolicy, verify_login
from clave_server.errors import Refusal, ServerError
from clave_server.limits.quotas import QuotaTracker
from clave_server.limits.token_buckets import TokenBuckets
from clave_server.net.transport import ClientTransport
from clave_server.observe.counters import Counters
from clave_server.observe.mirror import ConnectionRecord, Mirror
from clave_server.rooms.catchup import InvitationFeed
from clave_server.rooms.invitations import take_invitation
from clave_server.rooms.sequencer import Sequencer
from clave_server.rooms.session import MAX_STREAMS, Session
from clave_server.rooms.write_batch import RoomMessage, Step
from clave_server.storage.db_thread import DbThread
from clave_wire.messages import (
    Account,
    ClaimKeyPackages,
    Code,
    CreateRoom,
    Done,
    Goodbye,
    KeyPackages,
    LoggedIn,
    Login,
    Lookup,
    Mend,
    NextCertificate,
    PublishKeyPackages,
    Refused,
    Resume,
    Submit,
    TakeInvitation,
    ToClient,
    ToRelay,
)

__all__ = ["ClientHandler", "RelayContext"]

_ROOM_MESSAGES: Final = frozenset({CreateRoom, Submit, Mend})
_WORKING: Final = 4
"""Requests to the directory that one connection has in work at a time."""

_BYTES_AS_A_REQUEST: Final = 4096
"""So many bytes count as one more request."""

_DirectoryRequest = Lookup | PublishKeyPackages | ClaimKeyPackages | TakeInvitation
_log = structlog.get_logger()


@dataclass(frozen=True)
class RelayContext:
    """What all visits share; `sessions` has who is logged in, by device.

    `incarnation` is another one after the relay was restored from a backup.
    """

    admission: RegistrationPolicy
    limits: ConnectionLimits
    reader: DbThread
    sequencer: Sequencer
    sessions: dict[bytes, Session]
    mirror: Mirror
    counters: Counters
    quotas: QuotaTracker
    rates: TokenBuckets[bytes] | None
    incarnation: bytes

    def pace(self, session: Session, messages: Sequence[ToRelay], size: int) -> float:
        """Count what an account asks; return the seconds that it has to wait before it is acted on."""
        if self.rates is None:
            return 0.0
        amount = len(messages) + size / _BYTES_AS_A_REQUEST
        wait = self.rates.take(session.usage.account, time.monotonic(), amount)
        self.counters.rate_refusals += wait > 0
        return wait


class ClientHandler:
    """The `transport.Client` of one connection; `announcement` is of the next certificate, if any."""

    def __init__(self, context: RelayContext, announcement: Callable[[], NextCertificate | None]) -> None:
        self._context = context
        self._announcement = announcement
        self._transport: ClientTransport
        self._session: Session | None = None
        self._feed: InvitationFeed | None = None
        self._delayed: asyncio.TimerHandle | None = None
        self._requests: deque[tuple[_DirectoryRequest, int]] = deque()
        self._working = 0
        self._inside = False
        self._over = False

    # --- called by the transport ---------------------------------------------------------------------------

    def connected(self, transport: ClientTransport) -> None:
        """Let the connection in, or tell it why not."""
        self._transport = transport
        try:
            self._context.limits.enter(transport.ip)
            self._inside = True
            self._context.counters.connections_accepted += 1
        except Refusal as refusal:
            self._context.counters.connections_refused[refusal.code] += 1
            transport.close(refusal.code, str(refusal), f"not let in: {refusal}")

    def received(self, messages: Sequence[ToRelay], size: int) -> None:
        """Act on what came, in order."""
        session = self._session
        if session is None:
            for message in messages:
                if isinstance(message, Login):
                    self._log_in(message)
            return
        if wait := self._context.pace(session, messages, size):
            self._transport.hold_reading(True)
            self._transport.keep(size)
            loop = asyncio.get_running_loop()
            self._delayed = loop.call_later(wait, self._go_on, messages, size)
        else:
            self._act(session, messages, size)

    def _go_on(self, messages: Sequence[ToRelay], size: int) -> None:
        """Act on what came too fast, and read on."""
        self._delayed = None
        self._transport.keep(0)
        self._transport.hold_reading(False)
        self.received(messages, size)

    def _act(self, session: Session, messages: Sequence[ToRelay], size: int) -> None:
        if set(map(type, messages)) <= _ROOM_MESSAGES:
            self._context.sequencer.post(session, cast(Sequence[RoomMessage], messages), size)
        else:
            share = size // len(messages)
            for message in messages:
                self._answer(session, message, share)

    def _answer(self, session: Session, message: ToRelay, size: int) -> None:
        if isinstance(message, CreateRoom | Submit | Mend):
            self._context.sequencer.post(session, (message,), size)
        elif isinstance(message, Resume):
            if message.room in session.streams or len(session.streams) < MAX_STREAMS:
                self._context.sequencer.resume(session, message, size)
            else:
                text = f"a connection opens at most {MAX_STREAMS} rooms"
                self._refuse(message.id, Refusal(Code.LIMIT, text))
        elif isinstance(message, _DirectoryRequest):
            session.begin(1, size)
            self._requests.append((message, size))
            self._work()
        elif isinstance(message, Goodbye):
            self._transport.say_goodbye()

    def writable(self) -> None:
        """Go on with what waited for the network."""
        if self._session is not None and self._feed is not None:
            self._context.sequencer.catch_up.advance(self._session)
            self._feed.advance()
            self._work()

    def ended(self, how: str) -> None:
        """Close the session and make room for others."""
        self._over = True
        if self._delayed is not None:
            self._delayed.cancel()
        self._requests.clear()
        if self._inside:
            self._context.limits.leave(self._transport.ip)
        session = self._session
        if session is None:
            _log.info("connection ended before login", address=self._transport.address, reason=how)
            return
        session.over = True
        if self._context.sessions.get(session.device) is session:
            del self._context.sessions[session.device]
        self._context.sequencer.end(session, how)
        self._context.quotas.leave(session.usage)
        self._context.mirror.show_connection(ConnectionRecord(session.name, session.address, how))

    # --- login ---------------------------------------------------------------------------------------------

    def _log_in(self, login: Login) -> None:
        transcript = self._transport.connection.transcript(self._transport.certificate, login.identity)
        try:
            applicant = verify_login(login, transcript)
            self._context.limits.bans.judge_name(applicant.name)
        except Refusal as refusal:
            self._close(refusal)
            return
        find = partial(directory.find_device, applicant=applicant)
        self._context.reader.do(find, partial(self._found, login, applicant))

    def _found(self, login: Login, applicant: Applicant, outcome: Enrolment | ServerError | None) -> None:
        if outcome is None:
            permit = partial(
                self._context.admission.permit, login=login, name=applicant.name, ip=self._transport.ip
            )
            enrol: Step = partial(directory.enrol, applicant=applicant, permit=permit)
            self._context.sequencer.write(enrol, partial(self._enrolled, applicant))
        else:
            self._enrolled(applicant, outcome)

    def _enrolled(self, applicant: Applicant, outcome: Enrolment | ServerError) -> None:
        if self._over:
            return
        try:
            if isinstance(outcome, ServerError):
                raise outcome
            self._context.limits.bans.judge_name(applicant.name)  # banned while the disk was asked, maybe
        except ServerError as error:
            self._close(error)
            return
        former = self._context.sessions.get(applicant.device)
        if former is not None:
            former.give_way()
        transport = self._transport
        session = Session(
            applicant.device,
            self._context.quotas.enter(applicant.account, outcome.rooms, outcome.stored),
            applicant.name,
            transport.address,
            transport.send_queue,
            transport.hold_reading,
            self._notice_invitation,
            self._give_way,
        )
        self._session = session
        self._context.counters.logins += 1
        self._context.counters.registrations += outcome.registered
        self._context.sessions[session.device] = session
        transport.logged_in(
            LoggedIn(
                session.name,
                outcome.registered,
                outcome.key_packages,
                transport.spread,
                self._context.incarnation,
                outcome.published,
            )
        )
        self._context.mirror.show_connection(
            ConnectionRecord(session.name, session.address, "registered" if outcome.registered else "arrived")
        )
        announcement = self._announcement()
        if announcement is not None:
            session.send(announcement)
        self._feed = InvitationFeed(self._context.reader, session)
        self._feed.advance()

    def _notice_invitation(self) -> None:
        if self._feed is not None:
            self._feed.notice()

    def _give_way(self) -> None:
        self._transport.close(Code.REPLACED, "this device connected again from elsewhere", "connected again")

    def _close(self, error: ServerError) -> None:
        code = _code_of(error)
        self._context.counters.logins_refused[code] += 1
        self._transport.close(code, str(error), f"login refused: {error}")

    # --- directory ------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Begin on what was asked of the directory: a few at a time, as answers are larger than questions."""
        session = self._session
        while (
            session is not None
            and self._requests
            and self._working < _WORKING
            and session.send_queue.writable
        ):
            request, size = self._requests.popleft()
            self._working += 1
            self._begin(session, request, size)

    def _begin(self, session: Session, request: _DirectoryRequest, size: int) -> None:
        sequencer, answered = self._context.sequencer, partial(self._answered, request, size)
        if isinstance(request, Lookup):
            look_up = partial(directory.look_up, name=request.name)
            self._context.reader.do(look_up, partial(answered, partial(Account, request.id)))
        elif isinstance(request, PublishKeyPackages):
            publish = partial(
                directory.publish_key_packages,
                device=session.device,
                suite=request.suite,
                packages=request.packages,
                last_resort=request.last_resort,
                replace=request.replace,
            )
            sequencer.write(publish, partial(answered, lambda _: Done(request.id)))
        elif isinstance(request, ClaimKeyPackages):
            claim = partial(directory.claim_key_packages, name=request.name, suite=request.suite)
            sequencer.write(claim, partial(answered, partial(KeyPackages, request.id)))
        else:
            take = partial(take_invitation, device=session.device, invitation=request.invitation)
            sequencer.write(take, partial(self._taken, partial(answered, lambda _: Done(request.id))))

    def _taken(self, answered: Callable[[Any], None], outcome: Counter[bytes] | ServerError) -> None:
        """Count the welcome of an invitation that was taken as gone."""
        if not isinstance(outcome, ServerError):
            self._context.quotas.release(outcome)
        answered(outcome)

    def _answered(
        self, request: _DirectoryRequest, size: int, reply: Callable[[Any], ToClient], outcome: Any
    ) -> None:
        self._working -= 1
        session = self._session
        if session is None or session.over:
            return
        session.finish(1, size)
        if isinstance(outcome, ServerError):
            self._refuse(request.id, outcome)
        else:
            session.send(reply(outcome))
        self._work()

    def _refuse(self, request: int, error: ServerError) -> None:
        if self._session is not None:
            self._session.send(Refused(request, _code_of(error), str(error)))


def _code_of(error: ServerError) -> Code:
    """Return what to tell the client; what is not its own fault is told the operator too."""
    if isinstance(error, Refusal):
        return error.code
    _log.error("the directory cannot be read", reason=str(error))
    return Code.STORAGE

"""Who we are to the broker: what the URL says, or what a command prints, which is run again before that expires.

The command (``TTG_CREDENTIALS_COMMAND``) and what it may print is :mod:`ttg.brokers.credentials_command`, which is not
imported where there is none. What it prints is kept in memory only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from math import inf
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from ttg.brokers.base import BrokerConfig
from ttg.clock import loop_time
from ttg.errors import BrokerRefused, BrokerUnavailable

RENEWED_AT = 0.8
"""Of the time that an answer is good for, the share after which the next one is asked for."""

RETRY_SECONDS = 5.0

log = logging.getLogger("ttg.broker")

T = TypeVar("T")


class Login:
    """User and password of one answer; the same text may be another answer's."""

    __slots__ = ("password", "user")

    def __init__(self, user: str = "", password: str = "") -> None:
        self.user, self.password = user, password

    def __repr__(self) -> str:
        return f"Login({self.user!r})"


class Credentials:
    """Of one client, for all of its connections. ``processes`` has the ids of commands that run; ``on_renewed`` is told
    of a login that takes the place of another: connections that live on are to use it."""

    def __init__(self, config: BrokerConfig, processes: set[int] | None = None) -> None:
        parts = urlsplit(config.url)
        self._in_url = Login(unquote(parts.username or ""), unquote(parts.password or ""))
        self._command = "" if parts.scheme == "unix" else config.credentials_command
        self._login = None if self._command else self._in_url
        self._expires = inf
        self._asking: asyncio.Task[Login] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._was_accepted = self._is_failing = False
        self._processes = set() if processes is None else processes
        self.on_renewed: Callable[[Login], None] = lambda _login: None

    def is_old(self, login: Login | None) -> bool:
        """Whether a connection that was opened with ``login`` should log in again."""
        return bool(self._command) and login is not None and login is not self._login

    async def current(self) -> Login:
        """The login to use now. Raises ``BrokerError`` when the command fails: ``BrokerUnavailable`` once a login of
        it was accepted, ``BrokerRefused`` before."""
        if self._login is None or loop_time() >= self._expires:
            return await asyncio.shield(self._ask())
        return self._login

    async def logged_in(self, attempt: Callable[[Login], Awaitable[T]], refused: type[Exception]) -> T:
        """``attempt`` with the current login; once more with a new one if it raises ``refused``, where there is a
        command to ask. That is final then."""
        login = await self.current()
        try:
            result = await attempt(login)
        except refused:
            if not self._command:
                raise
            result = await attempt(await self._other_than(login))
        self._was_accepted = True
        return result

    def close(self) -> None:
        """Ask no more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
        if self._asking is not None:
            self._asking.cancel()

    async def _other_than(self, refused: Login) -> Login:
        """Somebody else may have asked meanwhile."""
        if self._login is not None and self._login is not refused:
            return self._login
        return await asyncio.shield(self._ask())

    def _ask(self) -> asyncio.Task[Login]:
        """One question at a time, whoever waits for the answer."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._answer())
            self._asking.add_done_callback(self._on_answered)
        return self._asking

    async def _answer(self) -> Login:
        from ttg.brokers.credentials_command import CredentialsCommand

        asked_at, command = loop_time(), CredentialsCommand(self._command, self._processes)
        try:
            answer = await command.answer()
        except (OSError, ValueError) as error:
            kind = BrokerUnavailable if self._was_accepted else BrokerRefused
            raise kind(f"{command} {error}") from None
        before, self._login = self._login, Login(answer.username or self._in_url.user, answer.password)
        self._expires, self._is_failing = asked_at + answer.expires_in, False
        self._renew_after(answer.expires_in * RENEWED_AT)
        if before is not None:
            self.on_renewed(self._login)
        return self._login

    def _on_answered(self, asked: asyncio.Task[Login]) -> None:
        """An answer that will be missed later is tried for again, whoever is told now that there is none."""
        if asked.cancelled() or not (error := asked.exception()) or self._login is None:
            return
        if not self._is_failing:
            self._is_failing = True
            log.warning("%s: tried again every %.0f s", error, RETRY_SECONDS)
        self._renew_after(RETRY_SECONDS)

    def _renew_after(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._ask) if seconds < inf else None

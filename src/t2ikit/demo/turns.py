"""One request is sampled at a time; the others wait in order, and no more than a limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator


class Full(Exception):
    """As many requests wait as may."""


class Turns:
    """Who is sampled now and who waits.

    Args:
        most: requests that may wait besides the one that is sampled.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._order: list[object] = []
        self._changed = asyncio.Condition()

    async def wait(self, me: object) -> AsyncIterator[int]:
        """How many are before `me`, at once and whenever it changes, until it is `me`'s turn.

        Whoever has waited, or has given up waiting, must `leave`.

        Raises:
            Full: too many wait already.
        """
        if len(self._order) > self.most:
            raise Full
        self._order.append(me)
        while ahead := self._order.index(me):
            yield ahead
            async with self._changed:
                await self._changed.wait_for(lambda: self._order.index(me) != ahead)

    async def leave(self, me: object) -> None:
        """It is done, or has given up: the next may begin."""
        if me in self._order:
            self._order.remove(me)
        async with self._changed:
            self._changed.notify_all()

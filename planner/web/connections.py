"""How a connection to the page ends: a client that asks nothing, or does not take its answer, is not waited for."""

from __future__ import annotations

import asyncio
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE_S = 10.0  # a connection on which nothing has moved is closed after one to two of these


_WAITS = object()  # no request


class Patient(H11Protocol):
    """HTTP/1.1 of uvicorn, which bounds the pause between two requests but neither that before the first one nor the reading of an answer."""

    _seen: object = None
    _watch: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to watch."""
        super().connection_made(cast("asyncio.Transport", transport))
        self._watch = self.loop.call_later(PATIENCE_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        self._watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Close where the request is the same as a while ago, and is not one that waits for its turn; who waited has as long from the answer on."""
        waits = self.cycle is not None and not self.cycle.response_started
        if self.cycle is self._seen and not waits:
            self.transport.abort()
            return
        self._seen = _WAITS if waits else self.cycle
        self._watch = self.loop.call_later(PATIENCE_S, self._look)

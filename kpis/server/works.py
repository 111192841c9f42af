"""Computations for requests: in threads of their own, few at once, none waited for without end."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pydantic import TypeAdapter
from starlette.responses import Response

from kpis.server.errors import ApiError
from kpis.server.guard import busy

AT_ONCE = 2
WAITING = 16
LONGEST_S = 60.0
"""A request is answered within this time, with its figures or without [s]."""

_PART = 500

T = TypeVar("T")


class Works:
    """Takes work off the thread that answers requests."""

    def __init__(self, *, at_once: int = AT_ONCE, waiting: int = WAITING, longest_s: float = LONGEST_S) -> None:
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="figures")
        self._most, self._longest_s, self._now = at_once + waiting, longest_s, 0

    async def do(self, work: Callable[[], T]) -> T:
        """Return what `work` does; raises ApiError where too much waits, or it takes too long.

        What takes too long goes on to its end, and keeps its thread until then.
        """
        if self._now >= self._most:
            raise busy("as many computations wait as may", 10)
        self._now += 1
        loop, future = asyncio.get_running_loop(), self._pool.submit(work)
        future.add_done_callback(lambda _: _told(loop, self._done))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._longest_s)
        except TimeoutError:
            if future.done() and not future.cancelled():
                raise  # the work's own
            step = "ask for a shorter period or fewer assets, or have a package built as a job"
            raise ApiError(422, "took_too_long", f"it takes more than {self._longest_s:g} s", step) from None

    async def answer(self, model: TypeAdapter[Any], work: Callable[[], Any]) -> Response:
        """Return what `work` does as JSON that holds to a model."""
        return Response(await self.do(lambda: to_json(model, work())), media_type="application/json")

    def stop(self) -> None:
        """Take no more work; what runs goes on to its end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _done(self) -> None:
        self._now -= 1


def to_json(model: TypeAdapter[Any], data: Any) -> bytes:
    """Return data that holds to a model as JSON; raises ValidationError where it does not."""
    if not isinstance(data, list):
        return model.dump_json(model.validate_python(data))
    # Part by part: no other thread runs meanwhile, and one of them answers /health.
    parts = (model.validate_python(data[n : n + _PART]) for n in range(0, len(data), _PART))
    return b"[%s]" % b",".join(model.dump_json(part)[1:-1] for part in parts)


def _told(loop: asyncio.AbstractEventLoop, done: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(done)

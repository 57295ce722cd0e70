"""Waiting for a server without being at its mercy: a coroutine is run to its end, or ended from outside.

A blocking read cannot be ended from outside; a cancelled coroutine closes its connection at once, so that the server
stops working too. Callers stay synchronous.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_TICK_SECONDS = 0.1
_CLOSING_SECONDS = 0.5


def run_watched(work: Coroutine[Any, Any, T], check: Callable[[], None]) -> T:
    """The result of `work`. `check` is called ten times a second; what it raises ends the work and is raised here."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(_followed(work, check))
    finally:
        _close(loop)


async def _followed(work: Coroutine[Any, Any, T], check: Callable[[], None]) -> T:
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.wait({task}, timeout=_TICK_SECONDS)
        if not task.done():
            check()
    return task.result()


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left, and close. A host name's look-up, which may take half a minute, is not waited for."""
    try:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=_CLOSING_SECONDS))
        for task in left:
            if task.done() and not task.cancelled():
                task.exception()  # looked at, or asyncio complains that nobody did
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()

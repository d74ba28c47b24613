"""Shares: many requests about one model leave threads to the requests about others."""

import asyncio
from types import SimpleNamespace
from typing import Any

from api.http.shares import PER_SUBJECT, Shares, in_turns


async def held(shares: Shares, subject: str, running: list[str], free: asyncio.Event) -> None:
    async for _ in shares.hold(subject):
        running.append(subject)
        await free.wait()


def test_a_models_requests_wait_for_each_other_and_not_another_models() -> None:
    async def run() -> list[str]:
        shares, running, free = Shares(), list[str](), asyncio.Event()
        asked = [asyncio.create_task(held(shares, "busy", running, free)) for _ in range(50)]
        await asyncio.sleep(0)
        asked.append(asyncio.create_task(held(shares, "other", running, free)))
        for _ in range(10):
            await asyncio.sleep(0)
        before = list(running)
        free.set()
        await asyncio.gather(*asked)
        assert len(running) == 51
        assert not shares._running  # nothing is kept of who is gone
        return before

    assert sorted(asyncio.run(run())) == ["busy"] * PER_SUBJECT + ["other"]


def test_a_stream_comes_part_by_part_and_is_closed() -> None:
    closed = list[bool]()

    def parts() -> Any:
        try:
            yield from (b"a", b"b", b"c")
        finally:
            closed.append(True)

    async def run(most: int) -> list[bytes]:
        request: Any = SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(shares=Shares())))
        found, stream = [], in_turns(request, parts())
        async for part in stream:
            found.append(part)
            if len(found) == most:
                break
        await stream.aclose()  # type: ignore[attr-defined]  # a generator
        return found

    assert asyncio.run(run(3)) == [b"a", b"b", b"c"]
    assert asyncio.run(run(1)) == [b"a"]
    assert closed == [True, True]

"""Streams of a real process."""

import time

import httpx2

from tests.service import Service


def test_an_open_stream_does_not_hold_up_the_end_of_the_service(server: Service) -> None:
    headers = {"Authorization": f"Bearer {server.admin_key}"}
    with httpx2.stream("GET", f"{server.url}/live?on=alerts", headers=headers, timeout=60) as answer:
        lines = answer.iter_lines()
        assert next(line for line in lines if line.startswith("data"))
        began = time.monotonic()
        server.stop()
        assert not any(line.startswith("event") for line in lines)
    assert time.monotonic() - began < 9  # the server waits 10 s for an answer that does not end

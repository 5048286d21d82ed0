"""A client that reads slowly, or not at all, has its answer's tokens held for it and nothing more: no events are made ahead of it."""

import asyncio
import gc
import json
import time
import tracemalloc

from apps.server import sse
from apps.server.app import create
from apps.server.settings import Settings

TOKENS, READERS = 900, 8
BODY = {"model": "starter", "messages": [{"role": "user", "content": "What colour is the sky?"}], "temperature": 0, "max_tokens": TOKENS,
        "ignore_eos": True, "stream": True}  # fmt: skip


async def read(app, body, begun, go_on):
    """Return what a client gets that stops reading after the first event until `go_on` is set."""
    got, asked = bytearray(), False

    async def receive():
        nonlocal asked
        if asked:
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    async def send(message):
        got.extend(message.get("body", b""))
        if message.get("body"):
            begun.set()
            await go_on.wait()

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/v1/chat/completions", "raw_path": b"", "root_path": "", "query_string": b"", "client": None, "server": None,
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")], "state": {},
    }  # fmt: skip
    await app(scope, receive, send)
    return bytes(got)


def test_a_reader_that_stops_has_little_held_for_it_and_loses_nothing(server_home, monkeypatch):
    made = []
    event = sse.event
    monkeypatch.setattr(sse, "event", lambda *given: made.append(1) or event(*given))

    async def main():
        app = create(Settings(jobs=False))
        free = asyncio.Event()
        free.set()
        whole = await read(app, BODY, asyncio.Event(), free)
        state = app.state.server
        (model,) = state.warm.chats()
        gc.collect()
        made.clear()
        tracemalloc.start()
        before, go_on = tracemalloc.get_traced_memory()[0], asyncio.Event()
        begun = [asyncio.Event() for _ in range(READERS)]
        readers = [asyncio.create_task(read(app, BODY, each, go_on)) for each in begun]
        for each in begun:
            await each.wait()
        end = time.monotonic() + 60
        while model.engine.stats()["running"]:  # the rows end at their own pace, and are free for others
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        held, events = tracemalloc.get_traced_memory()[0] - before, len(made)
        tracemalloc.stop()
        go_on.set()
        answers = await asyncio.gather(*readers)
        return whole, answers, held, events

    whole, answers, held, events = asyncio.run(main())
    assert events <= 2 * READERS, events
    assert held < READERS * TOKENS * 1500, held  # a token with what is said of it
    assert {text(each) for each in answers} == {text(whole)} and len(text(whole)) > TOKENS / 2


def text(body):
    rows = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: {")]
    return "".join(choice["delta"].get("content") or "" for row in rows for choice in row["choices"])

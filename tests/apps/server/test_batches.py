"""/v1/batches and /v1/uploads through the official client; a batch whose server is killed goes on where it was."""

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import httpx
import openai
import pytest

from apps.server import uploads
from apps.server.batches import queue, work
from apps.server.database import Database
from tests.apps.server import live
from tests.apps.server.conftest import roomy

ASK = [{"role": "user", "content": "What colour is the sky?"}]


@pytest.fixture(scope="module")
def running(server_home):
    with live.serving(jobs=True, max_batch=4, max_waiting=0) as (url, _):
        yield live.client(url)


def line(name, url="/v1/chat/completions", **body):
    given = body or {"model": "starter", "messages": ASK, "max_tokens": 5, "temperature": 0}
    return {"custom_id": name, "method": "POST", "url": url, "body": given}


def upload(client, rows, purpose="batch"):
    body = b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)
    return client.files.create(file=("b.jsonl", body), purpose=purpose).id


def start(client, rows, endpoint="/v1/chat/completions", **given):
    return client.batches.create(
        input_file_id=upload(client, rows), endpoint=endpoint, completion_window="24h", **given
    )


def ended(client, batch, seconds=200):
    end = time.monotonic() + seconds
    while (found := client.batches.retrieve(batch.id)).status not in queue.ENDED:
        assert time.monotonic() < end, found
        time.sleep(0.1)
    return found


def rows_of(client, file_id):
    return [json.loads(row) for row in client.files.content(file_id).text.splitlines()]


def test_a_batch_answers_as_the_endpoint_does_and_tells_what_failed(running):
    rows = [line(f"r{n}") for n in range(6)] + [line("bad", model="nobody", messages=ASK)]
    batch = start(running, rows, metadata={"k": "v"}, output_expires_after={"anchor": "created_at", "seconds": 3600})
    assert batch.status in ("validating", "in_progress") and batch.metadata == {"k": "v"}
    with pytest.raises(openai.BadRequestError, match="batch"):
        running.files.delete(batch.input_file_id)
    done = ended(running, batch)
    assert done.status == "completed" and done.to_dict()["request_counts"] == {"total": 7, "completed": 6, "failed": 1}
    assert done.in_progress_at <= done.finalizing_at <= done.completed_at
    answers = rows_of(running, done.output_file_id)
    expected = running.chat.completions.create(model="starter", messages=ASK, max_tokens=5, temperature=0)
    assert [row["custom_id"] for row in answers] == [f"r{n}" for n in range(6)]
    assert {row["response"]["body"]["choices"][0]["message"]["content"] for row in answers} == {
        expected.choices[0].message.content
    }
    (failed,) = rows_of(running, done.error_file_id)
    assert failed["response"]["status_code"] == 404 and failed["response"]["body"]["error"]["code"] == "model_not_found"
    assert running.files.retrieve(done.output_file_id).expires_at and running.files.delete(batch.input_file_id).deleted
    assert next(each.id for each in running.batches.list(limit=1)) == batch.id


@pytest.mark.parametrize(("endpoint", "body"), [
    ("/v1/completions", {"model": "starter", "prompt": "sky", "max_tokens": 2}), ("/v1/responses", {"model": "starter", "input": "x", "max_output_tokens": 2}),
    ("/v1/embeddings", {"model": "all-MiniLM-L6-v2", "input": "x"}),
])  # fmt: skip
def test_every_endpoint_is_asked(running, endpoint, body):
    done = ended(running, start(running, [line("a", endpoint, **body)], endpoint))
    assert done.status == "completed" and done.error_file_id is None
    assert rows_of(running, done.output_file_id)[0]["response"]["status_code"] == 200


def test_a_file_that_is_no_batch_fails_by_line(running):
    rows = [
        line("a"),
        b"{",
        line("a"),
        line("b", "/v1/embeddings"),
        {**line("c"), "method": "GET"},
        b"",
        {**line("d"), "body": []},
        b'{"custom_id": 1}',
    ]
    done = ended(running, start(running, rows))
    assert done.status == "failed" and done.output_file_id is None
    assert [(error.line, error.code) for error in done.errors.data] == [
        (2, "invalid_json_line"), (3, "duplicate_custom_id"), (4, "mismatched_endpoint"), (5, "invalid_method"), (7, "invalid_body"),
        (8, "missing_required_parameter"),
    ]  # fmt: skip
    assert ended(running, start(running, [])).errors.data[0].code == "empty_file"


def test_a_cancelled_batch_keeps_what_was_answered(running):
    batch = start(running, [line(f"r{n}") for n in range(400)])
    while not running.batches.retrieve(batch.id).request_counts.completed:
        time.sleep(0.05)
    running.batches.cancel(batch.id)
    done = ended(running, batch)
    counts = done.request_counts
    assert done.status == "cancelled" and 0 < counts.completed < 400 == counts.total
    assert len(rows_of(running, done.output_file_id)) == counts.completed
    with pytest.raises(openai.BadRequestError):
        running.batches.cancel(batch.id)


def test_what_is_too_late_is_told_to_be(running, monkeypatch):
    monkeypatch.setattr(queue, "WINDOW_S", 0)
    done = ended(running, start(running, [line("a")]))
    assert done.status == "expired" and rows_of(running, done.error_file_id)[0]["error"]["code"] == "batch_expired"


def test_a_batch_is_its_owners_and_asks_under_its_name(server_home):
    from apps.server import keys
    from tests.apps.server.test_keys import roomy_of

    with live.serving(jobs=True, require_key=True) as (url, app):
        made = [keys.create(app.state.server.db, name)[1] for name in "ab"]
        one, other = (live.client(url, key) for key in made)
        name = roomy_of("ft:starter:local:batch:1", made[0])
        for client, status in ((one, 200), (other, 404)):
            done = ended(client, start(client, [line("a", model=name, messages=ASK, max_tokens=1)]))
            assert rows_of(client, done.output_file_id or done.error_file_id)[0]["response"]["status_code"] == status
        for call in (one.batches.retrieve, one.batches.cancel):
            with pytest.raises(openai.NotFoundError):
                call(done.id)


SERVE = "from apps.cli import main; import sys; sys.exit(main(sys.argv[1:]))"


def serve(port):
    child = subprocess.Popen([sys.executable, "-c", SERVE, "serve", "--port", str(port)], stdout=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                return child
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the server did not start")


def test_a_batch_goes_on_after_its_server_was_killed(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAINTUNE_HOME", str(tmp_path))  # where no other server takes the batch over
    roomy()
    port = live.free_port()
    client = live.client(f"http://127.0.0.1:{port}")
    child = serve(port)
    try:
        batch = start(client, [line(f"r{n}") for n in range(200)])
        while client.batches.retrieve(batch.id).request_counts.completed < 20:
            time.sleep(0.02)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        known = {
            row["result"] for row in Database().rows("SELECT result FROM batch_results WHERE batch = ?", (batch.id,))
        }
        assert 20 <= len(known) < 200
        child = serve(port)
        done = ended(client, batch)
        answers = client.files.content(done.output_file_id).text.splitlines()
        assert done.status == "completed" and len(answers) == 200 and known <= set(answers)
        told = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        asked = re.search(r'chaintune_requests_total{route="/v1/chat/completions",status="200"} (\S+)', told)
        assert float(asked[1]) == 200 - len(known)  # what was known is not asked again
    finally:
        child.kill()
        child.wait()


def test_work_that_breaks_fails_the_batch_and_the_next_one_runs(running, monkeypatch):
    monkeypatch.setattr(work.check, "checked", lambda *given: 1 / 0)
    assert ended(running, start(running, [line("a")])).errors.data[0].code == "server_error"
    monkeypatch.undo()
    assert ended(running, start(running, [line("a")])).status == "completed"


WHOLE = b'{"a": 1}\n' * 1000


def test_a_file_in_parts_is_the_file(running):
    made = running.uploads.upload_file_chunked(
        file=WHOLE, filename="t.jsonl", bytes=len(WHOLE), mime_type="application/jsonl", purpose="fine-tune", part_size=4000,
        md5=hashlib.md5(WHOLE).hexdigest(),
    )  # fmt: skip
    assert made.status == "completed" and made.file.purpose == "fine-tune"
    assert running.files.content(made.file.id).read() == WHOLE
    assert not Database().rows("SELECT id FROM parts WHERE upload = ?", (made.id,))


def parts_of(client, pieces, size=None, **given):
    size = sum(map(len, pieces)) if size is None else size
    upload = client.uploads.create(
        **{"bytes": size, "filename": "x", "mime_type": "text/plain", "purpose": "user_data", **given}
    )
    return upload, [client.uploads.parts.create(upload.id, data=io.BytesIO(piece)).id for piece in pieces]


def test_parts_are_joined_in_the_order_given_and_asking_twice_makes_one_file(running):
    upload, (one, other) = parts_of(running, [b"ab", b"cd"])
    first = running.uploads.complete(upload.id, part_ids=[other, one])
    assert running.files.content(first.file.id).read() == b"cdab"
    assert running.uploads.complete(upload.id, part_ids=[other, one]).file.id == first.file.id


def test_an_upload_that_cannot_be_completed_is_refused(running):
    upload, parts = parts_of(running, [b"ab", b"cd"], size=5)
    for given in ({"part_ids": parts}, {"part_ids": ["part_x"]}, {"part_ids": [parts[0]] * 2}):
        with pytest.raises(openai.BadRequestError):
            running.uploads.complete(upload.id, **given)
    upload, parts = parts_of(running, [b"ab"])
    with pytest.raises(openai.BadRequestError, match="md5"):
        running.uploads.complete(upload.id, part_ids=parts, md5="0" * 32)
    assert running.uploads.cancel(upload.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError, match="cancelled"):
        running.uploads.complete(upload.id, part_ids=parts)
    with pytest.raises(openai.APIStatusError) as caught:
        parts_of(running, [b"abc"], size=2)
    assert caught.value.status_code == 413


def test_an_upload_lasts_an_hour_and_its_parts_no_longer(running, server_home):
    upload, parts = parts_of(running, [b"ab"])
    db = Database()
    db.write("UPDATE uploads SET created_at = created_at - ? WHERE id = ?", (uploads.LASTS_S, upload.id))
    with pytest.raises(openai.BadRequestError, match="expired"):
        running.uploads.complete(upload.id, part_ids=parts)
    assert (server_home / "files" / f"{parts[0]}.bin").exists()
    uploads.sweep(db)
    assert not (server_home / "files" / f"{parts[0]}.bin").exists()

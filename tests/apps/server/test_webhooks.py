"""Webhooks: the official client verifies what comes, at a receiver on this machine."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
import pytest

from apps.server import queue
from apps.server.database import Database
from apps.server.webhooks import deliver, endpoints
from tests.apps.server import live
from tests.apps.server.test_batches import ASK, line, start
from tests.apps.server.test_jobs import until

ALL = list(endpoints.EVENTS)


class Receiver(ThreadingHTTPServer):
    """Keeps what comes, and answers with the statuses in turn, the last one ever after."""

    def __init__(self, *statuses):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses, self.got = list(statuses) or [200], []
        self.url = f"http://127.0.0.1:{self.server_port}/hook?a=1"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def wait(self, count, seconds=120):
        end = time.monotonic() + seconds
        while len(self.got) < count:
            assert time.monotonic() < end, self.got
            time.sleep(0.02)
        return self.got


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((self.path, body, dict(self.headers)))
        statuses = self.server.statuses
        self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
        self.send_header("location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()

    def log_message(self, *given):
        pass


@pytest.fixture
def receiver():
    made = []

    def make(*statuses):
        made.append(Receiver(*statuses))
        return made[-1]

    yield make
    for each in made:
        each.shutdown()


@pytest.fixture(scope="module")
def running(server_home):
    with live.serving(jobs=True) as (url, _):
        yield live.client(url)


def unwrapped(client, hook, got):
    _, body, headers = got
    return client.webhooks.unwrap(body, headers, secret=hook.signing_secret)


def test_the_end_of_a_batch_and_of_a_job_is_told_and_proved(running, receiver):
    place, other = receiver(), receiver()
    hook = running.webhooks.create(name="here", url=place.url, event_types=ALL)
    running.webhooks.create(name="there", url=other.url, event_types=["batch.failed"])
    batch = start(running, [line("a", model="starter", messages=ASK, max_tokens=1)])
    event = unwrapped(running, hook, place.wait(1)[0])
    assert (event.type, event.data.id) == ("batch.completed", batch.id) and place.got[0][0] == "/hook?a=1"
    file = running.files.create(file=("t.jsonl", b'{"a": 1}\n'), purpose="fine-tune").id
    job = running.fine_tuning.jobs.create(model="starter", training_file=file)
    told = unwrapped(running, hook, place.wait(2)[1])
    assert (told.type, told.data.id) == ("fine_tuning.job.failed", job.id) and told.id != event.id
    assert other.got == []
    _, body, headers = place.got[0]
    with pytest.raises(openai.InvalidWebhookSignatureError):
        running.webhooks.unwrap(body.replace(batch.id.encode(), b"batch_x"), headers, secret=hook.signing_secret)
    until(lambda: not Database().rows("SELECT id FROM deliveries"))


def test_an_event_that_is_not_taken_comes_again_with_the_same_id(running, receiver, monkeypatch):
    monkeypatch.setattr(deliver, "LATER_S", (0, 0, 3600))
    place = receiver(500, 302, 204)
    hook = running.webhooks.create(name="x", url=place.url, event_types=["batch.failed"])
    start(running, [])
    ids = {unwrapped(running, hook, got).id for got in place.wait(3)}
    assert len(ids) == 1
    time.sleep(3 * deliver.LOOK_S)
    assert len(place.got) == 3  # taken, and no redirect was followed


def test_what_is_never_taken_is_given_up(running, receiver, monkeypatch):
    monkeypatch.setattr(deliver, "LATER_S", (0,))
    place = receiver(500)
    running.webhooks.create(name="x", url=place.url, event_types=["batch.failed"])
    start(running, [])
    place.wait(2)
    time.sleep(3 * deliver.LOOK_S)
    assert len(place.got) == 2


def test_an_event_outlives_the_server_that_was_to_send_it(server_home, receiver):
    place = receiver()
    db = Database()
    hook = endpoints.create(db, "", "x", place.url, ["fine_tuning.job.cancelled"])
    job = queue.create(db, "", "starter", "file-1", None, "x", 1, queue.Method("supervised", {}), None)
    queue.cancel(db, job["id"])
    assert place.got == []
    with live.serving(jobs=True):
        _, body, headers = place.wait(1)[0]
    event = openai.OpenAI(api_key="none").webhooks.unwrap(body, headers, secret=hook["secret"])
    assert (event.type, event.data.id) == ("fine_tuning.job.cancelled", job["id"])


def test_a_secret_is_shown_once_and_changed_with_a_day_for_the_old_one(running, receiver):
    place = receiver()
    hook = running.webhooks.create(name="x", url=place.url, event_types=["batch.completed"])
    assert hook.signing_secret.startswith("whsec_")
    shown = running.webhooks.retrieve(hook.id).to_dict()
    assert hook.signing_secret not in json.dumps(shown) and shown["signing_secret_hint"].endswith(
        hook.signing_secret[-4:]
    )
    new = running.webhooks.rotate_secret(hook.id, keep_old_secret_active_for_24_hours=True)
    assert running.webhooks.test(hook.id, event_type="batch.completed").status_code == 200
    for secret in (new, hook):
        assert unwrapped(running, secret, place.got[0]).type == "batch.completed"
    running.webhooks.rotate_secret(hook.id)
    running.webhooks.test(hook.id, event_type="batch.completed")
    for secret in (new, hook):
        with pytest.raises(openai.InvalidWebhookSignatureError):
            unwrapped(running, secret, place.got[1])


def test_an_endpoint_is_changed_listed_and_deleted_by_its_owner_alone(running, receiver):
    from apps.server import keys

    hook = running.webhooks.create(name="x", url=receiver().url, event_types=ALL)
    assert running.webhooks.update(hook.id, name="y", event_types=["batch.failed"]).event_types == ["batch.failed"]
    assert next(iter(running.webhooks.list(limit=1))).name == "y"
    stranger = running.with_options(api_key=keys.create(Database(), "s")[1]).webhooks
    for call in (
        stranger.retrieve,
        stranger.delete,
        stranger.rotate_secret,
        lambda name: stranger.test(name, event_type="batch.failed"),
    ):
        with pytest.raises(openai.NotFoundError):
            call(hook.id)
    assert not list(stranger.list()) and running.webhooks.delete(hook.id).deleted
    with pytest.raises(openai.NotFoundError):
        running.webhooks.retrieve(hook.id)


@pytest.mark.parametrize(
    "url", ["ftp://x", "http://", "http://a:b@c/", "x", "http://x:99999/", "http://x/\r\ny", "http://ü/"]
)
def test_a_url_that_is_none_is_refused(running, url):
    with pytest.raises(openai.BadRequestError, match="url"):
        running.webhooks.create(name="x", url=url, event_types=["batch.failed"])


def test_an_open_server_sends_to_public_addresses_alone(receiver):
    for url in (receiver().url, "http://169.254.1.1/", "http://[::1]:80/"):
        with pytest.raises(deliver.Refused, match="no public address"):
            deliver.send(url, "evt_1", b"{}", [], public=True)

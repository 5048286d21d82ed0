"""Who may ask what: every route refuses a stranger, and what is one key's is nobody else's."""

import httpx
import openai
import pytest

from apps.cli import main
from apps.server import keys
from apps.server.app import create
from apps.server.database import Database
from apps.server.guard import OPEN_PATHS
from apps.server.rates import Rates
from apps.server.settings import Settings
from tests.apps.server import live
from tests.apps.server.conftest import roomy


@pytest.fixture(scope="module")
def guarded(server_home):
    """A server that wants a key, and two keys of different people."""
    with live.serving(require_key=True) as (url, app):
        made = [keys.create(app.state.server.db, name)[1] for name in "ab"]
        yield url, made


def routes(server_home):
    app = create(Settings(jobs=False))
    found = [(method, path) for path, item in app.openapi()["paths"].items() for method in item]
    return [*found, ("get", "/docs"), ("get", "/openapi.json"), ("get", "/nothing"), ("post", "/v1/")]


STRANGERS = [
    None,
    "",
    "Bearer",
    "Bearer none",
    "Bearer sk-ct-",
    "Basic YTpi",
    "Bearer sk-ct-" + "0" * 24 + "-" + "x" * 43,
]


def test_every_route_refuses_a_stranger(guarded, server_home):
    url, made = guarded
    wrong = [*STRANGERS, f"Bearer {made[0]}x", f"Bearer {made[0][:-1]}", made[0], f"bearer  {made[1][:30]}"]
    asked = 0
    with httpx.Client(base_url=url) as http:
        for method, path in routes(server_home):
            for form in (path, "/" + path, path + "/", path.replace("/v1", "/%76%31")):
                for header in wrong:
                    reply = http.request(method, form, headers={} if header is None else {"authorization": header})
                    if form in OPEN_PATHS:
                        assert reply.status_code == 200
                    else:
                        assert reply.status_code == 401 and reply.json()["error"]["code"] == "invalid_api_key", (
                            method,
                            form,
                        )
                        asked += 1
    assert asked > 500


def test_a_key_opens_until_it_is_revoked(guarded, capsys):
    url, _ = guarded
    assert main(["keys", "create", "laptop", "--lang", "ko"]) == 0
    shown = capsys.readouterr()
    key = shown.out.strip()
    assert "다시" in shown.err
    client = live.client(url, key)
    assert list(client.models.list())
    key_id = key.split("-")[2]
    assert main(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    assert key_id in listed and key.split("-", 3)[3] not in listed
    assert main(["keys", "revoke", key_id]) == 0
    with pytest.raises(openai.AuthenticationError):
        client.models.list()
    assert main(["keys", "revoke", "nobody"]) == 2
    secret = key.split("-", 3)[3]
    assert secret.encode() not in b"".join(file.read_bytes() for file in Database()._path.parent.glob("server.db*"))


def test_what_is_one_keys_is_nobody_elses(guarded):
    url, made = guarded
    one, other = (live.client(url, key) for key in made)
    file = one.files.create(file=("t.jsonl", b'{"a": 1}\n'), purpose="fine-tune").id
    job = one.fine_tuning.jobs.create(model="starter", training_file=file).id
    name = roomy_of("ft:starter:local:mine:1", made[0])
    ask = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
    assert one.chat.completions.create(model=name, **ask).choices
    jobs = other.fine_tuning.jobs
    for call in (
        lambda: other.files.retrieve(file), lambda: other.files.content(file), lambda: other.files.delete(file),
        lambda: jobs.retrieve(job), lambda: jobs.cancel(job), lambda: jobs.pause(job), lambda: jobs.resume(job),
        lambda: jobs.list_events(job), lambda: jobs.checkpoints.list(job),
        lambda: other.models.retrieve(name), lambda: other.models.delete(name),
        lambda: other.chat.completions.create(model=name, **ask), lambda: other.completions.create(model=name, prompt="x"),
        lambda: jobs.create(model=name, training_file=file),
    ):  # fmt: skip
        with pytest.raises(openai.NotFoundError):
            call()
    with pytest.raises(openai.BadRequestError, match="invalid training_file"):
        jobs.create(model="starter", training_file=file)
    assert file not in [each.id for each in other.files.list()] and not list(jobs.list())
    assert name not in [model.id for model in other.models.list()] and name in [model.id for model in one.models.list()]
    assert one.models.delete(name).deleted


def roomy_of(name, key):
    roomy(name)
    Database().write("INSERT OR REPLACE INTO models VALUES (?, ?)", (name, key.split("-")[2]))
    return name


def test_beyond_loopback_a_key_is_required(home, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("CHAINTUNE_HOME", str(tmp_path))
    assert main(["serve", "--host", "0.0.0.0", "--port", str(live.free_port())]) == 2
    assert "chaintune keys create" in capsys.readouterr().err
    assert Settings(host="0.0.0.0").needs_key and not Settings().needs_key


def test_a_page_that_is_allowed_may_call_and_no_other(server_home):
    with live.serving(origins=("https://good.example",)) as (url, _):
        for origin, allowed in (("https://good.example", "https://good.example"), ("https://evil.example", None)):
            reply = httpx.get(f"{url}/v1/models", headers={"origin": origin})
            assert reply.headers.get("access-control-allow-origin") == allowed


def test_one_request_too_many_in_a_minute_waits(server_home):
    with live.serving(requests_per_minute=2) as (url, _):
        replies = [httpx.get(f"{url}/v1/models") for _ in range(3)]
        assert [reply.status_code for reply in replies] == [200, 200, 429]
        assert 1 <= int(replies[2].headers["retry-after"]) <= 60


def test_a_minute_is_counted_from_each_request():
    rates = Rates(2)
    for at in (0.0, 30.0, 60.5, 90.5):
        rates.count("a", at)
    rates.count("b", 90.5)
    with pytest.raises(Exception, match="come again in 30 s"):
        rates.count("a", 91.0)

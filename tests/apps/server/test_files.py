"""/v1/files through the official client."""

import httpx
import openai
import pytest

from apps.server.database import Database
from tests.apps.server import live

GOOD = b'{"messages": []}\n{"messages": [{"role": "user", "content": "\xea\xb0\x80"}]}\n'


def test_a_file_is_kept_as_it_came_listed_and_deleted(client):
    made = client.files.create(file=("../../train.jsonl", GOOD), purpose="fine-tune")
    assert (made.filename, made.bytes, made.status) == ("train.jsonl", len(GOOD), "processed")
    assert client.files.wait_for_processing(made.id).id == made.id
    assert client.files.content(made.id).read() == GOOD
    other = client.files.create(file=("x.bin", b"\x00\xff"), purpose="user_data",
                                expires_after={"anchor": "created_at", "seconds": 3600})  # fmt: skip
    assert other.expires_at == other.created_at + 3600
    assert [file.id for file in client.files.list(limit=1)] == [other.id, made.id]  # two pages
    assert [file.id for file in client.files.list(purpose="fine-tune")] == [made.id]
    assert client.files.delete(made.id).deleted
    for call in (client.files.retrieve, client.files.delete, client.files.content):
        with pytest.raises(openai.NotFoundError):
            call(made.id)


def test_an_expired_file_is_gone(client):
    made = client.files.create(
        file=("x", b"1"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    Database().write("UPDATE files SET expires_at = 1 WHERE id = ?", (made.id,))
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)


@pytest.mark.parametrize("body", [b"[1]\n", b'{"a": 1}\n{"a"', b"\xff\xfe", b'{"a": 1}\n7\n'])
def test_a_training_file_that_is_no_jsonl_is_refused_by_line(client, body):
    with pytest.raises(openai.BadRequestError, match=f"Line {body.count(b'1}') + 1} is not a dictionary"):
        client.files.create(file=("train.jsonl", body), purpose="fine-tune")


@pytest.mark.parametrize("change", [{"purpose": "odd"}, {"expires_after": {"anchor": "created_at", "seconds": 5}}])
def test_what_is_not_offered_is_refused(client, change):
    with pytest.raises(openai.BadRequestError):
        client.files.create(**{"file": ("x", b"1"), "purpose": "user_data", **change})


@pytest.mark.parametrize(
    "name", ["../server.db", "..%2fserver.db", "file-1/../../server.db", "%00", "....//x", "file-" + "a" * 5000]
)
def test_no_id_leads_out_of_the_folder(url, name):
    for path in (f"/v1/files/{name}", f"/v1/files/{name}/content"):
        assert httpx.get(f"{url}{path}").status_code in (404, 400)


def test_a_file_over_the_limit_is_refused(server_home):
    with live.serving(max_file_bytes=1000) as (url, _):
        client = live.client(url)
        client.files.create(file=("x", b"1" * 1000), purpose="user_data")
        with pytest.raises(openai.APIStatusError) as caught:
            client.files.create(file=("x", b"1" * (1000 + 2**16)), purpose="user_data")
        assert caught.value.status_code == 413

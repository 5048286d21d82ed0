"""Forms and JSONL that no client would send: an upload is kept byte for byte or refused with a 4xx in OpenAI's shape, and nothing is left of it.

CHAINTUNE_FUZZ_CASES sets how many of each.
"""

import os

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CASES = max(50, int(os.environ.get("CHAINTUNE_FUZZ_CASES", "100")) // 4)
FUZZ = settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
PIECES = st.sampled_from([
    b"--x", b"--x--", b"--", b"\r\n", b"\r\n\r\n", b"\n", b'Content-Disposition: form-data; name="file"; filename="t.jsonl"',
    b'Content-Disposition: form-data; name="purpose"', b'Content-Disposition: form-data; name="file"; filename="../../etc/passwd\\0.jsonl"',
    b"Content-Disposition: form-data", b"Content-Type: application/json", b"Content-Transfer-Encoding: base64", b"fine-tune", b"batch", b"\x00",
    b'{"messages": []}\n', b'{"a": 1}', b"\xff\xfe", b"name*=utf-8''%ff", b": ", b'"', b"x" * 5000,
])  # fmt: skip
FORMS = st.lists(PIECES | st.binary(max_size=12), max_size=24).map(b"".join)
KINDS = st.sampled_from(["multipart/form-data; boundary=x", "multipart/form-data", 'multipart/form-data; boundary="', "multipart/form-data; boundary=x; charset=no",
                         "application/x-www-form-urlencoded", "text/plain", "multipart/mixed; boundary=x"])  # fmt: skip
LINES = st.sampled_from([
    b'{"a": 1}', b"", b"   ", b"[]", b"1", b'"x"', b"null", b'{"a": 1', b'{"a": NaN}', b'{"a": 1e999}', b'{"\xff": 1}', b"\xef\xbb\xbf{}", b"{}\r",
    b"[" * 2000, b'{"a":' * 2000, b'{"a": "\\ud800"}', b"\x00", b'{"a": 1}{"b": 2}',
]) | st.binary(max_size=20)  # fmt: skip
JSONL = st.lists(LINES, max_size=8).map(b"\n".join)


@pytest.fixture(scope="module")
def http(url):
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


def told(reply):
    assert 400 <= reply.status_code < 500, (reply.status_code, reply.text)
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


def kept(folder):
    return {path.name for path in (folder / "files").glob("*")} if (folder / "files").is_dir() else set()


@pytest.mark.timeout(60 + CASES)
def test_no_form_breaks_an_upload(http, server_home):
    before = kept(server_home)

    @FUZZ
    @given(KINDS, FORMS)
    def send(kind, body):
        for path in ("/v1/files", "/v1/uploads/upload_none/parts"):
            reply = http.post(path, content=body, headers={"content-type": kind})
            if reply.status_code == 200:
                http.delete(f"/v1/files/{reply.json()['id']}").raise_for_status()
            else:
                told(reply)

    send()
    assert kept(server_home) == before


@pytest.mark.timeout(60 + CASES)
@pytest.mark.parametrize("purpose", ["fine-tune", "batch"])
def test_a_file_is_kept_byte_for_byte_or_refused(http, server_home, purpose):
    before = kept(server_home)

    @FUZZ
    @given(JSONL, st.text(max_size=30))
    def send(body, name):
        reply = http.post("/v1/files", files={"file": (name or "x", body)}, data={"purpose": purpose})
        if reply.status_code != 200:
            return told(reply)
        file = reply.json()
        assert http.get(f"/v1/files/{file['id']}/content").content == body and file["bytes"] == len(body)
        if purpose == "fine-tune":
            lines = [line.removeprefix(b"\xef\xbb\xbf") for line in body.split(b"\n") if line.strip()]
            assert all(isinstance(orjson.loads(line), dict) for line in lines)
        http.delete(f"/v1/files/{file['id']}").raise_for_status()

    send()
    assert kept(server_home) == before

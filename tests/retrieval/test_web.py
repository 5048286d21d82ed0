"""URLs: fetched by a flag alone, never from the machine's own network, within limits of time and size."""

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from chains.errors import UsageError
from retrieval import SyncReport, web
from retrieval.text import Unreadable

PAGE = "<html><body><h1>공</h1><p>공이 밖으로 나가면 상대가 던진다. {}</p></body></html>"


class Pages(BaseHTTPRequestHandler):
    """Answers with what `pages` has under the path: status, headers, body."""

    pages: dict[str, tuple[int, dict[str, str], bytes]] = {}  # noqa: RUF012 (a new dict for each test)
    seen: list[str] = []  # noqa: RUF012

    def do_GET(self):
        self.seen.append(f"{self.headers['Host']}{self.path}")
        if self.path.startswith("/slow"):
            return self._slowly()
        status, headers, body = self.pages.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _slowly(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        if self.path == "/slow":
            self.end_headers()
        self.flush_headers()
        try:
            for _ in range(600):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.1)
        except OSError:
            pass

    def log_message(self, *words):
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Pages.pages, Pages.seen = {}, []
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as served:
        served.daemon_threads = True
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def page(
    path: str, body: str | bytes, kind: str = "text/html; charset=utf-8", status: int = 200, **headers: str
) -> None:
    raw = body.encode() if isinstance(body, str) else body
    Pages.pages[path] = (status, {"Content-Type": kind, **headers}, raw)


def refusal(url: str, allow_loopback: bool = True) -> str:
    with pytest.raises(Unreadable) as error:
        web.fetch(url, allow_loopback)
    return str(error.value)


def test_a_url_is_a_document_that_comes_changes_and_goes(library, server):
    url = f"{server}/rules#ball"
    page("/rules", PAGE.format(""))
    for expected in ((1, 0, 0, 0), (0, 0, 0, 1)):
        assert library.sync([url], urls=True, allow_loopback=True) == SyncReport(*expected, failed=[])
    assert [source.source for source in library.sources()] == [f"{server}/rules"]
    assert "상대가 던진다" in library.text(f"{server}/rules") and "<p>" not in library.text(f"{server}/rules")
    page("/rules", PAGE.format("새 문장이다."))
    assert library.sync(url, urls=True, allow_loopback=True).updated == 1
    assert "새 문장" in library.search("새 문장", k=1)[0].text
    del Pages.pages["/rules"]
    assert library.sync(url, urls=True, allow_loopback=True).deleted == 1
    assert library.sources() == []


def test_a_folders_sync_leaves_the_urls(library, server, docs):
    page("/a", "A text.", "text/plain")
    assert library.sync([f"{server}/a", docs], urls=True, allow_loopback=True).added == 4
    assert library.sync(docs).deleted == 0 and len(library.sources()) == 4


def test_without_the_flag_no_url_is_fetched(library, server):
    with pytest.raises(UsageError, match=r"is a URL; say that URLs may be fetched \(urls=True, --allow-url\)"):
        library.sync(f"{server}/rules")
    assert Pages.seen == []


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "localhost",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
        ),
        *(
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "192.0.0.1",
            "198.18.0.1",
        ),
        *(
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:10.0.0.1]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd12::1]",
            "[ff02::1]",
        ),
        *(
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::a00:1]",
            "[2002:7f00:1::]",
            "[::127.0.0.1]",
            "[2001:db8::1]",
            "[2001:0:0:0:0:0:80ff:fffe]",
        ),
    ],
)
def test_addresses_of_the_own_network_are_refused(host, monkeypatch):
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: pytest.fail("a connection was tried"))
    said = refusal(f"http://{host}/", allow_loopback=False)
    assert "an address of this machine or its own network" in said or "host that is not found" in said


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700::1111", "64:ff9b::5db8:d70e"])
def test_addresses_of_the_open_internet_are_not(address):
    assert web._open(address, allow_loopback=False)


def test_a_redirect_into_the_own_network_is_refused(server):
    page("/out", "", status=302, Location="http://10.1.2.3/secret")
    assert "leads to 10.1.2.3, an address of this machine or its own network" in refusal(f"{server}/out")
    page("/file", "", status=302, Location="file:///etc/passwd")
    assert "only http and https are fetched" in refusal(f"{server}/file")
    page("/round", "", status=302, Location="/round")
    assert refusal(f"{server}/round") == "leads to another address more than 5 times"
    page("/ok", "", status=301, Location="/there")
    page("/there", "Here.", "text/plain")
    assert web.fetch(f"{server}/ok", allow_loopback=True).raw == b"Here."


def test_a_name_that_points_elsewhere_a_moment_later_is_connected_where_it_was_checked(server, monkeypatch):
    port = int(server.rpartition(":")[2])
    page("/", "Fine.", "text/plain")
    answers = iter(["127.0.0.1", "10.0.0.1"])
    asked = []

    def resolve(host, *rest, **more):
        asked.append(host)
        return (
            [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]
            if host == "rebinding.example"
            else real(host, *rest, **more)
        )

    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert web.fetch(f"http://rebinding.example:{port}/", allow_loopback=True).raw == b"Fine."
    assert asked.count("rebinding.example") == 1
    assert Pages.seen == [f"rebinding.example:{port}/"]
    assert "leads to 10.0.0.1" in refusal(f"http://rebinding.example:{port}/")


def test_a_name_with_one_private_address_among_others_is_refused(monkeypatch):
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("93.184.215.14", "192.168.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: both)
    assert "leads to 192.168.0.1" in refusal("http://two.example/", allow_loopback=False)


def test_size_time_and_kind_are_limited(server, monkeypatch):
    monkeypatch.setattr(web, "MAX_BYTES", 2**20)
    page("/big", b"x" * (2**20 + 1), "text/plain")
    assert refusal(f"{server}/big") == "has more than the 1 MiB that are fetched"
    page("/zip", b"PK", "application/zip")
    assert refusal(f"{server}/zip").startswith("is of the content type application/zip, which is not read")
    page("/packed", b"x", "text/plain", **{"Content-Encoding": "gzip"})
    assert refusal(f"{server}/packed") == "comes packed, which was not asked for"
    page("/broken", b"", status=500)
    assert refusal(f"{server}/broken") == "cannot be fetched: the server answers 500"
    assert refusal(f"{server}/nowhere") == "is not there: the server answers 404"
    assert "user name" in refusal(server.replace("http://", "http://me:pw@"))
    monkeypatch.setattr(web, "SECONDS", 1)
    for path in ("/slow", "/slow_headers"):
        began = time.monotonic()
        assert refusal(f"{server}{path}").startswith("took more than")
        assert time.monotonic() - began < 5


def test_a_page_in_an_encoding_that_the_server_names_is_read(library, server):
    page("/ko", "공은 둘이다.".encode("euc-kr"), "text/plain; charset=EUC-KR")
    library.sync(f"{server}/ko", urls=True, allow_loopback=True)
    assert library.text(f"{server}/ko") == "공은 둘이다."


def test_what_cannot_be_fetched_is_listed_and_what_was_read_stays(library, server):
    page("/a", "A text.", "text/plain")
    library.sync(f"{server}/a", urls=True, allow_loopback=True)
    page("/a", "", status=503)
    report = library.sync(f"{server}/a", urls=True, allow_loopback=True)
    assert report.failed == [
        (f"{server}/a", f"{server}/a cannot be fetched: the server answers 503; what was read of it before stays")
    ]
    assert library.text(f"{server}/a") == "A text."

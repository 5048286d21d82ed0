"""Fetches one page or file by its URL, and nothing that lies in the machine's own network.

The name is resolved once, every address it has is checked, and the connection goes to a checked address: a name that points elsewhere a
moment later changes nothing. Each redirect is checked in the same way. Proxies of the environment are not used.
"""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from retrieval.text import Unreadable

MAX_BYTES = 10 * 2**20
SECONDS = 10  # for everything, redirects included
REDIRECTS = 5

TYPES = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "text/x-markdown": ".md",
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/json": ".json",
    "application/jsonl": ".jsonl",
    "application/x-ndjson": ".jsonl",
    "application/pdf": ".pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
}
"""Content types that are read, and as which kind of file."""


@dataclass(frozen=True)
class Fetched:
    """What a URL gave: its bytes, in UTF-8 where they are text of a named encoding, and the kind of file that they are."""

    raw: bytes
    suffix: str


class Gone(Unreadable):
    """The server says that there is nothing at the URL any more."""


class _Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    raw: bytes


def is_url(place: object) -> bool:
    """Return whether a place is named by a URL."""
    return isinstance(place, str) and place.lower().startswith(("http://", "https://"))


def plain(url: str) -> str:
    """Return the URL without what the server is not told, as the name of its document."""
    parts = urlsplit(url)
    return urlunsplit(
        parts._replace(fragment="", scheme=parts.scheme.lower(), netloc=parts.netloc.lower(), path=parts.path or "/")
    )


def fetch(url: str, allow_loopback: bool = False) -> Fetched:
    """Return what is at `url`. Raises Unreadable. `allow_loopback` is for tests with a server of their own on this machine."""
    deadline = time.monotonic() + SECONDS
    for _ in range(REDIRECTS + 1):
        parts = _checked(url)
        answer = _asked(parts, deadline, allow_loopback)
        if answer.status not in (301, 302, 303, 307, 308):
            return _fetched(answer)
        url = urljoin(url, answer.headers.get("Location", ""))
    raise Unreadable(f"leads to another address more than {REDIRECTS} times")


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise Unreadable(f"is no URL that can be read: {error}") from error
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise Unreadable(f"leads to {url[:200]!r}, and only http and https are fetched")
    if parts.username is not None or not url.isascii() or any(letter <= " " for letter in url):
        raise Unreadable(
            "has a user name, a space or a letter that a URL cannot have; write it as the browser's address bar copies it"
        )
    return parts


def _addresses(parts: SplitResult, port: int, allow_loopback: bool) -> list[str]:
    """Return the addresses of the host. Raises Unreadable where there is none, or any of them is not on the open internet."""
    assert parts.hostname
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreadable(f"names a host that is not found: {parts.hostname}") from error
    addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
    for address in addresses:
        if not _open(address, allow_loopback):
            raise Unreadable(
                f"leads to {address}, an address of this machine or its own network, which is not fetched from"
            )
    return addresses


def _open(address: str, allow_loopback: bool) -> bool:
    """Return whether an address is on the open internet, also where it carries another in it (IPv4 in IPv6)."""
    ip: Any = ipaddress.ip_address(address)
    if ip.version == 6:
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1]) or _translated(ip)
        ip = inner or ip
    if allow_loopback and ip.is_loopback:
        return True
    return bool(ip.is_global and not ip.is_multicast and not ip.is_reserved)


def _translated(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the address that a NAT64 gateway would go to (RFC 6052, RFC 8215), or an old IPv4-compatible one."""
    nets = ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")
    carries = any(ip in ipaddress.ip_network(net) for net in nets) and int(ip) > 1
    return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if carries else None


def _asked(parts: SplitResult, deadline: float, allow_loopback: bool) -> _Answer:
    """Ask one of the host's checked addresses."""
    tls = parts.scheme.lower() == "https"
    port = parts.port or (443 if tls else 80)
    address = _addresses(parts, port, allow_loopback)[0]
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, port)
    watch = threading.Timer(_left(deadline), lambda: _cut(connection))  # headers can come slowly, too
    watch.start()
    try:
        connection.sock = socket.create_connection((address, port), _left(deadline))
        if tls:
            connection.sock = ssl.create_default_context().wrap_socket(connection.sock, server_hostname=parts.hostname)
        target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        headers = {
            "User-Agent": "chaintune",
            "Accept": ", ".join(TYPES),
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        connection.request("GET", target, headers=headers)
        with connection.getresponse() as response:
            return _Answer(response.status, response.headers, _body(response, connection.sock, deadline))
    except (OSError, http.client.HTTPException) as error:
        _left(deadline)
        if isinstance(error, TimeoutError):
            raise Unreadable(_SLOW) from error
        why = str(error).partition("\n")[0] or type(error).__name__
        raise Unreadable(f"cannot be fetched: {why}") from error
    finally:
        watch.cancel()
        connection.close()


def _cut(connection: http.client.HTTPConnection) -> None:
    with contextlib.suppress(OSError):
        if connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)


def _body(response: http.client.HTTPResponse, sock: socket.socket | None, deadline: float) -> bytes:
    """Return the answer's body, read bit by bit so that a slow or an endless one is noticed."""
    parts: list[bytes] = []
    size = 0
    while True:
        if sock is not None and sock.fileno() >= 0:
            sock.settimeout(_left(deadline))
        part = response.read1(64 * 2**10)
        _left(deadline)
        if not part:
            if response.length:
                raise Unreadable(f"came without its last {response.length} bytes")
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > MAX_BYTES:
            raise Unreadable(f"has more than the {MAX_BYTES // 2**20} MiB that are fetched")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise Unreadable(_SLOW)
    return left


_SLOW = f"took more than {SECONDS} s to fetch"


def _fetched(answer: _Answer) -> Fetched:
    if answer.status in (404, 410):
        raise Gone(f"is not there: the server answers {answer.status}")
    if answer.status != 200:
        raise Unreadable(f"cannot be fetched: the server answers {answer.status}")
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Unreadable("comes packed, which was not asked for")
    kind = answer.headers.get_content_type()
    if "Content-Type" not in answer.headers or kind not in TYPES:
        said = kind if "Content-Type" in answer.headers else "none"
        raise Unreadable(
            f"is of the content type {said}, which is not read; it must be a page, a text, a table, a PDF or an Office file"
        )
    return Fetched(_in_utf8(answer.raw, answer.headers.get_content_charset()), TYPES[kind])


def _in_utf8(raw: bytes, charset: str | None) -> bytes:
    """Return text of an encoding that the server names in UTF-8; other bytes as they are, since the file may tell."""
    try:
        return raw.decode("cp949" if charset in ("euc-kr", "ks_c_5601-1987") else charset).encode() if charset else raw
    except (LookupError, UnicodeDecodeError):
        return raw

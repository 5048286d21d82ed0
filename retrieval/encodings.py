"""The characters of a file's bytes: UTF-8, UTF-16 or CP949, told apart without guessing."""

from retrieval.text import Unreadable


def decode(raw: bytes) -> str:
    """Return the text of bytes in UTF-8 (with or without a mark), UTF-16 with a mark, or CP949, the Korean Windows encoding.

    EUC-KR is a part of CP949. Raises Unreadable where none of them fits; a wrong guess would fill the library with text that looks right
    and is not.
    """
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    else:
        if b"\x00" in raw[:65536]:
            raise Unreadable("holds binary data, not text")
        encodings = ["utf-8-sig", "cp949"]
    for encoding in encodings:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Unreadable("is neither in UTF-8 nor in CP949; save it in UTF-8")

"""Text as it becomes certain: whole characters, and never a stop text's beginning that was sent too soon."""

import pytest

from chains.models.detokenize import TextStream
from tests import tiny

KOREAN = "여섯 명이 🏐 뛰어요. 값은 12,000원"


def byte_tokens(text):
    """Return the ids of single bytes, so that every character beyond ASCII is split over several tokens."""
    from tokenizers.pre_tokenizers import ByteLevel

    pieces = "".join(piece for piece, _ in ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text))
    return tiny.words().convert_tokens_to_ids(list(pieces))


def feed(ids, stop=()):
    """Return the pieces one token at a time, what `finish` gave, and the stream."""
    stream = TextStream(tiny.words(), stop)
    pieces = []
    for token in ids:
        pieces.append(stream.add(token))
        if stream.stopped:
            break
    return pieces, stream.finish(), stream


def test_a_character_comes_whole_with_its_last_byte():
    ids = byte_tokens("가🏐a")
    assert len(ids) == 3 + 4 + 1
    pieces, rest, _ = feed(ids)
    assert pieces == ["", "", "가", "", "", "", "🏐", "a"] and rest == ""


@pytest.mark.parametrize("encode", [byte_tokens, lambda text: tiny.words().encode(text)], ids=["bytes", "merges"])
def test_the_pieces_add_up_to_the_decoded_text(encode):
    ids = encode(KOREAN)
    pieces, rest, _ = feed(ids)
    assert "".join(pieces) + rest == KOREAN == tiny.words().decode(ids)
    assert not any("\ufffd" in piece for piece in pieces)


def test_what_is_left_of_a_cut_character_comes_at_the_end():
    pieces, rest, _ = feed(byte_tokens("a가")[:-1])
    assert pieces == ["a", "", ""] and rest == "\ufffd"


def test_bytes_that_are_no_text_do_not_hold_back_what_follows():
    broken = byte_tokens("가")[:2] + byte_tokens("bc")
    pieces, rest, _ = feed(broken)
    assert "".join(pieces) + rest == tiny.words().decode(broken) == "\ufffdbc"


def test_control_tokens_are_no_text():
    end = tiny.words().eos_token_id
    pieces, rest, _ = feed([*byte_tokens("a"), end, *byte_tokens("b"), tiny.words().pad_token_id])
    assert "".join(pieces) + rest == "ab"


@pytest.mark.parametrize(
    ("text", "stop", "said"),
    [
        ("one\nUser: two", ("\nUser:",), "one"),
        ("섯 명이 끝 뛰어", ("끝",), "섯 명이 "),
        ("abcabd", ("abd",), "abc"),
        ("aab", ("ab",), "a"),
        ("x###y##", ("##", "###"), "x"),
        ("xSTOPy", ("TOP", "STOP"), "x"),  # the one that begins first
        ("END", ("END",), ""),
        ("abc", ("d",), "abc"),
    ],
)
def test_a_stop_text_ends_the_answer_however_it_is_cut_into_tokens(text, stop, said):
    for ids in (byte_tokens(text), tiny.words().encode(text)):
        pieces, rest, stream = feed(ids, stop)
        assert "".join(pieces) + rest == said
        assert stream.stopped == (said != text)


def test_what_may_begin_a_stop_text_waits_until_that_is_decided():
    pieces, rest, stream = feed(byte_tokens("a<b<<c"), ("<<c>",))
    assert pieces == ["a", "", "<b", "", "", ""]
    assert rest == "<<c" and not stream.stopped


def test_a_longer_stop_text_does_not_wait_for_a_shorter_one():
    pieces, rest, stream = feed(byte_tokens("ab-cd"), ("cdef", "-"))
    assert "".join(pieces) + rest == "ab" and stream.stopped
    assert len(pieces) == 3

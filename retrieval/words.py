"""The words that a text is found by: Korean morphemes and syllable pairs, and Latin words and numbers in lower case.

Korean glues endings and particles to its stems (공이, 공을, 공으로), so a search for what stands between spaces misses most. Kiwi cuts a
word into morphemes and knows which carry meaning; pairs of neighbouring syllables find the names and compounds that Kiwi does not know.
The two are kept apart (a pair begins with '~'), since a pair says less. English words lose their endings by Porter's stemmer.
Chinese and Japanese characters go in as pairs.

Kiwi takes one to three seconds to load, once a process, when the first text with Hangul comes.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kiwipiepy import Kiwi, Token

METHOD = "2"  # goes up when the terms of a text change, so that a library notices that its own are old
PAIR = "~"  # the first character of a term that is a pair of syllables
_CONTENT = frozenset(
    {"NNG", "NNP", "NNB", "NR", "XR", "VV", "VA", "MAG", "MM"}
)  # nouns, roots, verbs, adjectives, adverbs, determiners
_COUNTS = frozenset({"NNB", "NR"})  # units and numerals: a near one is another one
_NEAR = 0.6  # cosine from which a word stands in for another
_NEIGHBOURS = 300  # words that are looked through for one
_LONGEST = 64  # letters of a word that can have an English ending; what is longer is data

_HANGUL = re.compile(r"[가-힣]")
_SYLLABLES = re.compile(r"[가-힣]+|[\u3400-\u9fff\uf900-\ufaff]+|[\u3040-\u30ff\u31f0-\u31ff]+")
_LATIN = re.compile(r"[^\W\d_]+|\d+")
_CODE = re.compile(r"[A-Za-z0-9]+(?:[-_/.][A-Za-z0-9]+)*")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


@lru_cache(maxsize=1)
def _kiwi() -> "Kiwi":
    from kiwipiepy import Kiwi

    return Kiwi()


def terms(texts: Sequence[str]) -> list[list[str]]:
    """Return the terms of each text, in order and as often as they occur."""
    korean = [text for text in texts if _HANGUL.search(text)]
    morphemes = iter(_kiwi().tokenize(korean)) if korean else iter(())
    found = []
    for text in texts:
        words = [token.form for token in next(morphemes) if _carries_meaning(token)] if _HANGUL.search(text) else []
        found.append([*words, *_latin(text), *_pairs(text)])
    return found


def neighbours(query: str) -> dict[str, list[tuple[str, float]]]:
    """Return, for the Korean words of the query, the words near them in meaning and how near (0.6 to 1), nearest first.

    The vectors are those of the language model that Kiwi carries, which puts opposites side by side (안, 밖) and what is said together
    (경기장, 유소년). Words of one root have a syllable in common, so the others are left out: 색깔 for 색상, 상대 for 상대방. A word that it
    does not know has no neighbours.
    """
    if not _HANGUL.search(query):
        return {}
    kiwi = _kiwi()
    tokens: Any = kiwi.tokenize(query)
    known = (token for token in tokens if _carries_meaning(token) and token.tag not in _COUNTS)
    return {token.form: _near(token.form, token.id) for token in known if kiwi.morpheme(token.id).form == token.form}


@lru_cache(maxsize=4096)
def _near(form: str, morpheme: int) -> list[tuple[str, float]]:
    found = _kiwi().most_similar_morphemes(morpheme, top_n=_NEIGHBOURS)
    return [
        (near.form, near.score)
        for near in found
        if near.score >= _NEAR and near.form != form and _is_content(near.tag) and set(near.form) & set(form)
    ]


def _carries_meaning(token: "Token") -> bool:
    return _is_content(token.tag) and bool(_HANGUL.match(token.form))


def _is_content(tag: str) -> bool:
    return tag.partition("-")[0] in _CONTENT  # VV-I and VV-R are verbs, irregular and regular


def _pairs(text: str) -> Iterator[str]:
    for run in _SYLLABLES.findall(text):
        for at in range(max(1, len(run) - 1)):
            yield PAIR + run[at : at + 2]


def scripts(text: str) -> list[str]:
    """Return the runs of Hangul, of Chinese characters and of Kana in `text`."""
    return _SYLLABLES.findall(text)


def codes(text: str) -> frozenset[str]:
    """Return the codes in `text`, in lower case: runs that hold a letter and a digit, such as XK-1042, RTX4090 or v2.1."""
    found = (run for run in _CODE.findall(text) if len(run) > 2)
    return frozenset(run.lower() for run in found if re.search("[A-Za-z]", run) and re.search("[0-9]", run))


def _latin(text: str) -> Iterator[str]:
    for word in _LATIN.findall(_SYLLABLES.sub(" ", _THOUSANDS.sub("", text)).lower()):
        yield stem(word)


def stem(word: str) -> str:
    """Return an English word in lower case as Porter's stemmer leaves it; a word with other letters than a to z stays as it is.

    M. F. Porter, An algorithm for suffix stripping, 1980: what Lucene's EnglishAnalyzer does, and Anserini to English by default.
    """
    return _porters(word) if len(word) <= _LONGEST and word.isascii() and word.isalpha() else word


@lru_cache(maxsize=2**16)
def _porters(word: str) -> str:
    stemmer, alone = _stemmer()
    with alone:
        return str(stemmer.stemWord(word))


@lru_cache(maxsize=1)
def _stemmer() -> "tuple[Any, Lock]":
    """Return the stemmer and the lock to hold while it works: it keeps the word in itself."""
    from snowballstemmer import stemmer

    return stemmer("porter"), Lock()

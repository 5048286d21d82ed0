"""Tokens into text while they arrive: whole characters only, and nothing that could still become a stop text."""

from collections.abc import Sequence
from typing import Any


class TextStream:
    """The text of one answer as its tokens come.

    `add` returns what is now certain; `finish` returns the rest. A character split over several tokens waits for its last byte; an
    ending that could be the beginning of a stop text waits until that is decided.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stop = stop
        self._ids: list[int] = []
        self._start = 0  # the window of tokens that is decoded again: earlier text cannot change
        self._seen = 0
        self._pending = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """Return the text that `token` makes certain; `stopped` turns true where a stop text is complete."""
        self._ids.append(token)
        before = self._decode(self._start, self._seen)
        now = self._decode(self._start, len(self._ids))
        if now.endswith("�") or len(now) <= len(before):
            return ""
        self._start, self._seen = self._seen, len(self._ids)
        return self._release(now[len(before) :], last=False)

    def finish(self) -> str:
        """Return what was held back: the end of the answer."""
        if self.stopped:
            return ""
        before = self._decode(self._start, self._seen)
        return self._release(self._decode(self._start, len(self._ids))[len(before) :], last=True)

    def _decode(self, start: int, end: int) -> str:
        text: str = self._tokenizer.decode(
            self._ids[start:end], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def _release(self, new: str, last: bool) -> str:
        text = self._pending + new
        places = [place for place in (text.find(stop) for stop in self._stop) if place >= 0]
        if places:
            self.stopped, self._pending = True, ""
            return text[: min(places)]
        keep = 0 if last else max((_overlap(text, stop) for stop in self._stop), default=0)
        self._pending = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of `text` begin `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0)

"""How often one owner may ask."""

import time
from collections import defaultdict, deque

from apps.server.errors import ApiError

WINDOW_S = 60.0


class Rates:
    """Counts each owner's requests of the last minute; 0 sets no limit."""

    def __init__(self, per_minute: int) -> None:
        self._most = per_minute
        self._times: defaultdict[str, deque[float]] = defaultdict(deque)

    def count(self, owner: str, now: float | None = None) -> None:
        """Count one request. Raises ApiError 429, saying when to come again, where it is one too many."""
        if not self._most:
            return
        at, times = time.monotonic() if now is None else now, self._times[owner]
        while times and times[0] <= at - WINDOW_S:
            times.popleft()
        if len(times) >= self._most:
            wait = max(1, round(times[0] + WINDOW_S - at))
            message = f"{self._most} requests a minute are allowed; come again in {wait} s"
            raise ApiError(429, message, "rate_limit_exceeded", headers={"Retry-After": str(wait)})
        times.append(at)

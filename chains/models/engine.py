"""The one place where a model generates: requests in, tokens out. It knows tokens, not chats.

    engine = Engine(model, tokenizer)
    engine.generate([Request(ids, Sampling(max_tokens=20))])     # all at once, in the order asked
    for piece in engine.stream(Request(ids)): ...                # beside whatever else is asked meanwhile

Chains, the chat page and PPO's rollouts all come here, from any thread or event loop, and meet in one scheduler: rows enter and leave
while others decode, each with its own limits, stop texts, constraint and random stream, so that a row's tokens do not depend on what else
is in the batch. A thread of the engine's own does the work; it ends when there has been none for a while.

transformers' own continuous batching is the library's way to do this. What is used of transformers is the models and the dispatch of their
attention; the batching is not, because beside it (tests/bench/generate.py throughput, 32 requests with a shared beginning, one AMD Zen 5
core) this engine made 3.0 times its tokens a second with 14 M parameters and 5.7 times with 110 M in bfloat16, 2.9 and 3.3 times in
float32, in 0.58 to 0.75 of its memory above the loaded model's.
"""

import asyncio
import atexit
import queue
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import torch

from chains.errors import BusyError, ContextError, UsageError
from chains.models import allocator, linear, packed
from chains.models.constraint import Compiler, Constraint
from chains.models.detokenize import TextStream
from chains.models.memory import room_for
from chains.models.packed_runner import PackedRunner
from chains.models.plain_runner import PlainRunner
from chains.models.row import Completion, Request, Row
from chains.models.sampling import Sampling
from chains.models.scheduler import Scheduler

__all__ = ["Completion", "Constraint", "Engine", "Request", "Sampling", "Ticket"]

T = TypeVar("T")

LINGER_S = 2.0
"""The engine's thread ends after so long without work."""


class Ticket:
    """A request on its way: wait for `result`, iterate over its text as it comes, or cancel it."""

    def __init__(self, engine: "Engine", row: Row) -> None:
        self._engine = engine
        self._row = row

    @property
    def future(self) -> "Future[Completion]":
        """Done when the request is."""
        return self._row.future

    def cancel(self) -> None:
        """Stop: the row is freed at the next step, and whoever waits gets CancelledError."""
        self._row.cancelled = True
        self._engine._wake()

    def result(self) -> Completion:
        """Wait for the completion. Raises what went wrong; an interrupt cancels the request."""
        try:
            return self._row.future.result()
        except (KeyboardInterrupt, SystemExit):
            self.cancel()
            raise

    def outcome(self) -> Completion | Exception:
        """Wait for the completion, or for what went wrong."""
        try:
            return self.result()
        except Exception as error:
            return error


class Engine:
    """Generates with a transformers causal model and its tokenizer, both in memory.

    At most `max_batch` rows run together, with at most `max_tokens` tokens in memory (None: what half of the free memory holds), beside
    which beginnings kept for later prompts take at most a quarter of that; and `max_queue` may wait. A long prompt is read `chunk` tokens a step. `slow` says why the model runs row by row, where it does,
    and `packs` how many of its linear layers multiply with packed weights.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        max_batch: int = 64,
        *,
        max_tokens: int | None = None,
        max_queue: int = 1024,
        chunk: int = 512,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.max_batch = max_batch
        self.max_queue = max_queue
        self.context: int = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2**31
        self.ends = _end_ids(model, tokenizer)
        self._vocabulary: int = model.config.get_text_config().vocab_size
        self.packs = linear.accelerate(model)
        self.slow = packed.serves(model)
        self.max_tokens = max_tokens or room_for(model)
        self.max_prefix_tokens = self.max_tokens // 4
        self._runner = PlainRunner(model) if self.slow else PackedRunner(model, self.max_prefix_tokens)
        self._scheduler = Scheduler(self._runner, max_batch, self.max_tokens, chunk)
        self._compiler: Compiler | None = None
        self._state = threading.Condition()
        self._incoming: list[Row] = []
        self._stale = self._closed = False
        self._thread: threading.Thread | None = None
        _engines.add(self)

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return each request's completion, in the order asked.

        Raises UsageError where a prompt is empty or leaves no room in the model's context, before anything runs. Where a request fails its
        error is raised, and what is still on its way is cancelled.
        """
        return self._gathered(requests, Ticket.result)

    def outcomes(self, requests: Sequence[Request]) -> list[Completion | Exception]:
        """Return each request's completion, or what it failed with while the others went on. Raises UsageError as `generate` does."""
        return self._gathered(requests, Ticket.outcome)

    def _gathered(self, requests: Sequence[Request], wait: Callable[[Ticket], T]) -> list[T]:
        tickets = self.submit(requests, keep=len(requests) == 1)  # one alone may be a conversation that goes on
        try:
            return [wait(ticket) for ticket in tickets]
        finally:
            for ticket in tickets:
                if not ticket.future.done():
                    ticket.cancel()

    def submit(self, requests: Sequence[Request], keep: bool = False) -> list[Ticket]:
        """Ask for all of `requests` at once, and return their tickets without waiting.

        `keep` says that what is said may begin a later prompt, as a conversation's turns do: its keys and values are kept for it. Raises
        UsageError as `generate` does, and BusyError where too many wait already.
        """
        rows = [self._row(place, request, keep) for place, request in enumerate(requests)]
        self._enter(rows)
        return [Ticket(self, row) for row in rows]

    def stream(self, request: Request) -> Iterator[str | Completion]:
        """Yield the answer's text as it becomes certain, then the Completion. Leaving the loop early cancels the request."""
        heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        ticket, said = self._listened(request, heard.put)
        item = None
        try:
            while not isinstance(item, Future):
                item = heard.get()
                yield from said(item)
        finally:
            if not ticket.future.done():
                ticket.cancel()

    async def astream(self, request: Request) -> AsyncIterator[str | Completion]:
        """Yield what `stream` yields, awaiting; no thread waits meanwhile."""
        heard: asyncio.Queue[Any] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        ticket, said = self._listened(request, lambda item: _tell(loop, heard, item))
        item = None
        try:
            while not isinstance(item, Future):
                item = await heard.get()
                for piece in said(item):
                    yield piece
        finally:
            if not ticket.future.done():
                ticket.cancel()

    def room(self, length: int, max_tokens: int) -> int:
        """Return how many tokens may answer a prompt of `length`, at most `max_tokens`.

        Raises ContextError where the prompt leaves no room in the model's context, UsageError where both are more than there is memory for.
        """
        if length >= self.context:
            raise ContextError(length, self.context)
        limit = min(max_tokens, self.context - length)
        if length + limit > self.max_tokens:
            raise UsageError(
                f"the request comes to {length + limit} tokens and the engine has memory for {self.max_tokens}; "
                "shorten the prompt or lower max_tokens"
            )
        return limit

    def prepare(self, constraint: Constraint) -> None:
        """Compile `constraint` now, so that a request with it begins at once. Raises UsageError where it cannot be kept."""
        self._compiled().matcher(constraint)

    def weights_changed(self) -> None:
        """Say that the model's weights were trained since the last call: what was computed with the old ones is dropped."""
        with self._state:
            self._stale = True

    def stats(self) -> dict[str, int]:
        """Return what is in flight, what was done, and how much of the prompts was not computed again."""
        counts = self._scheduler.counts
        return {
            "waiting": len(self._scheduler.waiting) + len(self._incoming),
            "running": len(self._scheduler.decoding) + len(self._scheduler.reading),
            "requests": counts.requests,
            "tokens": counts.tokens,
            "steps": counts.steps,
            "prefix_tokens_reused": self._runner.reused,
            "prefix_tokens_kept": self._runner.kept,
        }

    def close(self, wait: bool = True) -> None:
        """End the engine: what is in flight is finished first, or cancelled. Later requests raise UsageError; no thread is left."""
        with self._state:
            self._closed = True
            if not wait:
                for row in [*self._incoming, *self._scheduler.rows()]:
                    row.cancelled = True
            self._state.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _row(self, place: int, request: Request, keep: bool) -> Row:
        if not request.prompt_ids:
            raise UsageError(f"request {place + 1} has an empty prompt; give at least one token")
        limit = self.room(len(request.prompt_ids), request.sampling.max_tokens)
        if not 0 <= min(request.prompt_ids) <= max(request.prompt_ids) < self._vocabulary:
            wrong = next(token for token in request.prompt_ids if not 0 <= token < self._vocabulary)
            raise UsageError(
                f"request {place + 1} has the token {wrong} in its prompt, and the model's tokens are 0 to {self._vocabulary - 1}; "
                "encode it with the model's own tokenizer"
            )
        request.sampling.check_tokens(self._vocabulary)
        matcher = self._compiled().matcher(request.constraint) if request.constraint else None
        row = Row(request, limit, self.ends, self.tokenizer, matcher)
        row.keep = keep
        return row

    def _compiled(self) -> Compiler:
        with self._state:
            if self._compiler is None:
                self._compiler = Compiler(self.tokenizer, self._vocabulary, self.ends)
            return self._compiler

    def _enter(self, rows: list[Row]) -> None:
        with self._state:
            if self._closed:
                raise UsageError("the engine is closed; make a new one")
            if len(self._incoming) + len(self._scheduler.waiting) >= self.max_queue:
                raise BusyError(f"{self.max_queue} requests wait already; try again later, or raise max_queue")
            self._incoming += rows
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="chaintune-engine", daemon=True)
                _threads.add(self._thread)
                self._thread.start()
            self._state.notify()

    def _listened(
        self, request: Request, hear: Callable[[Any], None]
    ) -> tuple[Ticket, Callable[[Any], Iterator[str | Completion]]]:
        """Ask for a request whose progress is heard: tokens or text, and its future at the end; return what yields their text."""
        row = self._row(0, request, keep=True)
        row.listener = hear
        row.future.add_done_callback(hear)
        self._enter([row])
        watch = TextStream(self.tokenizer)

        def said(item: Any) -> Iterator[str | Completion]:
            ended = isinstance(item, Future)
            piece = watch.finish() if ended else item if isinstance(item, str) else watch.add(item)
            if piece:
                yield piece
            if ended:
                yield item.result()

        return Ticket(self, row), said

    def _wake(self) -> None:
        with self._state:
            self._state.notify()

    @torch.inference_mode()
    def _work(self) -> None:
        """Run the scheduler until there has been nothing to do for a while."""
        try:
            while self._more():
                self._scheduler.step()
            allocator.trim()
        except BaseException as error:  # whoever waits must hear of it: the engine never hangs
            with self._state:
                self._thread = None
                self._scheduler.waiting.extend(self._incoming)
                self._incoming.clear()
                self._scheduler.stop(error)

    def _more(self) -> bool:
        """Wait for work and take it in; False, and the thread ends, where there was none for a while."""
        with self._state:
            if not self._scheduler.busy and not self._incoming:
                self._state.wait(0 if self._closed else LINGER_S)
                if not self._incoming:
                    self._thread = None
                    self._runner.release()
                    linear.forget(self.model)
                    return False
            if self._stale:
                self._runner.forget()
                linear.forget(self.model)
                self._stale = False
            self._scheduler.waiting.extend(self._incoming)
            self._incoming.clear()
            return True


_engines: "weakref.WeakSet[Engine]" = weakref.WeakSet()
_threads: "weakref.WeakSet[threading.Thread]" = weakref.WeakSet()
"""A thread outlives its engine where it was the last to hold it and now frees its model: torch ends the process that exits meanwhile."""


@atexit.register
def _close_all() -> None:
    for engine in list(_engines):
        engine.close(wait=False)
    for thread in list(_threads):
        thread.join()


def _tell(loop: asyncio.AbstractEventLoop, heard: "asyncio.Queue[Any]", item: Any) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(heard.put_nowait, item)


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in [*ids, tokenizer.eos_token_id] if i is not None)

"""llama.cpp through its C interface: `slots` requests at once, a finished one's place taken by the next, as its server does.

With `shared` the tokens that all prompts begin with are computed once and copied to every request's sequence.
"""

from pathlib import Path
from typing import Any

import llama_cpp as lib
import numpy as np

from tests.bench import gguf_file, models

STEP = 512  # the most tokens that one call decodes
Row = dict[str, Any]


@lib.llama_log_callback
def _quiet(level: Any, text: Any, data: Any) -> None:
    pass


def load(spec: dict[str, Any]) -> Any:
    return LlamaCpp(spec)


def common(prompts: list[list[int]]) -> int:
    """Return how many tokens all prompts begin with, at least one less than the shortest."""
    length = min(map(len, prompts)) - 1
    return next((n for n in range(length) if len({prompt[n] for prompt in prompts}) > 1), length)


class LlamaCpp:
    def __init__(self, spec: dict[str, Any]) -> None:
        self.requests = models.requests(Path(spec["folder"]), spec["limit"])
        self.slots = spec["slots"]
        self.shared = common([row["ids"] for row in self.requests]) if spec.get("shared") else 0
        lib.llama_log_set(_quiet, None)
        lib.llama_backend_init()
        how = lib.llama_model_default_params()
        how.use_mmap = False  # read when it is loaded, so that the loaded model's memory is all of it
        file = gguf_file.path(Path(spec["folder"]), spec["dtype"])
        self.model = lib.llama_model_load_from_file(str(file).encode(), how)
        self.size = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self.model))
        self.threads = spec["threads"]
        self.context: Any = None

    def warm(self) -> None:
        self._open()
        self._work([{**row, "max_tokens": 4} for row in self.requests[:2]])

    def run(self) -> list[Any]:
        return self._work(self.requests)

    def _open(self) -> None:
        """Make the context, its cache as large as the whole job needs."""
        how = lib.llama_context_default_params()
        rows = sorted((len(row["ids"]) + row["max_tokens"] for row in self.requests), reverse=True)
        how.n_ctx = -(-(sum(rows[: self.slots]) + self.shared) // 256) * 256
        how.n_batch = how.n_ubatch = STEP
        how.n_seq_max = self.slots + 1
        how.kv_unified = True
        how.n_threads = how.n_threads_batch = self.threads
        self.context = lib.llama_init_from_model(self.model, how)
        self.memory = lib.llama_get_memory(self.context)
        self.batch = lib.llama_batch_init(STEP, 0, 1)

    def _work(self, requests: list[Row]) -> list[Any]:
        lib.llama_memory_clear(self.memory, True)
        self._put_shared(requests[0]["ids"][: self.shared])
        answers: list[list[int]] = [[] for _ in requests]
        waiting = list(range(len(requests)))[::-1]
        running: dict[int, int] = {}  # which request a sequence holds
        free = list(range(self.slots))
        while waiting or running:
            self.batch.n_tokens = 0
            heads = {}  # where in the batch a sequence's next token comes out
            for sequence, place in running.items():
                answer = answers[place]
                position = len(requests[place]["ids"]) + len(answer) - 1
                heads[sequence] = self._add(answer[-1], position, sequence, True)
            while waiting and free and self._fits(requests[waiting[-1]]["ids"]):
                sequence, place = free.pop(), waiting.pop()
                heads[sequence] = self._admit(sequence, requests[place]["ids"])
                running[sequence] = place
            self._decode()
            for sequence, place in list(running.items()):
                answers[place].append(self._likeliest(heads[sequence]))
                if len(answers[place]) == requests[place]["max_tokens"]:
                    lib.llama_memory_seq_rm(self.memory, sequence, -1, -1)
                    del running[sequence]
                    free.append(sequence)
        return answers

    def _put_shared(self, ids: list[int]) -> None:
        if ids:
            self.batch.n_tokens = 0
            for position, token in enumerate(ids):
                self._add(token, position, self.slots, False)
            self._decode()

    def _fits(self, ids: list[int]) -> bool:
        return self.batch.n_tokens + len(ids) - self.shared <= STEP

    def _admit(self, sequence: int, ids: list[int]) -> int:
        if self.shared:
            lib.llama_memory_seq_cp(self.memory, self.slots, sequence, 0, self.shared)
        for position in range(self.shared, len(ids)):
            last = self._add(ids[position], position, sequence, position == len(ids) - 1)
        return last

    def _add(self, token: int, position: int, sequence: int, wanted: bool) -> int:
        place = self.batch.n_tokens
        self.batch.token[place], self.batch.pos[place], self.batch.logits[place] = token, position, wanted
        self.batch.n_seq_id[place] = 1
        self.batch.seq_id[place][0] = sequence
        self.batch.n_tokens = place + 1
        return place

    def _decode(self) -> None:
        if failed := lib.llama_decode(self.context, self.batch):
            raise RuntimeError(f"llama_decode failed with {failed}")

    def _likeliest(self, place: int) -> int:
        logits = np.ctypeslib.as_array(lib.llama_get_logits_ith(self.context, place), shape=(self.size,))
        return int(logits.argmax())

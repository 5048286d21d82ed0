"""Requests that come at any moment: each gets what it would get alone, and what fails fails alone."""

import asyncio
import random
import resource
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from chains.errors import BusyError, MachineError, ModelError, UsageError
from chains.models import allocator
from chains.models import engine as engine_module
from chains.models import scheduler as scheduler_module
from chains.models.engine import Completion, Engine, Request, Sampling
from tests import tiny

CONTEXT = 512
DEADLINE_S = 20


def model(architecture="llama"):
    """A model with room for long prompts, sure of what it says."""
    if architecture != "llama":
        return tiny.model(architecture, spread=0.3)
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(tiny.words()),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.3,
        eos_token_id=tiny.words().eos_token_id,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def weights():
    return model()


@pytest.fixture
def engine(weights):
    made = Engine(weights, tiny.words())
    yield made
    made.close(wait=False)


def ids(seed, length):
    return tuple(random.Random(seed).randrange(5, 360) for _ in range(length))


def greedy(max_tokens=10, **settings):
    return Sampling(max_tokens=max_tokens, temperature=0, ignore_ends=True, **settings)


def alone(weights, request):
    """What a request gives in an engine of its own."""
    return Engine(weights, tiny.words()).generate([request])[0].token_ids


def tokens_read(engine):
    """Return a list that gets the number of tokens of each forward."""
    seen = []
    engine.model.register_forward_pre_hook(
        lambda module, args, given: seen.append(len(given["packed_step"].ids)) if "packed_step" in given else None,
        with_kwargs=True,
    )
    return seen


def settled(engine):
    """Wait until the engine's thread has nothing in flight."""
    until = time.monotonic() + DEADLINE_S
    while engine.stats()["running"] or engine.stats()["waiting"]:
        assert time.monotonic() < until
        time.sleep(0.005)


def test_requests_that_come_at_any_moment_give_what_each_gives_alone(engine, weights):
    """Lengths from one page to many, prefixes shared by some, seeds, cancellations: what stays is as if it had been alone."""
    rng = random.Random(7)
    header = ids(1, 60)
    requests = []
    for number in range(40):
        prompt = (header if number % 3 else ()) + ids(100 + number, rng.choice([1, 3, 20, 90, 150]))
        settings = {"max_tokens": rng.choice([1, 5, 30, 60]), "ignore_ends": True}
        requests.append(Request(prompt, Sampling(temperature=number % 2, seed=number, **settings)))
    tickets = []
    for first in range(0, 40, 5):
        tickets += engine.submit(requests[first : first + 5], keep=first % 2 == 0)
        time.sleep(0.02)
        if first == 20:
            tickets[first].cancel()
    for number, (ticket, request) in enumerate(zip(tickets, requests, strict=True)):
        if number != 20:
            assert ticket.future.result(DEADLINE_S).token_ids == alone(weights, request), number
    assert engine.stats()["running"] == 0


def test_rows_that_give_their_pages_to_others_keep_what_they_read_in_the_same_step(weights):
    """The first leaves after its first token, so another takes its pages; then the short prompt is read before the long one beside it."""
    lengths, limits = (156, 100, 20, 40), (1, 60, 120, 120)
    requests = [Request(ids(length, length), greedy(limit)) for length, limit in zip(lengths, limits, strict=True)]
    made = Engine(weights, tiny.words(), chunk=64).generate(requests)
    assert [done.token_ids for done in made] == [alone(weights, request) for request in requests]


def test_a_short_request_overtakes_a_long_one(engine):
    (long,) = engine.submit([Request(ids(1, 5), greedy(400))])
    (short,) = engine.submit([Request(ids(2, 5), greedy(3))])
    assert len(short.future.result(DEADLINE_S).token_ids) == 3
    assert not long.future.done()
    assert len(long.result().token_ids) == 400


@pytest.mark.parametrize("chunk", [8, 64])
def test_a_long_prompt_is_read_in_pieces_while_others_decode(weights, chunk):
    engine = Engine(weights, tiny.words(), chunk=chunk)
    stream = engine.stream(Request(ids(1, 5), greedy(60)))
    next(stream)
    seen = tokens_read(engine)
    (long,) = engine.submit([Request(ids(2, 200), greedy(2))])
    long.result()
    assert max(seen) <= chunk + 1 and sum(seen) >= 200
    assert sum(count > 1 for count in seen) >= 200 // chunk
    assert long.result().token_ids == alone(weights, Request(ids(2, 200), greedy(2)))
    assert len(list(stream)[-1].token_ids) == 60


def test_a_beginning_that_waiting_requests_share_is_read_once(engine, weights):
    header = ids(1, 100)
    requests = [Request(header + ids(number, 10), greedy(4)) for number in range(2, 10)]
    seen = tokens_read(engine)
    done = engine.generate(requests)
    assert sum(seen) == 100 + 8 * 10 + 8 * 3
    assert engine.stats()["prefix_tokens_reused"] == 8 * 100
    assert [completion.token_ids for completion in done] == [alone(weights, request) for request in requests]


def test_samples_of_one_prompt_read_it_once(engine):
    requests = [Request(ids(1, 80), Sampling(max_tokens=6, seed=seed, ignore_ends=True)) for seed in range(5)]
    seen = tokens_read(engine)
    done = engine.generate(requests)
    assert sum(seen) == 79 + 5 * 1 + 5 * 5
    assert len({tuple(completion.token_ids) for completion in done}) > 1


def test_a_conversation_goes_on_from_its_earlier_turns(engine, weights):
    first = Request(ids(1, 120), greedy(20))
    (ticket,) = engine.submit([first], keep=True)
    said = ticket.result().token_ids
    later = Request((*first.prompt_ids, *said, *ids(2, 10)), greedy(5))
    seen = tokens_read(engine)
    (ticket,) = engine.submit([later], keep=True)
    answer = ticket.result().token_ids
    assert sum(seen) == 1 + 10 + 4  # the last token that was said, what is new, and the answer
    assert answer == alone(weights, later)


def test_a_beginning_that_differs_is_used_as_far_as_it_is_the_same(engine, weights):
    engine.submit([Request(ids(1, 100), greedy(4))], keep=True)[0].result()
    other = Request(ids(1, 100)[:64] + ids(2, 30), greedy(6))
    assert engine.generate([other])[0].token_ids == alone(weights, other)
    assert engine.stats()["prefix_tokens_reused"] == 64


def test_what_is_kept_stays_within_its_budget(weights):
    engine = Engine(weights, tiny.words(), max_tokens=800)
    for number in range(6):
        engine.submit([Request(ids(number, 90), greedy(4))], keep=True)[0].result()
        assert engine.stats()["prefix_tokens_kept"] <= 200
    engine.generate([Request(ids(5, 90), greedy(4))])
    assert engine.stats()["prefix_tokens_reused"] == 89
    engine.generate([Request(ids(0, 90), greedy(4))])
    assert engine.stats()["prefix_tokens_reused"] == 89


@pytest.mark.parametrize("told", [True, False])
def test_training_between_two_generations_is_seen(told):
    """Prefixes go when the engine is told; packed copies of weights notice a training step by themselves."""
    made = model()
    engine = Engine(made, tiny.words())
    prompt = ids(1, 100 if told else 20)
    before = engine.submit([Request(prompt, greedy(8))], keep=told)[0].result().token_ids
    optimizer = torch.optim.SGD(made.parameters(), lr=0.5)
    made(torch.tensor([prompt])).logits.logsumexp(-1).mean().backward()
    optimizer.step()
    if told:
        engine.weights_changed()
    after = engine.generate([Request(prompt, greedy(8))])[0].token_ids
    assert after == alone(made, Request(prompt, greedy(8))) and after != before


def test_the_memory_of_tokens_is_bounded(weights):
    engine = Engine(weights, tiny.words(), max_tokens=100)
    with pytest.raises(UsageError, match="the request comes to 120 tokens and the engine has memory for 100"):
        engine.generate([Request(ids(1, 60), greedy(60))])
    most = []
    hook = engine.model.register_forward_pre_hook(
        lambda *_, **__: most.append(engine.stats()["running"]), with_kwargs=True
    )
    assert len(engine.generate([Request(ids(number, 10), greedy(30)) for number in range(6)])) == 6
    hook.remove()
    assert max(most) == 2


def test_a_full_queue_says_so(weights, monkeypatch):
    engine = Engine(weights, tiny.words(), max_batch=1, max_queue=3)
    tickets = engine.submit([Request(ids(n, 5), greedy(100)) for n in range(5)])
    with pytest.raises(BusyError, match="3 requests wait already; try again later, or raise max_queue"):
        engine.submit([Request(ids(9, 5), greedy(1))])
    for ticket in tickets:
        ticket.cancel()


def test_a_cancelled_request_frees_its_row_and_the_others_go_on(engine, weights):
    requests = [Request(ids(number, 10), greedy(300)) for number in range(3)]
    tickets = engine.submit(requests)
    while engine.stats()["running"] < 3:
        time.sleep(0.002)
    tickets[1].cancel()
    with pytest.raises(CancelledError):
        tickets[1].future.result(DEADLINE_S)
    assert tickets[2].future.result(DEADLINE_S).token_ids == alone(weights, requests[2])
    assert tickets[0].future.result(DEADLINE_S).token_ids == alone(weights, requests[0])


@pytest.fixture
def engine_of_its_own():
    """An engine whose model other tests do not share: hooks stay."""
    made = Engine(model(), tiny.words(), chunk=16)
    yield made
    made.close(wait=False)


def cancels(layer, tickets):
    """Cancel the tickets when the layer has run."""

    def cancel(*_):
        for ticket in tickets:
            ticket.cancel()

    layer.register_forward_hook(cancel)


def test_a_step_that_nobody_waits_for_any_more_is_given_up(engine_of_its_own):
    engine, tickets, reached = engine_of_its_own, [], []
    first, second = engine.model.model.layers
    cancels(first, tickets)
    second.mlp.register_forward_hook(lambda *_: reached.append(True))
    engine.generate([Request(ids(5, 3), greedy(1))])
    reached.clear()
    with engine._state:  # nothing runs before both are here
        tickets += engine.submit([Request(ids(1, 300), greedy(20)), Request(ids(2, 300), greedy(20))])
    for ticket in tickets:
        with pytest.raises(CancelledError):
            ticket.future.result(DEADLINE_S)
    assert not reached
    request = Request(ids(1, 300), greedy(8))
    assert engine.generate([request])[0].token_ids == alone(model(), request)


def test_a_step_that_somebody_waits_for_goes_on(engine_of_its_own):
    engine, tickets = engine_of_its_own, []
    cancels(engine.model.model.layers[0], tickets)
    requests = [Request(ids(n, 60), greedy(5)) for n in range(3)]
    with engine._state:
        stays, *others = engine.submit(requests)
        tickets += others
    assert stays.future.result(DEADLINE_S).token_ids == alone(model(), requests[0])
    for ticket in tickets:
        with pytest.raises(CancelledError):
            ticket.future.result(DEADLINE_S)


@pytest.mark.parametrize("stay", [True, False])
def test_a_beginning_passes_to_who_shares_it_when_its_first_asker_goes(engine_of_its_own, stay):
    engine, tickets = engine_of_its_own, []
    read, begins = tokens_read(engine), ids(7, 300)
    requests = [Request((*begins, *ids(n, 3)), greedy(4)) for n in range(3)]

    with engine._state:
        asked = engine.submit(requests)
        tickets += asked[:2] if stay else asked
        cancels(engine.model.model.layers[1], tickets)  # the first step is through but for this
    if stay:
        assert asked[2].future.result(DEADLINE_S).token_ids == alone(model(), requests[2])
        assert 303 <= sum(read) < 340  # the beginning once
    settled(engine)
    assert all(ticket.future.done() for ticket in asked)
    if not stay:
        assert len(read) == 1 and not engine._scheduler.busy


def test_leaving_a_stream_cancels_it(engine):
    for _ in engine.stream(Request(ids(1, 10), greedy(400))):
        break
    settled(engine)
    assert engine.stats()["tokens"] < 399


def test_a_reader_who_stops_reading_holds_nobody_up(engine):
    stuck = engine.stream(Request(ids(1, 10), greedy(100)))
    next(stuck)
    assert len(engine.generate([Request(ids(2, 10), greedy(50))])[0].token_ids) == 50
    assert len(list(stuck)[-1].token_ids) == 100


def breaks(engine, token, error):
    """Let the model's code fail whenever a forward holds `token`."""

    def fail(module, args, kwargs):
        if (kwargs["input_ids"] == token).any():
            raise error

    engine.model.register_forward_pre_hook(fail, with_kwargs=True)


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (
            IndexError("index 7 is out of range"),
            ModelError,
            "the model's own code failed: IndexError: index 7 is out of",
        ),
        (torch.OutOfMemoryError("CUDA out of memory"), MachineError, "there is not enough memory for this request"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), MachineError, "shorten the prompt"),
    ],
)
def test_a_step_that_fails_ends_only_the_request_that_fails_alone(error, kind, sentence):
    engine = Engine(model(), tiny.words())
    good = [Request(ids(number, 12), greedy(20, logit_bias={365: -100})) for number in range(3)]
    expected = [completion.token_ids for completion in engine.generate(good)]
    breaks(engine, 365, error)
    tickets = engine.submit([good[0], Request((*ids(9, 12), 365), greedy(20)), *good[1:]])
    with pytest.raises(kind, match=sentence):
        tickets.pop(1).future.result(DEADLINE_S)
    assert [ticket.future.result(DEADLINE_S).token_ids for ticket in tickets] == expected


def test_a_beginning_that_cannot_be_read_fails_its_requests_and_no_others():
    engine = Engine(model(), tiny.words())
    breaks(engine, 365, IndexError("bad"))
    shared = (365, *ids(1, 60))
    tickets = engine.submit([Request(shared + ids(n, 5), greedy(3)) for n in (2, 3)] + [Request(ids(4, 9), greedy(3))])
    assert len(tickets[2].future.result(DEADLINE_S).token_ids) == 3
    for ticket in tickets[:2]:
        with pytest.raises(ModelError):
            ticket.future.result(DEADLINE_S)


def test_logits_that_are_not_finite_end_only_their_row():
    made = model()
    with torch.no_grad():
        made.model.embed_tokens.weight[365] = torch.nan
    engine = Engine(made, tiny.words())
    good, bad = engine.submit([Request(ids(1, 9), greedy(5)), Request((7, 365), greedy(5))])
    with pytest.raises(ModelError, match="not finite"):
        bad.future.result(DEADLINE_S)
    assert len(good.future.result(DEADLINE_S).token_ids) == 5


def fails(error):
    def fail(*given):
        raise error

    return fail


MEMORY = torch.OutOfMemoryError("CUDA out of memory")


def test_an_answer_that_cannot_be_kept_for_lack_of_memory_is_still_given(engine, weights, monkeypatch):
    monkeypatch.setattr(engine._runner._store, "kept", fails(MEMORY))
    (other,) = engine.submit([Request(ids(1, 40), greedy(60))])
    (kept,) = engine.submit([Request(ids(2, 40), greedy(3))], keep=True)
    assert kept.future.result(DEADLINE_S).token_ids == alone(weights, Request(ids(2, 40), greedy(3)))
    assert len(other.future.result(DEADLINE_S).token_ids) == 60
    assert engine.stats()["prefix_tokens_kept"] == 0


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_row_that_cannot_leave_in_peace_hangs_nobody(engine, monkeypatch, cancelled):
    real = engine._runner.leave
    monkeypatch.setattr(
        engine._runner, "leave", lambda row: fails(IndexError("bad"))() if len(row.ids) == 41 else real(row)
    )
    with engine._state:
        (other,) = engine.submit([Request(ids(1, 40), greedy(60))])
        (odd,) = engine.submit([Request(ids(2, 41), greedy(400 if cancelled else 3))], keep=True)
    while cancelled and engine.stats()["tokens"] < 6:
        time.sleep(0.002)
    if cancelled:
        odd.cancel()
    with pytest.raises(CancelledError if cancelled else ModelError):
        odd.future.result(DEADLINE_S)
    assert len(other.future.result(DEADLINE_S).token_ids) == 60


def test_a_beginning_that_cannot_be_kept_ends_only_who_it_was_read_for(engine, monkeypatch):
    monkeypatch.setattr(engine._runner, "filled", fails(MEMORY))
    with engine._state:
        (other,) = engine.submit([Request(ids(1, 40), greedy(60))])
        first, second = engine.submit([Request((*ids(7, 60), *ids(n, 5)), greedy(3)) for n in (2, 3)])
    with pytest.raises(MachineError, match="not enough memory"):
        first.future.result(DEADLINE_S)
    assert len(second.future.result(DEADLINE_S).token_ids) == 3
    assert len(other.future.result(DEADLINE_S).token_ids) == 60


def test_sampling_that_fails_ends_the_rows_it_was_for(engine, monkeypatch):
    real = scheduler_module.choose
    monkeypatch.setattr(
        scheduler_module,
        "choose",
        lambda logits, draws: fails(MEMORY)() if any(d.sampling.seed == 13 for d in draws) else real(logits, draws),
    )
    (odd,) = engine.submit([Request(ids(1, 9), Sampling(max_tokens=3, seed=13))])
    with pytest.raises(MachineError, match="not enough memory"):
        odd.future.result(DEADLINE_S)
    assert len(engine.generate([Request(ids(2, 9), greedy(5))])[0].token_ids) == 5


def test_what_stops_the_engine_leaves_no_pages_taken(engine, monkeypatch):
    monkeypatch.setattr(engine._scheduler, "_advance", fails(ZeroDivisionError()))
    (ticket,) = engine.submit([Request(ids(1, 90), greedy(5))])
    with pytest.raises(ZeroDivisionError):
        ticket.future.result(DEADLINE_S)
    assert engine._runner._store.unused and not engine._runner._pages


def test_an_engine_whose_thread_dies_tells_everyone_and_starts_anew(engine, monkeypatch):
    monkeypatch.setattr(engine._scheduler, "_admit", lambda: 1 / 0)
    (ticket,) = engine.submit([Request(ids(1, 9), greedy(5))])
    with pytest.raises(ZeroDivisionError):
        ticket.future.result(DEADLINE_S)
    monkeypatch.undo()
    assert len(engine.generate([Request(ids(1, 9), greedy(5))])[0].token_ids) == 5


@pytest.mark.parametrize("wait", [True, False])
def test_closing_finishes_or_cancels_and_leaves_no_thread(weights, wait):
    engine = Engine(weights, tiny.words())
    (ticket,) = engine.submit([Request(ids(1, 9), greedy(200))])
    thread = engine._thread
    engine.close(wait=wait)
    assert thread not in threading.enumerate()
    if wait:
        assert len(ticket.result().token_ids) == 200
    else:
        with pytest.raises(CancelledError):
            ticket.future.result(DEADLINE_S)
    with pytest.raises(UsageError, match="the engine is closed"):
        engine.generate([Request(ids(1, 9), greedy(1))])


def test_an_idle_engine_ends_its_thread_and_gives_its_memory_back(weights, monkeypatch):
    monkeypatch.setattr(engine_module, "LINGER_S", 0.01)
    engine = Engine(weights, tiny.words())
    engine.generate([Request(ids(1, 9), greedy(3))])
    until = time.monotonic() + DEADLINE_S
    while engine._thread is not None:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert engine.generate([Request(ids(1, 9), greedy(3))])[0].finish_reason == "length"


def test_many_streams_in_one_event_loop(engine, weights):
    async def read(number):
        pieces = [piece async for piece in engine.astream(Request(ids(number, 10), greedy(12)))]
        return "".join(pieces[:-1]), pieces[-1]

    async def all_of_them():
        return await asyncio.gather(*(read(number) for number in range(24)))

    for number, (text, last) in enumerate(asyncio.run(all_of_them())):
        assert isinstance(last, Completion) and text == last.text
        assert last.token_ids == alone(weights, Request(ids(number, 10), greedy(12)))


def test_64_streams_at_once_are_all_served_before_one_has_ended(engine):
    """Each is a thread of its own; with every step each gets its token, so the slowest is done when the others are."""
    begun, ended, failed = [], [], []

    def read(number):
        try:
            stream = engine.stream(Request(ids(number, 10), greedy(40)))
            next(stream)
            begun.append((number, len(ended)))
            list(stream)
            ended.append((number, time.monotonic()))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(64)]
    start = time.monotonic()
    with engine._state:
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert not failed and len(ended) == 64
    took = sorted(moment - start for _, moment in ended)
    assert took[-1] <= 2 * took[32]
    assert sum(before == 0 for _, before in begun) >= 32  # a thread may be late to look
    assert engine.stats()["steps"] < 64 + 3 * 40


def test_the_same_rollouts_come_out_whenever_they_are_asked(weights):
    """In one batch, after others, and with few slots: a row's tokens are its own."""
    requests = [Request(ids(n, 12), Sampling(max_tokens=15, seed=n, ignore_ends=True)) for n in range(12)]
    first = Engine(weights, tiny.words()).generate(requests)
    busy = Engine(weights, tiny.words())
    busy.submit([Request(ids(99, 30), greedy(60))])
    few = Engine(weights, tiny.words(), max_batch=3)
    expected = [completion.token_ids for completion in first]
    assert [completion.token_ids for completion in busy.generate(requests)] == expected
    assert [completion.token_ids for completion in few.generate(requests)] == expected


def test_a_process_that_ends_waits_for_a_thread_that_frees_its_model():
    program = """
import time
from chains.models import engine
from chains.models.engine import Engine, Request, Sampling
from tests import tiny

class Slow:
    def __del__(self):
        time.sleep(1)
        print("freed", flush=True)

engine.LINGER_S = 0.05
held = Engine(tiny.model("gpt2").eval(), tiny.words())
held.generate([Request((1, 2, 3), Sampling(max_tokens=2))])
held.model.slow = Slow()
del held
time.sleep(0.5)
"""
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "freed\n"), done.stderr


@pytest.mark.skipif(allocator.glibc() is None, reason="this is no glibc")
def test_an_engine_at_rest_gives_the_system_back_what_is_free(weights, monkeypatch):
    """A process that holds one small piece behind many freed ones keeps all their memory until the allocator is told."""
    monkeypatch.setattr(engine_module, "LINGER_S", 0.05)
    engine = Engine(weights, tiny.words())
    engine.generate([Request(ids(1, 10), greedy(2))])
    pieces = [bytearray(60_000) for _ in range(2_000)]
    last = bytearray(60_000)
    del pieces
    before = resident_mb()
    engine.generate([Request(ids(2, 10), greedy(2))])
    until = time.monotonic() + DEADLINE_S
    while resident_mb() > before - 60:
        assert time.monotonic() < until, (before, resident_mb())
        time.sleep(0.02)
    assert len(last)


def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

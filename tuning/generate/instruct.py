"""Instructions that grow from seed tasks, by Self-Instruct or by Alpaca's shorter way, as chat rows.

Both draw seeds into a request, read what comes, refuse by rule, and refuse what is too near anything kept (ROUGE-L above 0.7, `rouge`).
Self-Instruct then asks of each instruction whether it is a classification, and for its instances; Alpaca's requests bring the answer too.
A request's draw depends on the seed and its number alone, so that work that was cut off goes on as if it had not been.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from chains.errors import UsageError, nearest
from tuning.generate import alpaca, self_instruct
from tuning.generate.ask import Asker, Reply, seed_of, unanswered
from tuning.generate.filters import instruction_fault, valid_instances
from tuning.generate.journal import Event, Journal
from tuning.generate.rouge import Pool
from tuning.generate.seeds import Instance, Task

Advance = Callable[[int, int, str], None]

RECIPES = ("self-instruct", "alpaca")
PATIENCE = 50
"""After so many requests in a row without a new instruction it ends with what it has."""


@dataclass
class Made:
    """What there is so far."""

    tasks: list[Task] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    barren: int = 0
    """Requests since the last that brought an instruction."""

    def rows(self) -> list[dict[str, Any]]:
        """Return a chat row for each instance: the instruction, then its input after a blank line."""
        return [_row(task.instruction, one) for task in self.tasks for one in task.instances]


def check_recipe(recipe: str) -> None:
    """Raise UsageError on a recipe that does not exist."""
    if recipe not in RECIPES:
        raise UsageError(f"recipe {recipe!r} is unknown; use {' or '.join(RECIPES)}{nearest(recipe, RECIPES)}")


def make(
    asker: Asker, seeds: Sequence[Task], journal: Journal, n: int, *, recipe: str = "self-instruct", language: str = "en",
    seed: int = 0, at_once: int = 32, advance: Advance = lambda done, total, note: None,
) -> Made:  # fmt: skip
    """Return up to `n` new tasks with their instances; what `journal` holds already is not asked again."""
    check_recipe(recipe)
    made, pool = Made(), Pool(task.instruction for task in seeds)
    kinds: list[bool] = []
    instances: list[list[Instance]] = []

    def take(event: Event) -> None:
        """Count a step in, whether it was just done or is read again."""
        made.dropped.update(event.get("dropped", {}))
        for row in event.get("kept", []):
            made.tasks.append(_task(row))
            pool.add(row["instruction"])
        if "requests" in event:
            made.requests += event["requests"]
            made.barren = 0 if event["kept"] else made.barren + event["requests"]
        kinds.extend(event.get("kinds", []))
        instances.extend([Instance(*pair) for pair in one] for one in event.get("instances", []))
        done = len(made.tasks) if recipe == "alpaca" else (len(made.tasks) + len(kinds) + len(instances)) // 3
        advance(min(done, n), n, str(asker.usage))

    for event in journal.events:
        asker.usage.add(*event["usage"])
        take(event)
    while len(made.tasks) < n and made.barren < PATIENCE and not kinds:
        take(journal.add(_more(asker, seeds, made, pool, n, recipe, language, seed, at_once)))
    if recipe == "self-instruct":
        while len(kinds) < len(made.tasks):
            batch = made.tasks[len(kinds) : len(kinds) + at_once]
            take(journal.add(_kinds(asker, batch, seeds, language)))
        while len(instances) < len(made.tasks):
            first = len(instances)
            batch, of = made.tasks[first : first + at_once], kinds[first : first + at_once]
            take(journal.add(_instances(asker, batch, of, seeds, language)))
        made.tasks = [
            Task(task.instruction, tuple(found), kind)
            for task, found, kind in zip(made.tasks, instances, kinds, strict=True)
        ]
    return made


def _more(
    asker: Asker, seeds: Sequence[Task], made: Made, pool: Pool, n: int, recipe: str, language: str, seed: int, at_once: int
) -> Event:  # fmt: skip
    """Ask for new instructions and return what is kept of them."""
    missing = n - len(made.tasks)
    a_request = alpaca.A_REQUEST if recipe == "alpaca" else self_instruct.A_REQUEST
    numbers = range(made.requests, made.requests + min(at_once, math.ceil(missing / a_request)))
    draws = [random.Random(f"{seed}:{number}") for number in numbers]
    seeds_of = [seed_of(seed, "tasks", number) for number in numbers]
    before = [task.instruction for task in made.tasks]
    if recipe == "alpaca":
        prompts = [alpaca.tasks_prompt(seeds, draw, language) for draw in draws]
        replies = asker.ask(prompts, seeds_of, **alpaca.TASKS)
    else:
        prompts = [self_instruct.instructions_prompt(seeds, before, draw, language) for draw in draws]
        replies = asker.ask(prompts, seeds_of, **self_instruct.INSTRUCTIONS)
    kept: list[Event] = []
    dropped: Counter[str] = Counter()
    fresh = Pool()
    for row in _read(replies, recipe, dropped):
        if len(kept) == missing:
            break
        problem = instruction_fault(row["instruction"], recipe, language)
        if not problem and (pool.near(row["instruction"]) is not None or fresh.near(row["instruction"]) is not None):
            problem = "too near another"
        if not problem and recipe == "alpaca" and not row["instances"][0][1]:
            problem = "no output"
        if problem:
            dropped[problem] += 1
        else:
            kept.append(row)
            fresh.add(row["instruction"])
    return {"requests": len(draws), "kept": kept, "dropped": dropped, "usage": asker.last}


def _read(replies: Sequence[Reply | Exception], recipe: str, dropped: Counter[str]) -> list[Event]:
    """Return what the replies hold, as rows; what cannot be read is counted in `dropped`."""
    found: list[Event] = []
    for reply in replies:
        if isinstance(reply, Exception):
            dropped[unanswered(reply)] += 1
        elif recipe == "self-instruct":
            texts = self_instruct.read_instructions(reply)
            dropped["no list"] += not texts
            found += [{"instruction": text} for text in texts]
        else:
            tasks = alpaca.read_tasks(reply)
            dropped["not in the form"] += tasks.count(None)
            found += [{"instruction": one[0], "instances": [[one[1], one[2]]]} for one in tasks if one]
    for reason in [reason for reason, count in dropped.items() if not count]:
        del dropped[reason]
    return found


def _kinds(asker: Asker, batch: Sequence[Task], seeds: Sequence[Task], language: str) -> Event:
    """Ask of each instruction whether it is a classification."""
    prompts = [self_instruct.kind_prompt(task.instruction, seeds, language) for task in batch]
    replies = asker.ask(prompts, **self_instruct.KIND)
    return {"kinds": [isinstance(r, Reply) and self_instruct.read_kind(r) for r in replies], "usage": asker.last}


def _instances(
    asker: Asker, batch: Sequence[Task], kinds: Sequence[bool], seeds: Sequence[Task], language: str
) -> Event:
    """Ask for the instances of each instruction, output first where it is a classification."""
    found: dict[int, list[list[str]]] = {}
    dropped: Counter[str] = Counter()
    read = written = 0
    for kind, sampling in ((True, self_instruct.CLASS_INSTANCES), (False, self_instruct.INSTANCES)):
        places = [place for place, is_class in enumerate(kinds) if is_class == kind]
        prompts = [self_instruct.instances_prompt(batch[i].instruction, kind, seeds, language) for i in places]
        replies = asker.ask(prompts, **sampling)
        read, written = (read + asker.last[0], written + asker.last[1]) if prompts else (read, written)
        for place, reply in zip(places, replies, strict=True):
            said = self_instruct.read_instances(reply, kind) if isinstance(reply, Reply) else []
            kept = self_instruct.at_most_five(valid_instances(said), batch[place].instruction)
            found[place] = [[one.input, one.output] for one in kept]
            if not kept:
                dropped["no usable instance"] += 1
    return {"instances": [found[i] for i in range(len(batch))], "dropped": dropped, "usage": (read, written)}


def _task(row: Event) -> Task:
    return Task(row["instruction"], tuple(Instance(*pair) for pair in row.get("instances", [])))


def _row(instruction: str, one: Instance) -> dict[str, Any]:
    question = f"{instruction}\n\n{one.input}" if one.input else instruction
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": one.output}]}

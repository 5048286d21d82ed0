"""Constrained decoding: what keeps the answers in form, how fast, and how well: `python -m tests.bench.constrained [malformed speed coverage] [--json]`.

malformed  random schemas through the engine under a random model, free rows beside them: how many answers jsonschema refuses
speed      llguidance and xgrammar by turns: compiling a schema, and a token's mask and step, with 1 row and 32, small and large vocabulary
coverage   what each does with every keyword and regex feature: holds it, refuses it, or lets a wrong answer through

speed and coverage want xgrammar in the environment (peers.txt). The vocabularies are trained on the texts in `--data`.
"""

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import torch
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer
from llguidance.torch import allocate_token_bitmask, fill_next_token_bitmask
from transformers import PreTrainedTokenizerFast

from chains.errors import UsageError
from chains.models.constraint import Compiler, Constraint
from chains.models.engine import Engine, Request, Sampling
from chains.models.json_schema import prepared
from tests import tiny
from tests.bench.schemas import KEYWORDS, REGEXES, Schema, random_schema, written
from tuning import tokenizer as training

DATA = Path(__file__).parents[3] / "shared" / "data"
TEXTS = ("lm/wikitext2_valid.txt", "lm/tinystories_4mb.txt", "korean/ChatbotData.csv", "korean/nsmc_sample_train.tsv", "alpaca/alpaca_5000.json")  # fmt: skip
CHECK = jsonschema.Draft202012Validator
ROUNDS = 3


def answers(count: int, max_tokens: int = 400) -> Iterator[tuple[Schema, str | None]]:
    """Yield `count` random schemas, each with a random model's answer under it, or None where max_tokens cut it."""
    model = tiny.model("llama", spread=0.3)
    model.config.max_position_embeddings = max_tokens + 8
    engine = Engine(model, tiny.words(), max_batch=48)
    schemas = [random_schema(seed) for seed in range(count)]
    requests = [
        Request((5, 6), Sampling(seed=seed, max_tokens=max_tokens), Constraint.json_schema(schema))
        for seed, schema in enumerate(schemas)
    ]
    tokens = model.config.vocab_size
    free = [Request((5, 6, seed % tokens), Sampling(seed=seed, max_tokens=40)) for seed in range(0, count, 4)]
    done = engine.generate([*free, *requests])[len(free) :]
    for schema, one in zip(schemas, done, strict=True):
        yield schema, one.text if one.finish_reason == "stop" else None


def fault(schema: Schema, text: str) -> str | None:
    """Return why jsonschema refuses the answer."""
    try:
        CHECK(schema, format_checker=CHECK.FORMAT_CHECKER).validate(json.loads(text))
    except (ValueError, jsonschema.ValidationError) as error:
        return str(error)
    return None


def run_malformed(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    began = time.perf_counter()
    found = list(answers(given.count))
    ended = [(schema, text) for schema, text in found if text is not None]
    faults = [why for schema, text in ended if (why := fault(schema, text))]
    yield {
        "schemas": len(found),
        "answers that ended": len(ended),
        "malformed": len(faults),
        "first fault": faults[0] if faults else "",
        "seconds": time.perf_counter() - began,
    }


class LLGuidance:
    """llguidance as chains.models.constraint uses it."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer: LLTokenizer = from_tokenizer(
            tokenizer, n_vocab=len(tokenizer), eos_token=tokenizer.eos_token_id
        )

    def schema(self, text: str) -> Any:
        overrides: Any = {"whitespace_flexible": False}
        return self._checked(LLMatcher.grammar_from_json_schema(text, overrides=overrides))

    def regex(self, pattern: str) -> Any:
        return self._checked(LLMatcher.grammar_from_regex(pattern))

    def _checked(self, grammar: str) -> Any:
        matcher = LLMatcher(self.tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return matcher

    def start(self, compiled: Any) -> Any:
        return compiled.deep_copy()

    def fill(self, matcher: Any, mask: torch.Tensor, row: int) -> None:
        fill_next_token_bitmask(matcher, mask, row)

    def take(self, matcher: Any, token: int) -> bool:
        return bool(matcher.consume_token(token))

    def may_end(self, matcher: Any) -> bool:
        return bool(matcher.is_accepting())


class XGrammar:
    """xgrammar with the same compact JSON."""

    def __init__(self, tokenizer: Any) -> None:
        import xgrammar

        self.module = xgrammar
        info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=len(tokenizer))
        self.compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)

    def schema(self, text: str) -> Any:
        return self.compiler.compile_json_schema(text, any_whitespace=False, separators=(",", ":"), strict_mode=False)

    def regex(self, pattern: str) -> Any:
        return self.compiler.compile_regex(pattern)

    def start(self, compiled: Any) -> Any:
        return self.module.GrammarMatcher(compiled)

    def fill(self, matcher: Any, mask: torch.Tensor, row: int) -> None:
        matcher.fill_next_token_bitmask(mask, row)

    def take(self, matcher: Any, token: int) -> bool:
        return bool(matcher.accept_token(token))

    def may_end(self, matcher: Any) -> bool:
        return bool(matcher.is_completed())


LIBRARIES: dict[str, Callable[[Any], Any]] = {"llguidance": LLGuidance, "xgrammar": XGrammar}


def run_speed(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    long = [(schema, text) for schema, text in answers(3 * given.schemas) if text and len(text) > 12]
    pairs = [(prepared(json.dumps(schema)), text) for schema, text in long[: given.schemas]]
    for name, schema in written().items():
        pairs += [(prepared(json.dumps(schema)), text) for text in WRITTEN[name]]
    for size in given.sizes:
        tokenizer = vocabulary(given.data, size)
        libraries = {name: make(tokenizer) for name, make in LIBRARIES.items()}
        paths = [(schema, tokenizer.encode(text, add_special_tokens=False)) for schema, text in pairs]
        rounds = [
            {name: measured(one, paths, len(tokenizer)) for name, one in libraries.items()} for _ in range(ROUNDS)
        ]
        for name in libraries:
            best = {key: min(turn[name][key] for turn in rounds) for key in rounds[0][name]}
            yield {"library": name, "vocabulary": len(tokenizer), "schemas": len(paths), **best}


def measured(library: Any, paths: Sequence[tuple[str, list[int]]], size: int) -> dict[str, float]:
    """Return how long compiling takes, and a token's mask and step, over the paths that the library lets through."""
    times, compiled = [], []
    for schema, tokens in paths:
        began = time.perf_counter()
        try:
            grammar = library.schema(schema)
        except (ValueError, RuntimeError):
            continue
        times.append(1000 * (time.perf_counter() - began))
        walk = library.start(grammar)
        if all(library.take(walk, token) for token in tokens):
            compiled.append((grammar, tokens))
    mask = allocate_token_bitmask(32, size)
    single = [seconds for one in compiled for seconds in steps(library, [one], mask)]
    many = [
        seconds
        for first in range(0, len(compiled) - 31, 32)
        for seconds in steps(library, compiled[first : first + 32], mask)
    ]
    return {
        "compiled": len(times),
        "followed": len(compiled),
        "compile ms median": statistics.median(times),
        "compile ms p99": sorted(times)[int(0.99 * len(times))],
        "compile ms worst": max(times),
        "token us at 1 mean": 1e6 * statistics.mean(single),
        "token us at 1 p99": 1e6 * sorted(single)[int(0.99 * len(single))],
        "step us at 32 mean": 1e6 * statistics.mean(many),
        "step us at 32 worst": 1e6 * max(many),
    }


def steps(library: Any, rows: Sequence[tuple[Any, list[int]]], mask: torch.Tensor) -> Iterator[float]:
    """Yield the seconds of each step in which every row that is left gets its mask and takes its token."""
    matchers = [(library.start(grammar), tokens) for grammar, tokens in rows]
    for place in range(max(len(tokens) for _, tokens in matchers)):
        left = [(matcher, tokens[place]) for matcher, tokens in matchers if place < len(tokens)]
        began = time.perf_counter()
        for row, (matcher, token) in enumerate(left):
            library.fill(matcher, mask, row)
            library.take(matcher, token)
        yield time.perf_counter() - began


WRITTEN = {
    "person": ['{"name":"김하나","born":"1990-02-03","addresses":[{"street":"세종대로 1","city":"서울","postcode":"04524"}],"score":0.75,"parent":null}'],
    "step": ['{"thought":"The weather is asked for.","action":{"tool":"search","query":"weather in Seoul tomorrow","limit":5}}'],
    "labels": ['["긍정","중립"]'],
    "menu": ['{"items":[{"sku":"ABC-1234","price":12.5},{"sku":"XYZ-0001","price":3}],"when":"2024-05-06T07:08:09Z"}'],
}  # fmt: skip
"""An answer to each written schema."""


def vocabulary(data: Path, size: int) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer of up to `size` tokens, trained on the texts in `data`."""
    return training.train(
        [line for name in TEXTS for line in (data / name).read_text(encoding="utf-8").splitlines()], size, 512
    )


def run_coverage(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    libraries = {name: make(tiny.words()) for name, make in LIBRARIES.items()}
    ours = Compiler(tiny.words(), len(tiny.words()), [tiny.words().eos_token_id])
    for what, cases, make in (("keyword", KEYWORDS, "schema"), ("regex", REGEXES, "regex")):
        verdicts: dict[str, Counter[str]] = {}
        for case, (source, good, bad) in cases.items():
            row = {}
            for name, library in libraries.items():
                text = source if isinstance(source, str) else json.dumps(source)
                row[name] = verdict(library, getattr(library, make), text, good, bad)
            row["chains"] = ours_verdict(ours, source, good, bad)
            for name, found in row.items():
                verdicts.setdefault(name, Counter())[found] += 1
            if given.json or len(set(row.values())) > 1:
                yield {what: case, **row}
        yield from ({"all of": what, "by": name, **counts} for name, counts in verdicts.items())


def verdict(library: Any, compile_: Callable[[str], Any], text: str, good: str, bad: str) -> str:
    try:
        grammar = compile_(text)
    except (ValueError, RuntimeError):
        return "refuses"
    return _named(*(_takes(library, library.start(grammar), answer) for answer in (good, bad)))


def ours_verdict(compiler: Compiler, source: Any, good: str, bad: str) -> str:
    constraint = Constraint.regex(source) if isinstance(source, str) else Constraint.json_schema(source)
    try:
        compiler.matcher(constraint)
    except UsageError:
        return "refuses"
    outcome = []
    for answer in (good, bad):
        matcher, tokens = compiler.matcher(constraint), tiny.words().encode(answer, add_special_tokens=False)
        fits = all(bool(matcher.allowed()[token]) and matcher.take(token) is None for token in tokens)
        outcome.append(fits and bool(matcher.allowed()[tiny.words().eos_token_id]))
    return _named(*outcome)


def _takes(library: Any, matcher: Any, answer: str) -> bool:
    tokens = tiny.words().encode(answer, add_special_tokens=False)
    return all(library.take(matcher, token) for token in tokens) and library.may_end(matcher)


def _named(good: bool, bad: bool) -> str:
    return "LETS THROUGH" if bad else "holds" if good else "shuts out"


PARTS = {"malformed": run_malformed, "speed": run_speed, "coverage": run_coverage}


def main() -> None:
    """Run the parts that were named, or all, and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART")
    parser.add_argument("--count", type=int, default=1000, help="schemas of the part malformed")
    parser.add_argument("--schemas", type=int, default=100, help="random schemas of the part speed")
    parser.add_argument("--sizes", type=int, nargs="+", default=[8000, 131072], help="vocabularies of the part speed")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for part in given.parts or PARTS:
        try:
            for figures in PARTS[part](given):
                line = {"bench": "constrained", "part": part, **figures}
                print(json.dumps(line, ensure_ascii=False) if given.json else _plain(line), flush=True)
        except ModuleNotFoundError as error:
            print(f"{part}: {error.name} is not installed; see tests/bench/peers.txt")


def _plain(line: dict[str, Any]) -> str:
    return "  ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in line.items()
    )


if __name__ == "__main__":
    main()

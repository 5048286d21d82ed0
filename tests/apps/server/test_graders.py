"""Graders: each kind against numbers found by hand or by another library, through the official client where it is the server's."""

import math

import openai
import pytest
from sklearn.feature_extraction.text import CountVectorizer

from apps.server.graders import formula, program, template
from apps.server.graders.similarity import similarity
from chains import LocalEmbeddings, load_scorer
from tests import tiny
from tests.apps.server import live

CHECK = {"type": "string_check", "name": "same", "input": "{{ sample.output_text }}", "reference": "{{item.answer}}"}


def near(metric, name="near"):
    return {**CHECK, "type": "text_similarity", "name": name, "evaluation_metric": metric}


@pytest.fixture
def run(client):
    def run(grader, sample="Seoul", item=None):
        return client.fine_tuning.alpha.graders.run(
            grader=grader, model_sample=sample, item=item or {"answer": "seoul"}
        )

    return run


def test_a_string_check_compares_as_its_operation_says(run):
    for operation, reward in (("eq", 0), ("ne", 1), ("like", 0), ("ilike", 1)):
        assert run({**CHECK, "operation": operation}).reward == reward
    assert run({**CHECK, "operation": "like"}, "in seoul today").reward == 1


def test_references_go_down_by_names_and_numbers(run):
    grader = {
        **CHECK,
        "operation": "eq",
        "input": "{{sample.output_json.cities[1].name}}",
        "reference": "{{item.a[0]}}!",
    }
    found = run(grader, '{"cities": [{}, {"name": "Busan!"}]}', {"a": ["Busan"]})
    assert found.reward == 1 and not any(found.metadata.errors.model_dump(exclude_none=True).values())
    assert run(grader, "no JSON", {"a": ["Busan"]}).metadata.errors.sample_parse_error
    missing = run(grader, '{"cities": [{}, {"name": "x"}]}', {"b": 1})
    assert missing.reward == 0 and missing.metadata.errors.invalid_variable_error
    assert (
        template.filled("{{item.x}} {{item}}", {}, {"x": "{{item.y}}"}) == '{{item.y}} {"x": "{{item.y}}"}'
    )  # filled once


def rouge_by_counting(n, text, reference):
    """ROUGE-N's F1 by scikit-learn's n-grams."""
    counts = CountVectorizer(ngram_range=(n, n), token_pattern=r"\S+").fit_transform([text, reference]).toarray()
    shared, made, wanted = counts.min(axis=0).sum(), *counts.sum(axis=1)
    return 0.0 if not shared else 2 * (shared / made) * (shared / wanted) / (shared / made + shared / wanted)


def test_similarities_are_the_measures_that_they_are_named_for():
    text, reference = "the cat sat on the red mat", "the cat is on the mat"
    for n in range(1, 6):
        assert similarity(f"rouge_{n}", text, reference) == pytest.approx(rouge_by_counting(n, text, reference)), n
    assert similarity("rouge_l", text, reference) == pytest.approx(10 / 13)  # the cat on the mat: 5 of 7 and of 6
    # all n-grams: 7+6+5+4 = 22 and 6+5+4+3 = 18; shared: the cat on the mat, (the cat) (on the), none, none = 7
    assert similarity("gleu", text, reference) == pytest.approx(7 / 22)
    # precisions of n = 1..4: 5/7, 2/6, 0/5, 0/4; sacrebleu's exp smoothing makes the zeros 1/(2*5) and 1/(4*4); no brevity penalty
    assert similarity("bleu", text, reference) == pytest.approx((5 / 7 * 2 / 6 * 1 / 10 * 1 / 16) ** 0.25)
    assert similarity("fuzzy_match", "abcd", "abxd") == pytest.approx(0.75)  # 2 x 3 / 8
    one, other = LocalEmbeddings().embed_documents([text, reference])
    assert similarity("cosine", text, reference) == pytest.approx(sum(a * b for a, b in zip(one, other, strict=True)))
    assert similarity("rouge_1", "서울이요", "서울") == pytest.approx(2 * 0.5 * 1 / 1.5)  # a syllable is a token


def test_a_score_model_is_the_reward_models_number_within_its_range(run):
    tiny.judge()
    turns = [
        {"role": "user", "content": "{{item.answer}}?"},
        {"role": "assistant", "content": "{{sample.output_text}}"},
    ]
    grader = {"type": "score_model", "name": "rm", "model": "judge", "input": turns}
    expected = load_scorer("judge").score([{"role": "user", "content": "seoul?"}], "Seoul")
    assert run(grader).reward == pytest.approx(expected)
    assert run({**grader, "range": [expected + 1, expected + 2]}).reward == pytest.approx(expected + 1)
    with pytest.raises(openai.BadRequestError, match="scores nothing"):
        run({**grader, "model": "starter"})


def test_several_graders_are_one_number_by_their_formula(run):
    graders = {"same": {**CHECK, "operation": "ilike"}, "near": near("fuzzy_match")}
    found = run(
        {"type": "multi", "name": "both", "graders": graders, "calculate_output": "0.25 * same + max(near, 0.1) ** 2"}
    )
    assert found.sub_rewards == {"same": 1.0, "near": pytest.approx(0.8)} and found.reward == pytest.approx(0.25 + 0.64)
    broken = run({"type": "multi", "name": "both", "graders": graders, "calculate_output": "1 / (same - 1)"})
    assert broken.reward == 0 and broken.metadata.errors.formula_parse_error


@pytest.mark.parametrize("text", [
    "__import__('os')", "a.b", "a[0]", "[a]", "lambda: 1", "a if a else 1", "b", "min(a)", "exp(x=1)", "'a'", "a < 1", "9" * 200, "", "a +",
    "(" * 300 + "a" + ")" * 300, "-" * 100 + "a", "1e200", "True", "f(a)", "(a:=1)", "a\nb",
])  # fmt: skip
def test_a_formula_is_nothing_but_arithmetic(text):
    with pytest.raises(ValueError):
        formula.parsed(text, {"a"})


def test_a_formulas_value_is_pythons():
    text = "-(a - 2) ** 2 + b // 3 * 1.5 % 4 - abs(floor(b / 7)) + sqrt(exp(log(a)))"
    names = {"a": 5.0, "b": 11.0}
    functions = {"floor": math.floor, "exp": math.exp, "sqrt": math.sqrt, "log": math.log}
    assert formula.value(text, names) == pytest.approx(eval(text, {**functions, **names}))
    for bad in ("9 ** 9 ** 9", "1 / (a - 5)", "sqrt(-a)", "exp(b ** 5)"):
        with pytest.raises(ValueError):
            formula.value(bad, names)


BAD = [
    ({**CHECK, "operation": "same"}, "operation"), ({**CHECK, "operation": "eq", "input": "{{ item.__class__ | x }}"}, "refers to nothing"),
    ({**CHECK, "operation": "eq", "input": "{{sample.odd}}"}, "refers to nothing"), (near("meteor"), "WordNet"), ({"type": "odd"}, "type"),
    ({"type": "multi", "name": "m", "graders": {"a": near("bleu")}, "calculate_output": "a + c"}, "'c' may not"),
    ({"type": "python", "name": "p", "source": "def grade(sample, item): return 1"}, "--python-graders"),
]  # fmt: skip


@pytest.mark.parametrize(("grader", "said"), BAD, ids=[said for _, said in BAD])
def test_a_grader_that_cannot_be_is_refused_by_name(client, grader, said):
    for call in (
        client.fine_tuning.alpha.graders.validate,
        lambda **k: client.fine_tuning.alpha.graders.run(model_sample="x", **k),
    ):
        with pytest.raises(openai.BadRequestError, match=said):
            call(grader=grader)


def test_a_grader_that_can_be_comes_back_as_it_was(client):
    for grader in (
        near("rouge_l"),
        {"type": "multi", "name": "m", "graders": {"a": near("bleu")}, "calculate_output": "a"},
    ):
        assert client.fine_tuning.alpha.graders.validate(grader=grader).to_dict()["grader"] == grader


def test_a_program_grades_where_the_server_was_started_for_it(server_home):
    with live.serving(python_graders=True) as (url, _):
        run = live.client(url).fine_tuning.alpha.graders.run
        source = (
            "import re\ndef grade(sample, item):\n    return len(re.findall(item['of'], sample['output_text'])) / 4"
        )
        assert (
            run(grader={"type": "python", "name": "p", "source": source}, model_sample="abab", item={"of": "a"}).reward
            == 0.5
        )
        failed = run(
            grader={"type": "python", "name": "p", "source": "def grade(s, i): return 1 / 0"}, model_sample="x"
        )
    assert failed.reward == 0 and failed.metadata.errors.python_grader_runtime_error
    assert "ZeroDivisionError" in failed.metadata.errors.python_grader_runtime_error_details


ESCAPES = {
    "reads a file": "return len(open('/etc/hostname').read())",
    "writes a file": "return open('/tmp/grader-was-here', 'w').write('x')",
    "asks the network": "import socket; socket.create_connection(('127.0.0.1', 1)); return 1",
    "sees other processes": "import os; os.kill(os.getppid() or 1 / 0, 0); return 1",
    "fills memory": "return len(b'x' * 2**34)",
    "gives no number": "return 'x'",
    "gives no finite number": "return float('nan')",
    "leaves": "import os; os._exit(0)",
    "starts a program": "import subprocess; return subprocess.run(['/bin/true'], check=True).returncode",
}  # fmt: skip


@pytest.mark.parametrize("what", ESCAPES)
def test_a_program_has_nothing_but_its_arguments(what):
    with pytest.raises(program.Failed) as caught:
        program.reward(f"def grade(sample, item):\n    {ESCAPES[what]}", {}, {})
    assert caught.value.kind == "runtime"


def test_a_program_without_an_end_is_ended(monkeypatch):
    monkeypatch.setattr(program, "WALL_S", 1.0)
    with pytest.raises(program.Failed, match="longer than 1 s"):
        program.reward("import time\ndef grade(sample, item):\n    time.sleep(60)", {}, {})

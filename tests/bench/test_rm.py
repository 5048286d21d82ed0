"""The reward model's benchmark gives both sides the same rows, head and template."""

import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests import tiny
from tests.bench import rm, side_train

PEERS = "{%- for m in messages -%}{{- m['content'] + '<|end|>' -}}{{- '\n' -}}{%- endfor -%}{%- if add_generation_prompt -%}A{%- endif -%}"
ROW = {"prompt": "yes?", "responses": ["good", "maybe", "no"]}


@pytest.mark.parametrize("template", [PEERS, PEERS.replace("\n", "\\n")])
def test_a_conversation_ends_with_its_end_of_turn_token_on_both_sides(template):
    words = tiny.words()
    said = lambda how, **more: words.apply_chat_template(  # noqa: E731
        [{"role": "user", "content": text} for text in ("yes", "no")], chat_template=how, tokenize=False, **more
    )
    assert said(template) == "yes<|end|>\nno<|end|>\n"
    assert said(rm.ends_with_its_turn(template)) == "yes<|end|>\nno<|end|>"
    for how in (template, rm.ends_with_its_turn(template)):
        assert said(how, add_generation_prompt=True) == "yes<|end|>\nno<|end|>\nA"


def test_a_template_that_ends_so_already_stays():
    assert rm.ends_with_its_turn(tiny.words().chat_template) == tiny.words().chat_template


def test_our_side_learns_from_the_written_model(tmp_path):
    tiny.model().save_pretrained(tmp_path / "tiny")
    tiny.words().save_pretrained(tmp_path / "tiny")
    folder = rm.scalar(tmp_path / "tiny", tmp_path / "scalar")
    assert AutoModelForSequenceClassification.from_pretrained(folder).score.weight.abs().max() > 0
    assert AutoTokenizer.from_pretrained(folder).chat_template == tiny.words().chat_template
    batches = [[rm.ranking(ROW)] for _ in range(3)]
    assert [output["rank"] for output in batches[0][0]["outputs"]] == [1, 2, 3]
    found = side_train.load(
        {"stage": "rm", "folder": str(folder), "threads": 1, "dtype": "fp32", "batches": batches}
    ).run()
    assert len(found["losses"]) == 3 and found["losses"][2] < found["losses"][0]

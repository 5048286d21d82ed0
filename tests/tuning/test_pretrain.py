"""A tokenizer and a small GPT from plain text alone."""

import math

import pytest
import torch

from chains.errors import UsageError
from chains.models import registry
from tests import tiny
from tuning import base, pretrain, tokenizer

TEXT = "\n\n".join([*tiny.TEXTS, "Use <|end|> to end.", "하나 둘 셋 넷 다섯 여섯"] * 3)


def make(tmp_path, text=TEXT, **numbers):
    path = tmp_path / "corpus.txt"
    path.write_text(text, encoding="utf-8")
    usual = {
        "vocab_size": 300, "context": 32, "layers": 2, "width": 16, "heads": 2, "steps": 30, "batch_size": 8,
        "sequence": 16, "learning_rate": 1e-2,
    }  # fmt: skip
    return pretrain.Config(str(path), **{**usual, **numbers})


def curve(config):
    seen = []
    entry = pretrain.train(config, lambda progress: seen.append(progress.metrics["loss"]))
    return entry, seen


def test_the_loss_falls_from_that_of_a_model_that_knows_nothing(tmp_path):
    entry, seen = curve(make(tmp_path))
    assert seen[0] == pytest.approx(math.log(300), abs=0.1) and seen[-1] < 0.8 * seen[0]
    assert (entry.name, entry.kind, entry.meta["base"], entry.meta["parents"]) == ("starter", "chat", "starter", [])
    start = base.load("starter")
    assert (start.context, start.model.config.vocab_size, len(start.tokenizer)) == (32, 300, 300)


def test_the_same_seed_gives_the_same_model_and_another_takes_its_place(tmp_path):
    first = (pretrain.train(make(tmp_path)).path / "model.safetensors").read_bytes()
    assert (pretrain.train(make(tmp_path, name="again")).path / "model.safetensors").read_bytes() == first
    assert (pretrain.train(make(tmp_path, seed=1)).path / "model.safetensors").read_bytes() != first
    assert [entry.name for entry in registry.entries()] == ["again", "starter"]


def test_the_callers_random_stream_is_left_alone(tmp_path):
    torch.manual_seed(4)
    expected = torch.rand(2).tolist()
    torch.manual_seed(4)
    pretrain.train(make(tmp_path, steps=2))
    assert torch.rand(2).tolist() == expected


@pytest.mark.parametrize("text", ["여섯 명이 뛰어요 🏐\n  두 칸\t", "naïve <b> — 日本語", "\u0000\u00ad\ufeff", " "])
def test_any_text_goes_in_and_comes_out_the_same(text):
    words = tokenizer.train(tiny.TEXTS, 320, 32)
    assert words.decode(words.encode(text)) == text
    assert len(words) == 320 and words.encode("<|end|>") == [words.eos_token_id]


def test_documents_are_parted_by_empty_lines_and_ended_by_the_end_token(tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes("\ufeffone\r\ntwo\r\n\r\n\r\n 셋 \n\n \n\n".encode())
    texts = pretrain.documents(str(path))
    assert texts == ["one\ntwo", "셋"]
    words = tiny.words()
    end = words.eos_token_id
    expected = [*words.encode("one\ntwo"), end, *words.encode("셋"), end]
    assert pretrain.token_stream(texts, words).tolist() == expected


def test_a_control_token_inside_a_document_stays_text(capfd):
    words = tiny.words()
    stream = pretrain.token_stream(["say <|end|>", "yes " * 200], words)
    assert stream.tolist().count(words.eos_token_id) == 2
    assert words.decode(stream[:-1]).startswith("say <|end|><|end|>yes")
    assert capfd.readouterr() == ("", "")  # a document may be longer than the context


def test_windows_are_whole_pieces_of_the_stream_and_reach_both_ends():
    stream = torch.arange(100, 110)
    windows = pretrain.windows(stream, 200, 8, seed=1)
    assert windows.shape == (200, 9)
    assert {tuple(window) for window in windows.tolist()} == {tuple(range(100, 109)), tuple(range(101, 110))}
    assert torch.equal(pretrain.windows(stream, 200, 8, seed=1), windows)
    assert not torch.equal(pretrain.windows(stream, 200, 8, seed=2), windows)


def test_a_fresh_model_has_gpt2s_weights(tmp_path):
    model = pretrain.new_model(make(tmp_path, layers=8, width=64, heads=4), tiny.words())
    blocks = [(name, p.std().item()) for name, p in model.named_parameters() if p.ndim > 1]
    for name, std in blocks:
        expected = 0.02 / math.sqrt(2 * 8) if name.endswith("c_proj.weight") else 0.02
        assert std == pytest.approx(expected, rel=0.1), name


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ({"width": 15}, "width=15 is not a multiple of heads=2; try 16"),
        ({"sequence": 33}, "sequence=33 is longer than context=32; lower the one or raise the other"),
        ({"vocab_size": 299}, "vocab_size=299 cannot be used; expected a number of at least 300"),
        ({"name": "My Model"}, "'My Model' cannot name a model; "),
        ({"text": ""}, "{path} holds 0 tokens, fewer than one sequence of 16; add text"),
        ({"text": "short\n\n"}, "{path} holds "),
    ],
)
def test_sizes_and_texts_that_do_not_fit_are_refused(tmp_path, numbers, sentence):
    config = make(tmp_path, **numbers)
    with pytest.raises(UsageError) as caught:
        pretrain.train(config)
    assert str(caught.value).startswith(sentence.format(path=config.text))
    assert registry.entries() == []


def test_a_text_that_is_not_utf8_is_refused(tmp_path):
    config = make(tmp_path)
    (tmp_path / "corpus.txt").write_bytes("한글".encode("euc-kr"))
    with pytest.raises(UsageError) as caught:
        pretrain.train(config)
    assert str(caught.value) == f"{config.text} is not UTF-8 (byte 0); save it as UTF-8 and try again"

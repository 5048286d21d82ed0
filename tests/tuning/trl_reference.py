"""What TRL makes of a batch, run by its own Python: `trl_reference.py dpo|ppo FOLDER` reads FOLDER and writes FOLDER/theirs.pt.

Nothing of the product is imported. The trainers are TRL's own; what they computed is read where they hand it on: DPO's loss from
`compute_loss`, PPO's advantages and losses from the frame that calls `backward`.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

COMMON = {
    "use_cpu": True, "bf16": False, "save_strategy": "no", "report_to": "none", "disable_tqdm": True,
    "gradient_checkpointing": False, "dataloader_pin_memory": False,
}  # fmt: skip


def gradients(model):
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def dpo(folder):
    from trl import DPOConfig, DPOTrainer

    rows = json.loads((folder / "rows.json").read_text())
    policy, reference = (AutoModelForCausalLM.from_pretrained(folder / name) for name in ("policy", "reference"))
    config = DPOConfig(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=len(rows), beta=0.3, max_length=None, **COMMON
    )
    trainer = DPOTrainer(
        policy, reference, args=config, train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder / "policy"),
    )  # fmt: skip
    batch = trainer.data_collator([trainer.train_dataset[n] for n in range(len(rows))])
    trainer.model.eval()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return {
        "ids": batch["input_ids"],
        "mask": batch["completion_mask"],
        "loss": loss.detach(),
        "grads": gradients(policy),
    }


def ppo(folder):
    import trl.experimental.ppo.ppo_trainer as module
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    prompts = json.loads((folder / "prompts.json").read_text())
    policy, reference = (AutoModelForCausalLM.from_pretrained(folder / name) for name in ("policy", "reference"))
    reward, value = (
        AutoModelForSequenceClassification.from_pretrained(folder / name, num_labels=1) for name in ("reward", "value")
    )
    words = AutoTokenizer.from_pretrained(folder / "policy", padding_side="left")
    config = PPOConfig(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=len(prompts), gradient_accumulation_steps=1,
        num_mini_batches=1, num_ppo_epochs=2, total_episodes=len(prompts), response_length=6, temperature=1.0,
        kl_coef=0.3, kl_estimator="k1", gamma=1.0, lam=0.9, vf_coef=1.0, cliprange=0.02, cliprange_value=0.02, learning_rate=1e-4,
        missing_eos_penalty=None, whiten_rewards=False, num_sample_generations=0, stop_token="eos", **COMMON,
    )  # fmt: skip
    trainer = PPOTrainer(
        args=config, processing_class=words, model=policy, ref_model=reference, reward_model=reward, value_model=value,
        train_dataset=Dataset.from_list([{"input_ids": ids} for ids in prompts]),
    )  # fmt: skip
    found, backward = {"epochs": []}, trainer.accelerator.backward

    def heard(loss, **kwargs):
        seen = sys._getframe(1).f_locals
        backward(loss, **kwargs)
        names = (
            "mb_advantage",
            "mb_return",
            "mb_values",
            "mb_logprobs",
            "new_logprobs",
            "vpred",
            "mb_query_responses",
            "pg_loss",
            "vf_loss",
        )
        one = {name: seen[name].detach().clone() for name in names}
        one["reference"] = seen["ref_logprobs"][seen["micro_batch_inds"]].clone()
        one["scores"] = seen["scores"][seen["micro_batch_inds"]].clone()
        one["grads"] = {"policy": gradients(policy), "value": gradients(value)}
        found["epochs"].append(one)

    trainer.accelerator.backward = heard
    assert module.PPOTrainer is PPOTrainer
    trainer.train()
    return found


if __name__ == "__main__":
    task, place = sys.argv[1], Path(sys.argv[2])
    torch.manual_seed(0)
    torch.save({"dpo": dpo, "ppo": ppo}[task](place), place / "theirs.pt")

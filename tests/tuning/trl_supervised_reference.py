"""The other side of test_trl_supervised_peer: TRL's own trainers say the loss of one batch and leave its gradients in a file.

Runs in TRL's environment, where nothing of this project is: `python trl_supervised_reference.py JOB.json`, which names the stage, the model's folder,
the rows and the file to write.
"""

import json
import os
import sys
import tempfile

os.environ |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"}

import torch
from datasets import Dataset
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl import RewardConfig, RewardTrainer, SFTConfig, SFTTrainer


def trainer(job, tokenizer):
    count = len(job["rows"])
    plain = {
        "output_dir": tempfile.mkdtemp(), "per_device_train_batch_size": count, "max_length": 512, "bf16": False, "use_cpu": True,
        "gradient_checkpointing": False, "report_to": "none", "save_strategy": "no", "disable_tqdm": True,
    }  # fmt: skip
    rows = Dataset.from_list(job["rows"])
    if job["stage"] == "sft":
        model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
        made = SFTConfig(**plain, assistant_only_loss=True, packing=job["packing"])
        return SFTTrainer(model=model, args=made, train_dataset=rows, processing_class=tokenizer)
    model = AutoModelForSequenceClassification.from_pretrained(job["model"], num_labels=1, dtype=torch.float32)
    made = RewardConfig(**plain, disable_dropout=True)
    return RewardTrainer(model=model, args=made, train_dataset=rows, processing_class=tokenizer)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    tokenizer.chat_template = job["template"]
    made = trainer(job, tokenizer)
    batch = next(iter(made.get_train_dataloader()))
    made.model.train()
    loss = made.compute_loss(made.model, dict(batch))
    loss.backward()
    save_file({name: p.grad.contiguous() for name, p in made.model.named_parameters()}, job["out"])
    print(json.dumps({"loss": loss.item(), "rows": len(batch["input_ids"])}))


main()

"""Every kind of model can be made again from its own record, to the bit; and what has changed meanwhile is said."""

import dataclasses
import json
import shutil

import pytest

from apps.cli import main
from chains.errors import UsageError
from chains.models import registry
from tests import tiny
from tuning import dpo, grpo, ppo, pretrain, reproduce, reward, sft

WORDS = ("yes", "no", "maybe", "good")


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """A home with one model of each method, the later ones made from the earlier; their names by method."""
    folder = tmp_path_factory.mktemp("family")
    text = folder / "text.txt"
    text.write_text("\n\n".join(f"{word}? {word}!" for word in WORDS * 40))
    data = tiny.write(folder / "d.jsonl", [tiny.chat(f"{word}?", f"{word}!") for word in WORDS])
    ranked = tiny.write(
        folder / "r.jsonl", [tiny.ranking(f"{word}?", ["good", "bad", "no"], [1, 2, 3]) for word in WORDS]
    )
    small = {"iterations": 2, "minibatch_size": 4, "max_tokens": 4, "seed": 5}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAINTUNE_HOME", str(folder / "home"))
        sizes = {"vocab_size": 300, "context": 64, "layers": 1, "width": 16, "heads": 2, "sequence": 16}
        base = pretrain.train(pretrain.Config(str(text), "small", steps=3, batch_size=2, seed=5, **sizes)).name
        made = sft.train(sft.Config(base, data, epochs=2, batch_size=2, dropout=0.2, seed=5)).name
        judge = reward.train(reward.Config(made, ranked, batch_size=2, seed=5)).name
        names = {
            "pretrain": base,
            "sft": made,
            "rm": judge,
            "ppo": ppo.train(ppo.Config(made, judge, data, batch_size=4, **small)).name,
            "dpo": dpo.train(dpo.Config(made, ranked, batch_size=2, seed=5)).name,
            "grpo": grpo.train(grpo.Config(made, data, rule="f1", batch_size=2, group_size=2, **small)).name,
        }
    return folder, names


@pytest.fixture
def names(family, home):
    """The models in a home of the test's own."""
    folder, made = family
    shutil.copytree(folder / "home" / "models", home / "models")
    return made


def changed(name, **facts):
    """Change what the record of a model says."""
    path = registry.find(name).path / registry.META
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


@pytest.mark.parametrize("method", ["pretrain", "sft", "rm", "ppo", "dpo", "grpo"])
def test_a_model_is_made_again_to_the_bit(names, method):
    made = reproduce.train(names[method])
    assert made.identical and made.differences == []
    assert made.again.name not in names.values()
    assert made.again.name == "small-again" or made.again.name.split(":")[3] == names[method].split(":")[3]
    weights = [(entry.path / "model.safetensors").read_bytes() for entry in (made.original, made.again)]
    assert weights[0] == weights[1]
    assert made.again.meta["parents"] == made.original.meta["parents"]


def test_another_seed_is_another_model(names):
    changed(names["sft"], config={**registry.find(names["sft"]).meta["config"], "seed": 6})
    assert not reproduce.train(names["sft"]).identical


def test_the_second_copy_of_a_pretrained_model_has_a_name_too(names):
    assert [reproduce.train("small").again.name for _ in range(2)] == ["small-again", "small-again2"]


def test_changed_or_missing_data_is_refused_before_anything_is_trained(names, family, tmp_path):
    config = registry.find(names["sft"]).meta["config"]
    copy = tmp_path / "copy.jsonl"
    shutil.copy(config["data"], copy)
    known = registry.find(names["sft"]).meta["data"][config["data"]]
    changed(names["sft"], config={**config, "data": str(copy)}, data={str(copy): known})
    assert reproduce.train(names["sft"]).identical
    copy.write_text(copy.read_text() + "\n")
    count = len(registry.entries())
    with pytest.raises(UsageError, match=rf"{copy} has changed since '{names['sft']}' was made from it"):
        reproduce.train(names["sft"])
    copy.unlink()
    with pytest.raises(UsageError, match=rf"was made from {copy}, which is not there; put it back"):
        reproduce.train(names["sft"])
    assert len(registry.entries()) == count


def test_a_parent_that_is_another_or_gone_is_refused(names, home):
    again = registry.find(names["sft"]).path / "model.safetensors"
    again.write_bytes((registry.find(names["dpo"]).path / "model.safetensors").read_bytes())
    with pytest.raises(UsageError, match=rf"'{names['sft']}' has other weights than when '{names['grpo']}' was made"):
        reproduce.train(names["grpo"])
    registry.remove(names["sft"])
    with pytest.raises(UsageError, match=f"no model '{names['sft']}'"):
        reproduce.train(names["grpo"])


def test_what_was_not_trained_by_a_record_is_refused(names):
    tiny.starter("bare")
    with pytest.raises(UsageError, match=r"'bare' was not trained here"):
        reproduce.train("bare")
    meta = registry.find(names["grpo"]).meta
    config = dataclasses.replace(grpo.Config(**meta["config"]), rule=None, iterations=1)

    def short(row, answer):
        return -float(len(answer))

    entry = grpo.train(config, rewards=[short])
    with pytest.raises(UsageError, match=r"learned from reward functions of a program \(.*short\); run that program"):
        reproduce.train(entry.name)
    changed(names["sft"], config={**registry.find(names["sft"]).meta["config"], "new_option": 1})
    with pytest.raises(UsageError, match=r"made with options that this version does not have \(new_option\)"):
        reproduce.train(names["sft"])


def test_the_command_says_what_differs_and_whether_the_weights_do(names, capsys, monkeypatch):
    name = names["dpo"]
    changed(name, versions={**registry.find(name).meta["versions"], "torch": "1.0"})
    monkeypatch.setenv("CHAINTUNE_LANG", "ko")
    assert main(["models", "reproduce", name]) == 0
    said = capsys.readouterr()
    assert said.err.startswith("torch: 모델을 만들 때는 1.0, 지금은 2.")
    assert said.out.endswith(f"의 가중치는 {name}과(와) 비트까지 같습니다\n")
    changed(name, config={**registry.find(name).meta["config"], "beta": 0.5})
    assert main(["models", "reproduce", name, "--lang", "en", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["original"], found["identical"]) == (name, False)
    assert [each["what"] for each in found["differences"]] == ["torch"]
    assert registry.find(found["name"]).meta["method"] == "dpo"

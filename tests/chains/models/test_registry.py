"""The models on this machine: names, one atomic appearance, and one sentence for whatever cannot be."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chains.errors import MachineError, UsageError
from chains.home import models_dir
from chains.models import registry
from chains.models.registry import Entry

ROOT = Path(__file__).parents[3]


def make(name, text="weights", **meta):
    with registry.publish(name, meta) as folder:
        (folder / "model.safetensors").write_text(text)
    return registry.find(name)


def listed():
    return [entry.name for entry in registry.entries()]


def test_a_published_model_is_found_by_its_name():
    entry = make("ft:starter:local:sky:ab12cd34", method="sft", note="한국어")
    assert entry.path == models_dir() / "ft--starter--local--sky--ab12cd34"
    assert entry.source == str(entry.path) and entry.kind == "chat"
    assert entry.meta == {"name": entry.name, "method": "sft", "note": "한국어"}
    assert registry.entries() == [entry]
    assert sorted(path.name for path in entry.path.iterdir()) == ["meta.json", "model.safetensors"]


def test_entries_are_sorted_and_hold_nothing_unfinished():
    for name in ("zebra", "ft:a:local::x1", "alpha"):
        make(name)
    (models_dir() / ".half").mkdir()
    (models_dir() / ".half" / "meta.json").write_text("{}")
    (models_dir() / "no-meta").mkdir()
    (models_dir() / "file").write_text("x")
    assert listed() == ["alpha", "ft:a:local::x1", "zebra"]


def test_a_name_published_again_is_the_new_model():
    make("starter", "old")
    make("starter", "new", seed=2)
    assert (registry.find("starter").path / "model.safetensors").read_text() == "new"
    assert registry.find("starter").meta["seed"] == 2 and listed() == ["starter"]


def test_a_failing_publish_leaves_nothing():
    make("starter", "old")
    for name in ("starter", "other"):
        with pytest.raises(RuntimeError), registry.publish(name, {}) as folder:
            (folder / "model.safetensors").write_text("half")
            raise RuntimeError
    assert [path.name for path in models_dir().iterdir()] == ["starter"]
    assert (registry.find("starter").path / "model.safetensors").read_text() == "old"


KILLED = """
import os, signal, sys
from chains.models import registry

with registry.publish(sys.argv[1], {}) as folder:
    (folder / "model.safetensors").write_text("half")
    (folder / "meta.json").write_text("{}")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_publish_lists_nothing():
    make("starter", "old")
    for name in ("starter", "ft:starter:local:x:y"):
        done = subprocess.run([sys.executable, "-c", KILLED, name], env={**os.environ, "PYTHONPATH": str(ROOT)})
        assert done.returncode == -signal.SIGKILL
    assert listed() == ["starter"]
    assert (registry.find("starter").path / "model.safetensors").read_text() == "old"
    make("ft:starter:local:x:y")
    assert listed() == ["ft:starter:local:x:y", "starter"]


@pytest.mark.parametrize(
    "name", ["", "Upper", "a b", "a/b", "../up", ".hidden", "a--b", "a:", ":a", "ft:a:local:-s:x", "한글", "a\n", "a\0"]
)
def test_a_name_with_odd_characters_is_refused(name):
    for ask in (registry.folder, registry.find, registry.remove, lambda name: registry.add(name, "org/model")):
        with pytest.raises(UsageError, match="cannot name a model; use lower-case letters, digits"):
            ask(name)
    with pytest.raises(UsageError), registry.publish(name, {}):
        pass
    assert listed() == []


@pytest.mark.parametrize("name", ["starter", "qwen2.5-0.5b", "a_b", "ft:base:local:suffix:id", "ft:base:local::id"])
def test_a_plain_name_and_a_tuned_one_are_names(name):
    assert registry.folder(name) == models_dir() / name.replace(":", "--")


def test_a_model_that_is_not_there_is_named_with_the_nearest():
    with pytest.raises(UsageError) as caught:
        registry.find("ft:x:local:sft:1")
    assert str(caught.value) == "no model 'ft:x:local:sft:1'; none is registered yet. See: chaintune models list"
    make("rm-1"), make("sft-kor")
    with pytest.raises(UsageError) as caught:
        registry.find("sft-ko")
    assert str(caught.value) == (
        "no model 'sft-ko'; have 'rm-1', 'sft-kor'; did you mean 'sft-kor'? See: chaintune models list"
    )
    with pytest.raises(UsageError, match="run `chaintune demo`, which makes it in a minute"):
        registry.find("starter")


def test_a_new_name_is_of_the_root_base_and_never_the_same():
    names = {registry.new_name("ft:qwen3-0.6b:local:first:abcdefgh", "second") for _ in range(50)}
    assert len(names) == 50
    assert all(re.fullmatch(r"ft:qwen3-0\.6b:local:second:[a-z0-9]{8}", name) for name in names)
    assert registry.new_name("starter", "").startswith("ft:starter:local::")
    assert listed() == []


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("starter", "starter"),
        ("hf:Qwen/Qwen3-0.6B", "qwen3-0.6b"),
        ("hf:/models/My Model/", "my-model"),
        ("ft:starter:local:x:1", "starter"),
        ("hf:org/a--b__c", "a-b__c"),
        ("hf:org/한글", "model"),
    ],
)
def test_the_root_base_is_a_slug(name, slug):
    assert registry.root_base(name) == slug
    registry.folder(registry.new_name(name, "x"))


@pytest.mark.parametrize("suffix", ["Sky", "a b", "a:b", "a--b", "-a", "x" * 65])
def test_a_suffix_with_odd_characters_is_refused(suffix):
    with pytest.raises(UsageError, match=r"^suffix .* is not usable; use up to 64 lower-case letters"):
        registry.new_name("starter", suffix)


def hf_folder(path, architecture="LlamaForCausalLM"):
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    (path / "model.safetensors").write_text("weights")
    return path


def test_an_added_model_points_to_its_folder_and_removing_it_leaves_that(tmp_path, monkeypatch):
    source = hf_folder(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    entry = registry.add("mine", "./mine")
    assert (entry.source, entry.kind, entry.meta["method"]) == (str(source), "chat", "added")
    assert registry.find("mine") == entry and listed() == ["mine"]
    registry.remove("mine")
    assert listed() == [] and list(models_dir().iterdir()) == []
    assert (source / "model.safetensors").read_text() == "weights"


def test_an_added_reward_model_and_a_hub_id_keep_their_kind(tmp_path):
    scores = hf_folder(tmp_path / "judge", "GPT2ForSequenceClassification")
    assert registry.add("judge", str(scores)).kind == "reward"
    hub = registry.add("small", "Qwen/Qwen3-0.6B")
    assert (hub.kind, hub.source) == ("chat", "Qwen/Qwen3-0.6B")


def test_what_cannot_be_added_is_told_in_one_sentence(tmp_path):
    make("taken")
    (tmp_path / "empty").mkdir()
    refused = [
        ("taken", "org/model", "the name 'taken' is taken; choose another, or run: chaintune models rm taken"),
        ("ft:a", "org/model", "'ft:a' starts like a model made elsewhere; choose a plain name"),
        ("new", str(tmp_path / "empty"), "is not a Hugging Face model folder: it has no config.json"),
        ("new", str(tmp_path / "nowhere"), "there is no folder .*nowhere, and it is no hub id such as 'org/model'"),
        ("new", "a/b/c", "there is no folder a/b/c, and it is no hub id such as 'org/model'"),
    ]
    for name, source, sentence in refused:
        with pytest.raises(UsageError, match=sentence):
            registry.add(name, source)
    assert listed() == ["taken"]


def test_a_removed_model_is_gone():
    make("one"), make("two")
    registry.remove("one")
    assert listed() == ["two"] and [path.name for path in models_dir().iterdir()] == ["two"]
    with pytest.raises(UsageError, match="no model 'one'"):
        registry.remove("one")


@pytest.mark.parametrize("text", ["{", "", '["a"]', "\ufeff{}"])
def test_damaged_metadata_is_named_with_a_way_out(text):
    entry = make("broken")
    (entry.path / "meta.json").write_text(text, encoding="utf-8")
    for ask in (registry.entries, lambda: registry.find("broken")):
        with pytest.raises(MachineError) as caught:
            ask()
        assert str(caught.value).startswith(f"{entry.path / 'meta.json'} is damaged (")
        assert str(caught.value).endswith(f"; remove the folder {entry.path} and make the model again")


def test_metadata_is_utf8_in_any_locale(tmp_path):
    script = (
        "from chains.models import registry\n"
        "with registry.publish('ko', {'note': '\\ud55c'}): pass\n"
        "assert registry.find('ko').meta['note'] == '\\ud55c'\n"
        "assert registry.entries()[0].meta['note'] == '\\ud55c'\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert registry.find("ko") == Entry("ko", models_dir() / "ko", {"name": "ko", "note": "한"})

"""The sample apps, run with models whose answers are known, and the superhero's tuning with a model too small to be any good."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

from apps.cli import main
from apps.samples import LANGUAGES, SAMPLES, answer_json, find, movies, perfect_day, superhero, translate
from apps.samples.hobanne import app as hobanne
from chains import ModelError, UsageError, runs
from chains.models import registry


class Scripted(BaseChatModel):
    """A chat model that answers from a list and keeps what it was asked."""

    answers: list[str]
    asked: list[str] = Field(default_factory=list)

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        self.asked.append("\n".join(m.text for m in messages))
        text = self.answers[len(self.asked) - 1]
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])

    @property
    def _llm_type(self):
        return "scripted"


def run(name, model, inputs=None, language="en"):
    """Return what the sample returned and the lines it said."""
    lines = []
    return find(name).run(model, inputs or {}, lines.append, language), lines


def test_the_list_of_samples_loads_no_model_library():
    heavy = ["torch", "transformers", "langchain_core", "chromadb", "streamlit"]
    code = f"import sys, apps.samples; print([m for m in {heavy} if m in sys.modules])"
    root = Path(__file__).parents[2]
    printed = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_every_sample_is_described_and_has_defaults_in_both_languages(sample):
    assert all(sample.about[language] for language in LANGUAGES)
    assert all(text for language in LANGUAGES for text in sample.defaults(language).values())


def test_perfect_day_asks_for_the_city_and_gives_back_the_answer():
    llm = Scripted(answers=["Bread by the river."])
    assert perfect_day.chain(llm, "en").run("Paris") == "Bread by the river."
    assert llm.asked == ["Describe a perfect day in Paris."]


def test_perfect_day_says_the_prompt_and_the_answer():
    result, lines = run("perfect-day", "fake:바다를 걷습니다.", {"city": "강릉"}, "ko")
    assert result == {"city": "강릉", "text": "바다를 걷습니다."}
    assert lines == ["> 강릉에서 보내는 완벽한 하루를 이야기해 주세요.", "바다를 걷습니다."]


def test_movies_asks_for_films_of_the_genre_that_the_first_chain_named():
    llm = Scripted(answers=["western", "The Long Road"])
    assert movies.chain(llm, "en").run("dust and horses") == "The Long Road"
    assert "dust and horses" in llm.asked[0] and "genre" in llm.asked[0]
    assert "films of this genre: western." in llm.asked[1] and "dust" not in llm.asked[1]


def test_movies_shows_both_steps(capsys):
    result, lines = run("movies", "fake:코미디|웃는 배", {"mood": "심심함"}, "ko")
    assert result == {"mood": "심심함", "films": "웃는 배"}
    assert lines == ["> 심심함"]
    printed = capsys.readouterr().out
    assert printed.index("코미디") < printed.index("웃는 배")


def test_answer_json_sends_its_braces_as_text():
    llm = Scripted(answers=['{"answer": 7}'])
    assert answer_json.chain(llm, "en").invoke({"question": "3 + 4?"}) == {"answer": 7}
    assert '{"answer": "..."}' in llm.asked[0] and llm.asked[0].endswith("Question: 3 + 4?")


def test_answer_json_takes_json_out_of_a_code_block(tmp_path):
    script = tmp_path / "answers.json"
    script.write_text(json.dumps(['```json\n{"answer": "서울"}\n```']))
    result, lines = run("answer-json", f"fake:@{script}", {"question": "한국의 수도는?"}, "ko")
    assert result == {"question": "한국의 수도는?", "answer": "서울"}
    assert lines == ["한국의 수도는?\n서울"]


@pytest.mark.parametrize(
    "said",
    [
        pytest.param("It is Paris, of course.", id="words instead of JSON"),
        pytest.param('{"capital": "Paris"}', id="an object without the key"),
        pytest.param('"the answer is Paris"', id="JSON but no object"),
    ],
)
def test_answer_json_says_what_the_model_said_instead(tmp_path, said):
    script = tmp_path / "answers.json"
    script.write_text(json.dumps([said]))
    with pytest.raises(ModelError, match="larger model") as caught:
        run("answer-json", f"fake:@{script}")
    assert "Paris" in str(caught.value)


@pytest.mark.parametrize(
    ("sign", "shots", "expected"),
    [
        pytest.param("=>", 0, "Translate English to French:\na cat =>", id="GPT-3 zero-shot"),
        pytest.param("=>", 1, "Translate English to French:\ngood evening => bonsoir\na cat =>", id="GPT-3 one-shot"),
        pytest.param(
            "=",
            3,
            "good evening = bonsoir\na red bicycle = un vélo rouge\nthe cup of coffee = la tasse de café\na cat =",
            id="GPT-2 has no task in words",
        ),
    ],
)
def test_translate_shows_as_many_examples_as_shots(sign, shots, expected):
    assert translate.translation(sign, shots, "en").format(sentence="a cat") == expected


def test_translate_keeps_the_first_line_of_each_answer(tmp_path):
    script = tmp_path / "answers.json"
    script.write_text(json.dumps([" un chat\na dog => un chien", "le chat", "chat", "A cat came.\nMore."]))
    result, lines = run("translate", f"fake:@{script}", {"sentence": "a cat", "sign": "=", "story": "A cat came in."})
    assert result["translations"] == {"0": "un chat", "1": "le chat", "3": "chat"}
    assert result["summary"] == "A cat came."
    assert lines[0] == "a cat = un chat\n"
    assert runs.recent()[0].messages[0]["content"] == "A cat came in.\n\nTL;DR:"


def test_translate_refuses_an_unknown_sign():
    with pytest.raises(UsageError, match="sign '->' is unknown; use '='"):
        run("translate", "fake:x", {"sign": "->"})


def test_a_misspelt_sample_is_refused_with_the_near_name():
    with pytest.raises(UsageError, match="did you mean 'movies'"):
        find("movie")


def test_a_misspelt_input_is_refused_with_the_near_name_before_the_model_loads():
    with pytest.raises(UsageError, match="no input 'citty'; it takes: city; did you mean 'city'"):
        run("perfect-day", "no-such-model", {"citty": "Rome"})


@pytest.mark.parametrize("language", ["fr", ""])
def test_an_unknown_language_is_refused(language):
    with pytest.raises(UsageError, match="use 'ko' or 'en'"):
        run("perfect-day", "fake:x", language=language)


def test_an_empty_input_is_refused():
    with pytest.raises(UsageError, match="'city' is empty"):
        run("perfect-day", "fake:x", {"city": "  "})


@pytest.mark.parametrize("model", ["fake:x", "openai:gpt-4o-mini"])
def test_superhero_refuses_a_model_whose_weights_are_not_here(model):
    with pytest.raises(UsageError, match="cannot be tuned on this machine"):
        run("superhero", model)


def test_superhero_without_training_asks_the_model_as_it_is():
    result, lines = run("superhero", "fake:키가 큽니다.", {"age": "30세", "train": "no"}, "ko")
    assert result == {
        "prompt": "30세, 여자, 바람 조종 ->",
        "description": "키가 큽니다.",
        "model": "fake:키가 큽니다.",
        "in_training_data": False,
    }
    assert lines[0].startswith("표에 없는 영웅입니다")
    assert runs.recent()[0].messages == [{"role": "user", "content": "30세, 여자, 바람 조종 ->"}]


def test_superhero_says_when_the_hero_is_one_of_the_table():
    result, lines = run("superhero", "fake:x", {"age": "20", "sex": "man", "power": "teleport", "train": "no"})
    assert result["in_training_data"] is True
    assert lines[0].startswith("This hero is in the table")


def test_superhero_refuses_an_unclear_train():
    with pytest.raises(UsageError, match="use 'yes' to fine-tune first or 'no'"):
        run("superhero", "fake:x", {"train": "maybe"})


def test_the_default_heroes_are_not_in_the_table():
    table = superhero.TABLE.read_text(encoding="utf-8")
    for language in LANGUAGES:
        hero = find("superhero").defaults(language)
        assert f"{hero['age']}, {hero['sex']}, {hero['power']} ->" not in table


def test_superhero_tunes_the_model_and_asks_the_tuned_one(home, tmp_path):
    from tuning import pretrain

    corpus = tmp_path / "corpus.txt"
    corpus.write_text(superhero.TABLE.read_text(encoding="utf-8") * 2, encoding="utf-8")
    tiny = {"vocab_size": 600, "context": 512, "layers": 1, "width": 32, "heads": 2, "steps": 2, "sequence": 32}
    pretrain.train(pretrain.Config(text=str(corpus), name="tiny", **tiny))

    result, lines = run("superhero", "tiny")

    rows = [
        json.loads(line) for line in (home / "samples" / "superhero.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert len(rows) >= 40
    assert rows[0]["messages"][0] == {"role": "user", "content": "17, woman, flight ->"}
    assert rows[-1]["messages"][1]["content"].startswith("귤 냄새가 나는 80세 할머니")
    assert registry.find(result["model"]).meta["parents"] == ["tiny"]
    assert result["model"].startswith("ft:tiny:local:superhero:")
    assert runs.recent()[0].model == result["model"]
    losses = [float(line.split()[-1]) for line in lines if "loss" in line]
    assert len(losses) >= 4 and losses[-1] < losses[0]


def test_data_chat_writes_the_rows_that_superhero_is_tuned_on(home, tmp_path):
    run("superhero", "fake:x", {"train": "no"})
    assert main(["data", "chat", str(superhero.TABLE), "--out", str(tmp_path / "heroes.jsonl")]) == 0
    assert (tmp_path / "heroes.jsonl").read_bytes() == (home / "samples" / "superhero.jsonl").read_bytes()


def test_data_chat_and_split_write_the_rows_that_hobanne_is_tuned_on(home, tmp_path):
    assert hobanne.training_rows() == home / "samples" / "hobanne.train.jsonl"
    file = tmp_path / "hobanne.jsonl"
    assert main(["data", "chat", str(hobanne.DATA / "qa.csv"), "--out", str(file)]) == 0
    assert main(["data", "split", str(file), "--fractions", "0.8,0.2"]) == 0
    for name, rows in (("hobanne.jsonl", 864), ("hobanne.train.jsonl", 692), ("hobanne.test.jsonl", 172)):
        made = (tmp_path / name).read_bytes()
        assert made == (home / "samples" / name).read_bytes() and made.count(b"\n") == rows


def test_data_prepare_finds_the_arrow_of_the_superheroes_table(tmp_path, capsys):
    table = tmp_path / "heroes.csv"
    table.write_bytes(superhero.TABLE.read_bytes())
    assert main(["data", "prepare", str(table), "--yes", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    rows = [json.loads(line) for line in (tmp_path / "heroes_prepared.jsonl").read_text().splitlines()]
    assert report["separator"] == " ->" and report["rows"] == [len(rows)]
    assert all(row["prompt"].endswith(" ->") and row["completion"].startswith(" ") for row in rows)


def test_hobanne_quotes_the_rulebook_and_says_whether_it_was_trained_on_the_question():
    result, lines = run("hobanne", "fake:상대 공입니다.", {"train": "no"}, "ko")
    assert result["answer"] == "상대 공입니다." and result["citations"][0]["source"] == "rulebook.ko.md"
    assert result["in_training_data"] is False and lines[0].startswith("학습하지 않은 질문입니다")
    learned = json.loads(hobanne.training_rows().read_text(encoding="utf-8").splitlines()[0])["messages"][0]["content"]
    assert run("hobanne", "fake:x", {"question": learned, "train": "no"})[0]["in_training_data"] is True

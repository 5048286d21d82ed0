"""Fine-tuning from start to end: a table, a JSONL file, a tuned model, and a chain that calls it.

The table has GPT-3's two columns: `prompt` ("35, woman, wind control ->") and `completion`, the text to write. Such data once needed
a mark where the prompt ends and another where the answer ends. A chat row does that by its turns, so we keep the arrow, which
shows the model the pattern, and need no end mark. The hero you ask for should not be one of the table: only then do you see what
the model learned and not what it remembers, and the sample says which of the two it is.

    chaintune sample superhero --model starter
    chaintune data chat apps/samples/superhero_data/heroes.csv --out heroes.jsonl      # its rows
"""

from collections.abc import Callable
from pathlib import Path

from langchain_core.prompts import PromptTemplate

from apps.samples.fine_tune import fine_tune, write_rows
from chains import LLMChain, UsageError, load_model
from tuning import formats

TABLE = Path(__file__).parent / "superhero_data" / "heroes.csv"
PROMPT = "{age}, {sex}, {power} ->"
WORDS = {
    "en": {
        "known": "This hero is in the table: the model may have it by heart.",
        "new": "This hero is not in the table: the model has never seen this prompt.",
    },
    "ko": {
        "known": "표에 있는 영웅입니다. 모델이 외워서 답할 수 있습니다.",
        "new": "표에 없는 영웅입니다. 모델이 처음 보는 프롬프트입니다.",
    },
}


def run(
    model: str, *, language: str, say: Callable[[str], None], age: str, sex: str, power: str, train: str
) -> dict[str, object]:
    """Return the prompt, the description and the model that wrote it; `train` 'no' asks `model` as it is."""
    if train not in ("yes", "no"):
        raise UsageError(f"train {train!r} is unknown; use 'yes' to fine-tune first or 'no' to ask the model as it is")
    words = WORDS[language]
    data = write_rows(TABLE, "superhero")
    name = fine_tune(model, data, "superhero", say, language, batch_size=8) if train == "yes" else model
    prompt = PROMPT.format(age=age, sex=sex, power=power)
    known = any(row["messages"][0]["content"] == prompt for row in formats.read_chat(data))
    say(words["known" if known else "new"])
    chain = LLMChain(llm=load_model(name), prompt=PromptTemplate.from_template(PROMPT))
    description = chain.run(age=age, sex=sex, power=power)
    say(f"{prompt} {description}")
    return {"prompt": prompt, "description": description, "model": name, "in_training_data": known}

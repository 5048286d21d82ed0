"""A task without training: show the model a pattern, and it goes on.

GPT-2 was asked to translate by lines like `english = french`, and to summarise by `TL;DR:` after a text (Radford et al. 2019,
sections 3.6 and 3.7). GPT-3 put the task in words first and wrote `english => french` below it, with no example (zero-shot), one
(one-shot) or several (few-shot) (Brown et al. 2020, figure 2.1). The same prompt with 0, 1 and 3 examples shows what they are worth.
The answer is the rest of the line, so only the first line counts.

    chaintune sample translate --model starter
"""

from collections.abc import Callable

from chains import FewShot, LLMChain, Prompt, UsageError, load_model

TASKS = {"en": "Translate English to French:", "ko": "한국어를 영어로 번역합니다:"}
EXAMPLES = {
    "en": [
        {"source": "good evening", "target": "bonsoir"},
        {"source": "a red bicycle", "target": "un vélo rouge"},
        {"source": "the cup of coffee", "target": "la tasse de café"},
    ],
    "ko": [
        {"source": "오늘은 비가 옵니다.", "target": "It is raining today."},
        {"source": "저는 매일 아침 빵을 먹습니다.", "target": "I eat bread every morning."},
        {"source": "우리는 어제 축구를 했습니다.", "target": "We played football yesterday."},
    ],
}


def translation(sign: str, shots: int, language: str) -> FewShot:
    """Return the prompt that shows `shots` examples; with the sign '=>' the task stands above them in words, with '=' it does not."""
    return FewShot(
        examples=EXAMPLES[language],
        template=f"{{source}} {sign} {{target}}",
        prefix=TASKS[language] if sign == "=>" else "",
        suffix=f"{{sentence}} {sign}",
        separator="\n",
        shots=shots,
    )


def run(
    model: str, *, language: str, say: Callable[[str], None], sentence: str, sign: str, story: str
) -> dict[str, object]:
    """Return the translation by number of examples, and the summary. Raises UsageError on another sign than '=' or '=>'."""
    if sign not in ("=", "=>"):
        raise UsageError(f"sign {sign!r} is unknown; use '=' as GPT-2 did or '=>' as GPT-3 did")
    llm = load_model(model)
    translations = {}
    for shots in (0, 1, 3):
        prompt = translation(sign, shots, language)
        translations[str(shots)] = _first_line(LLMChain(llm=llm, prompt=prompt).run(sentence))
        say(f"{prompt.format(sentence=sentence)} {translations[str(shots)]}\n")
    summary = _first_line(LLMChain(llm=llm, prompt=Prompt("{story}\n\nTL;DR:")).run(story))
    say(f"{story}\n\nTL;DR: {summary}")
    return {"sentence": sentence, "translations": translations, "summary": summary}


def _first_line(answer: str) -> str:
    return answer.strip().split("\n")[0]

"""The forms in which GPT-2 (Radford et al. 2019, section 3) was given its tasks, for models that only go on with a text.

    translation([("good day", "guten Tag")]).format(source="good night")      # good day = guten Tag\\ngood night =
    tldr().format(text=article)                                                # ...\\nTL;DR:
    answering([("Who wrote it?", "Ana.")]).format(text=document, question="When?")

A plain model goes on after the answer: end it with `.bind(stop=["\\n"])`.
"""

from collections.abc import Sequence

from chains.few_shot import FewShot
from chains.prompt import Prompt


def tldr() -> Prompt:
    """Return the prompt for a summary: the text, then TL;DR: (section 3.6)."""
    return Prompt("{text}\nTL;DR:")


def translation(pairs: Sequence[tuple[str, str]], shots: int | None = None) -> FewShot:
    """Return the prompt for a translation of `source`: lines of `source = translation`, then `source =` (section 3.7)."""
    examples = [{"source": source, "translation": translated} for source, translated in pairs]
    return FewShot(examples, "{source} = {translation}", suffix="{source} =", separator="\n", shots=shots)


def answering(pairs: Sequence[tuple[str, str]] = (), shots: int | None = None) -> FewShot:
    """Return the prompt for an answer out of `text`: the text, questions about it with their answers, then `question` and A: (section 3.5)."""
    examples = [{"question": question, "answer": answer} for question, answer in pairs]
    return FewShot(
        examples, "Q: {question}\nA: {answer}", prefix="{text}", suffix="Q: {question}\nA:", separator="\n", shots=shots
    )

"""Step 4: one of each chain, on the models just made."""

from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.output_parsers.json import SimpleJsonOutputParser
from langchain_core.prompts import PromptTemplate

from apps.demo.data import JSON_PROMPT, RAG_PROMPT
from apps.demo.models import MAX_TOKENS
from apps.samples.hobanne.table import Groups, split_label
from chains import Chatbot, FewShot, LLMChain, RetrievalChain, SequentialChain, SimpleSequentialChain, load_model, named


def tour(name: str, groups: Groups, library: Any, language: str) -> list[dict[str, str]]:
    """Return what each chain was given and what it made: {chain, input, output}."""
    llm = load_model(name, temperature=0, max_tokens=MAX_TOKENS)
    shown = [q for q in groups.demonstrations if q.language == language]
    unseen = [q for q in groups.unseen if q.language == language and q.fact not in groups.hidden]
    hidden = [q for q in groups.unseen if q.language == language and q.fact in groups.hidden]
    first, second, third = shown[0], shown[-1], unseen[0]
    made = []

    def tell(chain: str, given: str, answer: object) -> None:
        made.append({"chain": chain, "input": given, "output": str(answer)})

    answer = LLMChain(llm=llm, prompt=PromptTemplate.from_template("{question}"), output_key="answer")
    tell("LLMChain", third.text, answer.run(third.text))

    def article(answer: str) -> str:
        """Return the heading of the article that the answer names."""
        number = split_label(answer)[1]
        return f"{answer} = {_heading(library, number, language)}" if number else answer

    tell("SimpleSequentialChain", first.text, SimpleSequentialChain(chains=[answer, article]).run(first.text))
    both = SequentialChain(
        chains=[
            LLMChain(llm=llm, prompt="{first}", output_key="first_answer"),
            LLMChain(llm=llm, prompt="{second}", output_key="second_answer"),
            named(lambda first_answer, second_answer: f"{first_answer} / {second_answer}", "together"),
        ],
        input_variables=["first", "second"],
        output_variables=["first_answer", "second_answer", "together"],
    )
    tell(
        "SequentialChain",
        f"{first.text} / {second.text}",
        both.invoke({"first": first.text, "second": second.text})["together"],
    )
    json_chain = PromptTemplate.from_template(JSON_PROMPT) | llm | SimpleJsonOutputParser()
    try:
        parsed: object = json_chain.invoke({"question": first.text})
    except OutputParserException as error:
        parsed = f"no JSON: {error.llm_output}"
    tell("prompt | model | JSON parser", first.text, parsed)
    examples = [{"question": q.text, "answer": q.answer} for q in (first, second)]
    few = FewShot(examples=examples, template="{question}\n{answer}", suffix="{question}\n")
    tell("FewShot", third.text, LLMChain(llm=llm, prompt=few).run(third.text))
    retrieval = RetrievalChain(llm=llm, retriever=library.as_retriever(k=1), prompt=RAG_PROMPT)
    for question in (third, hidden[0]):
        found = retrieval.invoke({"question": question.text})
        tell("RetrievalChain", question.text, _with_quotes(found["answer"], found["citations"]))
    bot = Chatbot(llm, retriever=library.as_retriever(k=1), session="demo")
    bot.clear()
    reply = bot.ask(third.text)
    tell("Chatbot", third.text, _with_quotes(reply.text, reply.citations))
    return made


def _with_quotes(answer: str, citations: list[Any]) -> str:
    quoted = [f"«{c.quote}» ({c.source}, {c.start}–{c.end})" for c in citations[:1]]
    return " ".join([answer, *quoted])


def _heading(library: Any, number: int, language: str) -> str:
    mark = f"제{number}조" if language == "ko" else f"Rule {number}:"
    headings = (
        line.lstrip("# ") for line in library.text(f"rulebook.{language}.md").splitlines() if line.startswith("#")
    )
    return next((heading for heading in headings if heading.startswith(mark)), str(number))

"""Self-Instruct and Alpaca: what is asked, how it is read, what is refused."""

import random
from pathlib import Path

import pytest

from chains.errors import UsageError
from chains.models.fake import FakeChat
from tests import tiny
from tuning.generate import alpaca, instruct, seeds, self_instruct
from tuning.generate.ask import Asker, Reply
from tuning.generate.filters import instruction_fault, valid_instances
from tuning.generate.journal import Journal
from tuning.generate.rouge import Pool
from tuning.generate.seeds import Instance, Task

THEIRS = Path(__file__).parents[3] / "shared" / "data" / "alpaca" / "seed_tasks.jsonl"
ENGLISH, KOREAN = seeds.shipped("en"), seeds.shipped("ko")


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_shipped_seeds_are_different_of_both_kinds_and_pass_the_filters(language):
    tasks, pool = seeds.shipped(language), Pool()
    assert len(tasks) == 18 and sum(task.is_classification for task in tasks) == 5
    for task in tasks:
        assert instruction_fault(task.instruction, "alpaca", language) is None
        assert pool.near(task.instruction) is None
        assert list(task.instances) == valid_instances(task.instances)
        pool.add(task.instruction)


def test_self_instructs_own_seeds_are_read():
    if not THEIRS.exists():
        pytest.skip(f"the seed tasks of Self-Instruct are not at {THEIRS}")
    assert len(seeds.read(THEIRS)) == 175  # the paper's figure, section 3


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"instances": []}, ":8: instruction: is missing or no text"),
        ({"instruction": "x", "instances": []}, ":8: instances: is missing or empty"),
        ({"instruction": "x", "instances": [{"input": 3, "output": "y"}]}, r":8: instances\[0\]\.input: is no text"),
        ({"instruction": "x", "instances": [{"input": "", "output": " "}]}, r":8: instances\[0\]\.output: is missing"),
        (
            {"instruction": "x", "instances": [{"output": "y"}], "is_classification": 1},
            ":8: is_classification: 1 is neither",
        ),
    ],
)
def test_a_seed_that_is_none_is_named_by_its_line(tmp_path, row, message):
    good = [{"instruction": f"task {n}", "instances": [{"output": "y"}]} for n in range(7)]
    with pytest.raises(UsageError, match=message):
        seeds.read(tiny.write(tmp_path / "s.jsonl", [*good, row]))
    with pytest.raises(UsageError, match="7 seed tasks; at least 8"):
        seeds.read(tiny.write(tmp_path / "s.jsonl", good))


@pytest.mark.parametrize(
    ("text", "recipe", "language", "expected"),
    [
        ("Name three rivers.", "self-instruct", "en", "too short"),  # 3 words or fewer
        ("Name three long rivers.", "self-instruct", "en", None),
        (" ".join(["word"] * 151), "alpaca", "en", "too long"),
        (" ".join(["word"] * 150), "alpaca", "en", None),
        ("Describe the Image in words.", "self-instruct", "en", "needs more than text"),
        ("Describe the imagery of a poem.", "self-instruct", "en", None),  # whole words only
        ("Describe the music of a film.", "alpaca", "en", "needs more than text"),
        ("Describe the music of a film.", "self-instruct", "en", None),  # Alpaca's list is the longer one
        ("Write a program that adds numbers.", "alpaca", "en", "asks for a program"),
        ("- write a short poem now", "alpaca", "en", "begins with punctuation"),
        ("Écris un poème très court.", "alpaca", "en", "begins with a foreign letter"),
        ("다음 문장을 번역하세요.", "alpaca", "en", "too short"),
        ("다음 문장을 영어로 번역하세요.", "alpaca", "en", "begins with a foreign letter"),
        ("다음 문장을 번역하세요.", "alpaca", "ko", None),
        ("번역하세요 지금.", "alpaca", "ko", "too short"),
        ("아래 그림을 설명해 보세요.", "self-instruct", "ko", "needs more than text"),  # with its particle
        ("훌륭한 지도자의 조건을 쓰세요.", "self-instruct", "ko", None),  # 지도 inside another word
        ("이 음악에 어울리는 말을 쓰세요.", "alpaca", "ko", "needs more than text"),
        ("프로그램을 작성해서 합을 구하세요.", "alpaca", "ko", "asks for a program"),
    ],
)
def test_what_a_recipe_refuses(text, recipe, language, expected):
    assert instruction_fault(text, recipe, language) == expected


def test_which_instances_are_kept():
    keep, other = Instance("2 + 2", "4"), Instance("3 + 3", "6")
    bad = [Instance("same", "same"), Instance("x", ""), Instance("x:", "y"), Instance("x", "y:")]
    assert valid_instances([keep, *bad, keep, other]) == [keep, other]
    assert valid_instances([keep, Instance("2 + 2", "5")]) == []  # one input, two outputs
    assert len(valid_instances([Instance("", "a"), Instance("", "b")])) == 2  # without an input both may be good


def test_a_request_shows_eight_two_of_them_by_the_model():
    by_model = [f"Machine task number {n} here" for n in range(5)]
    text = self_instruct.instructions_prompt(ENGLISH, by_model, random.Random(1), "en")[0]["content"]
    assert sum(line in text for line in by_model) == 2
    assert sum(task.instruction in text for task in ENGLISH) == 6
    assert "8. " in text and "9. " not in text
    shown = self_instruct.instructions_prompt([Task(f"Sort this {n}:") for n in range(8)], [], random.Random(1), "en")
    assert "Sort this 3\n" in shown[0]["content"] and "3:" not in shown[0]["content"]
    first = self_instruct.instructions_prompt(KOREAN, [], random.Random(1), "ko")[0]["content"]
    assert sum(task.instruction in first for task in KOREAN) == 8  # the seeds fill in while the model has none


def test_instructions_are_read_from_a_numbered_list():
    reply = Reply("sort the words by length\n10. Explain  why\n it rains. 11. x\n12 . 시를 쓰세요")
    assert self_instruct.read_instructions(reply) == [
        "Sort the words by length",
        "Explain why it rains. 11. x",
        "시를 쓰세요",
    ]
    assert self_instruct.read_instructions(Reply("9. A long one", cut=True)) == []


@pytest.mark.parametrize(("said", "expected"), [("Yes", True), (" yes.", True), ("예", True), ("네, 분류입니다", True), ("No", False), ("아니요", False), ("", False)])  # fmt: skip
def test_the_kind_is_read(said, expected):
    assert self_instruct.read_kind(Reply(said)) is expected


def test_the_form_of_instances_depends_on_the_kind():
    labels = self_instruct.instances_prompt("Is it good?", True, ENGLISH, "en")[0]["content"]
    assert labels.index("Class label: food") < labels.index("The soup was cold")  # output first
    others = self_instruct.instances_prompt("쓰세요", False, KOREAN, "ko")[0]["content"]
    assert others.index("입력: 내일 못 가.") < others.index("출력: 내일은 가지 못할")  # input first


def test_instances_are_read_input_first():
    text = "Sure!\nExample 1\nInput: 2 + 2\nOutput: 4\nExample 2\nOutput: none given\nExample 3\njust an answer"
    assert self_instruct.read_instances(Reply(text), False) == [
        Instance("2 + 2", "4"),
        Instance("", "none given"),
        Instance("", "just an answer"),
    ]
    assert len(self_instruct.read_instances(Reply(text, cut=True), False)) == 2
    assert self_instruct.read_instances(Reply("입력: 둘\n출력: 셋"), False) == [Instance("둘", "셋")]
    assert self_instruct.read_instances(Reply("no form at all"), False) == []
    twice = "Example 1\nInput: 1\nOutput: 2\nInput: 3\nOutput: 4"  # the first pair counts, as in the released code
    assert self_instruct.read_instances(Reply(twice), False) == [Instance("1", "2")]
    assert self_instruct.read_instances(Reply("Example 1\nInput: an input alone"), False) == []


def test_five_of_a_task_s_usable_instances_stay():
    many = [Instance(str(n), str(n + 1)) for n in range(9)]
    kept = self_instruct.at_most_five(many, "count")
    assert len(kept) == 5 and kept == [one for one in many if one in kept] == self_instruct.at_most_five(many, "count")
    assert len({tuple(self_instruct.at_most_five(many, f"count {n}")) for n in range(9)}) > 5
    assert self_instruct.at_most_five(many[:3], "count") == many[:3]


def test_instances_are_read_output_first():
    text = "Class label: good\nI like it.\nVery much.\nClass label: bad\nI do not.\n분류: 중립\n그저 그래요"
    assert self_instruct.read_instances(Reply(text), True) == [
        Instance("I like it.\nVery much.", "good"),
        Instance("I do not.", "bad"),
        Instance("그저 그래요", "중립"),
    ]


def task(number, instruction, given, answer):
    return f"###\n{number}. Instruction: {instruction}\n{number}. Input:\n{given}\n{number}. Output:\n{answer}\n"


def test_alpaca_shows_three_and_asks_to_twenty():
    text = alpaca.tasks_prompt(ENGLISH, random.Random(0), "en")[0]["content"]
    assert text.count("###\n") == 3 and "3. Output:" in text and "4. Instruction" not in text and "list of 20" in text


def test_alpacas_tasks_are_read():
    text = (
        task(4, "Add the two numbers", "1 and 2", "3")
        + task(5, "Say hello", "<noinput>", "Hello")
        + "###\n6. Instruction: broken"
    )
    assert alpaca.read_tasks(Reply(text)) == [("Add the two numbers", "1 and 2", "3"), ("Say hello", "", "Hello"), None]
    assert alpaca.read_tasks(Reply(text, cut=True)) == [
        ("Add the two numbers", "1 and 2", "3"),
        ("Say hello", "", "Hello"),
    ]
    korean = "4. 지시: 더하세요\n4. 입력:\n하나\n4. 출력:\n둘"
    assert alpaca.read_tasks(Reply(korean)) == [("더하세요", "하나", "둘")]


def made(tmp_path, name, answers, n, **options):
    asker = Asker(FakeChat(answers, max_tokens=5000))
    with Journal(tmp_path / name, {}) as journal:
        return instruct.make(asker, options.pop("given", ENGLISH), journal, n, **options), asker


REPLY = (
    "9. Describe how bread is baked at home.\n10. Describe how bread is baked at home!\n11. Shout.\n"
    "12. Decide if the animal can fly.\n13. Explain to a ten-year-old why the moon changes its shape."
)


def test_self_instruct_from_seeds_to_rows(tmp_path):
    answers = [
        REPLY,
        "No",
        "Yes",
        "Class label: yes\nA sparrow\nClass label: no\nA mole",
        "Example 1\nOutput: Mix, wait, bake.",
    ]
    found, asker = made(tmp_path, "o", answers, 2)
    assert dict(found.dropped) == {"too near another": 1, "too short": 1}
    assert [[turn["content"] for turn in row["messages"]] for row in found.rows()] == [
        ["Describe how bread is baked at home.", "Mix, wait, bake."],
        ["Decide if the animal can fly.\n\nA sparrow", "yes"],
        ["Decide if the animal can fly.\n\nA mole", "no"],
    ]
    assert asker.left_out == set() and len(asker.llm.prompts) == 5


def test_what_is_near_a_seed_is_refused(tmp_path):
    found, _ = made(tmp_path, "o", [REPLY], 3, at_once=1)
    assert found.dropped["too near another"] >= 2  # the last of REPLY is a seed of ours, shortened
    assert found.barren >= instruct.PATIENCE and len(found.tasks) == 2  # and it ends where nothing new comes


def test_alpaca_from_seeds_to_rows(tmp_path):
    text = task(4, "Add the two given numbers", "1 and 2", "3") + task(
        5, "Greet the new neighbour warmly", "<noinput>", "Hello!"
    )
    found, asker = made(tmp_path, "o", [text], 2, recipe="alpaca")
    assert [[turn["content"] for turn in row["messages"]] for row in found.rows()] == [
        ["Add the two given numbers\n\n1 and 2", "3"],
        ["Greet the new neighbour warmly", "Hello!"],
    ]
    assert len(asker.llm.prompts) == 1 and not asker.left_out


def test_korean_from_seeds_to_rows(tmp_path):
    answers = [
        "9. 겨울 바다를 묘사하세요.\n10. 다음 동물이 나는지 답하세요.",
        "아니요",
        "예",
        "분류: 예\n참새",
        "예시 1\n출력: 차갑고 조용하다.",
    ]
    found, _ = made(tmp_path, "o", answers, 2, given=KOREAN, language="ko")
    assert [row["messages"][0]["content"] for row in found.rows()] == [
        "겨울 바다를 묘사하세요.",
        "다음 동물이 나는지 답하세요.\n\n참새",
    ]


def test_what_was_cut_off_goes_on_and_asks_nothing_twice(tmp_path):
    answers = [REPLY, "No", "Yes", "Class label: yes\nA sparrow", "Example 1\nOutput: Bake."]
    whole, _ = made(tmp_path, "whole", answers, 2)
    for step in range(1, 4):  # after the first request, after the kinds, after everything
        events = (tmp_path / "whole.part").read_bytes().splitlines(keepends=True)[: 1 + step]
        (tmp_path / f"o{step}.part").write_bytes(b"".join(events))
        asked = {1: answers[1:], 2: answers[3:], 3: ["unused"]}[step]
        again, asker = made(tmp_path, f"o{step}", asked, 2)
        assert again.rows() == whole.rows()
        assert len(asker.llm.prompts) == {1: 4, 2: 2, 3: 0}[step]


def test_a_recipe_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match=r"recipe 'alpacca' is unknown.*did you mean 'alpaca'"):
        instruct.check_recipe("alpacca")

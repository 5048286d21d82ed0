"""The run store: what it keeps, what survives, what it says when it cannot."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import apsw
import pytest
from langchain_core.messages import HumanMessage

from chains import runs
from chains.errors import MachineError, UsageError
from chains.llm_chain import LLMChain
from chains.prompt import Prompt
from chains.runs.conversation import Conversation
from chains.runs.migrations import MIGRATIONS
from chains.runs.store import transaction
from chains.sequential import SequentialChain


@pytest.fixture
def chain(model):
    return LLMChain(llm=model(lambda text: text.upper()), prompt=Prompt.chat(system="S", user="{x}"))


@pytest.fixture(autouse=True)
def let_go():
    yield
    runs.close()


def ids():
    return [run.id for run in runs.recent(100)]


def test_recent_is_newest_first_and_bounded(chain):
    for word in "abc":
        chain.run(word)
    assert [run.output for run in runs.recent()] == ["C", "B", "A"]
    assert [run.output for run in runs.recent(2)] == ["C", "B"]
    with pytest.raises(UsageError, match="limit=0"):
        runs.recent(0)


def test_a_run_is_found_by_its_id_and_near_ids_are_named(chain):
    with pytest.raises(UsageError, match="no run 'x': no run is recorded yet"):
        runs.get("x")
    chain.run("a")
    (id,) = ids()
    assert runs.get(id).output == "A"
    with pytest.raises(UsageError, match=f"no run '{id[:6]}'; near: '{id}'. See: chaintune runs"):
        runs.get(id[:6])


def test_the_callers_run_id_is_the_runs_id(chain):
    chosen = "01234567-89ab-cdef-0123-456789abcdef"
    chain.invoke("a", {"run_id": chosen})
    assert runs.get(chosen).output == "A"


def test_off_records_nothing(chain, monkeypatch):
    with runs.off():
        chain.run("a")
    assert ids() == []
    monkeypatch.setenv("CHAINTUNE_RUNS", "off")
    chain.run("b")
    monkeypatch.delenv("CHAINTUNE_RUNS")
    assert ids() == []
    chain.run("c")
    assert len(ids()) == 1


def test_feedback_is_kept_and_later_feedback_adds_to_it(chain):
    chain.run("a")
    (id,) = ids()
    runs.feedback(id, rating=1)
    runs.feedback(id, correction="Better.", comment="short")
    assert runs.get(id).rating == 1
    runs.feedback(id, rating=-1)
    run = runs.get(id)
    assert (run.rating, run.correction, run.comment) == (-1, "Better.", "short")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, "feedback needs a rating"),
        ({"rating": 2}, r"rating=2 cannot be used; give \+1 or -1"),
        ({"rating": 0}, "rating=0 cannot be used"),
        ({"rating": True}, "rating=True cannot be used"),  # a truth value is not a thumb
        ({"rating": 1, "correction": " "}, "correction=' ' cannot be used"),
        ({"comment": ""}, "comment='' cannot be used"),
    ],
)
def test_feedback_of_no_use_is_refused(chain, given, error):
    chain.run("a")
    with pytest.raises(UsageError, match=error):
        runs.feedback(ids()[0], **given)
    assert runs.get(ids()[0]).rating is None


def test_feedback_for_an_unknown_run_is_refused(chain):
    chain.run("a")
    with pytest.raises(UsageError, match="no run 'nope'"):
        runs.feedback("nope", rating=1)


def row(question, answer):
    said = [("system", "S"), ("user", question), ("assistant", answer)]
    return {"messages": [{"role": role, "content": text} for role, text in said]}


def test_to_dataset_takes_what_was_judged(chain):
    for word in "abcd":
        chain.run(word)
    _, c, b, a = ids()
    runs.feedback(a, rating=1)
    runs.feedback(b, rating=-1)
    runs.feedback(c, rating=-1, correction="See?")
    assert runs.to_dataset() == [row("a", "A"), row("c", "See?")]
    assert runs.to_dataset(feedback=-1) == [row("b", "B"), row("c", "C")]
    assert runs.to_dataset(feedback=None) == [row("a", "A"), row("b", "B"), row("c", "See?"), row("d", "D")]
    with pytest.raises(UsageError, match=r"feedback=2 cannot be used"):
        runs.to_dataset(feedback=2)


def test_to_dataset_writes_jsonl(chain, tmp_path):
    path = tmp_path / "new" / "train.jsonl"
    chain.run("가 나")
    with pytest.raises(UsageError, match="no run was chosen"):
        runs.to_dataset(path=path)
    runs.feedback(ids()[0], rating=1)
    runs.to_dataset(path=path)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [row("가 나", "가 나")]
    assert "가 나" in path.read_text()  # readable, not escaped


def test_a_judged_sequence_gives_its_last_model_call(model):
    first = LLMChain(llm=model("one"), prompt="F {x}", output_key="first")
    second = LLMChain(llm=model("two"), prompt="S {first}", output_key="second")
    SequentialChain(chains=[first, second], input_variables=["x"]).run("a")
    runs.feedback(ids()[0], rating=1)
    assert runs.to_dataset() == [
        {"messages": [{"role": "user", "content": "S one"}, {"role": "assistant", "content": "two"}]}
    ]


def test_what_json_does_not_know_is_still_recorded(chain):
    loop = []
    loop.append(loop)
    odd = {"x": "a", "half": "\ud83d", "big": 2**70, "set": {1}, "message": HumanMessage("hi"), "loop": loop, 3: object}
    chain.invoke(odd)
    kept = runs.recent(1)[0].inputs
    assert (kept["x"], kept["big"], kept["set"]) == ("a", 2**70, [1])
    assert kept["message"] == {"role": "human", "content": "hi"}
    chain.invoke("half \ud83d")
    assert runs.recent(1)[0].answer == "HALF ?"


def test_the_home_may_move_while_the_program_runs(chain, monkeypatch, tmp_path):
    chain.run("a")
    monkeypatch.setenv("CHAINTUNE_HOME", str(tmp_path / "other"))
    assert ids() == []
    chain.run("b")
    assert len(ids()) == 1


def test_a_store_that_was_taken_away_is_started_again(chain, home):
    chain.run("a")
    for file in home.glob("runs.db*"):
        file.unlink()
    chain.run("b")
    assert [run.output for run in runs.recent()] == ["B"]


KILLED = """
import os, sys
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from chains import Chatbot, LLMChain, runs
LLMChain(llm=FakeListChatModel(responses=["yes"]), prompt="{x}").run("a")
bot = Chatbot(FakeListChatModel(responses=["hello"]), session="s")
answer = bot.ask("hi")
bot.feedback(answer.id, rating=1)
print(answer.id, flush=True)
os.kill(os.getpid(), 9)
"""


def test_what_was_said_to_be_done_survives_kill_9():
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    run = runs.get(done.stdout.strip())
    assert (run.session, run.rating, run.output["answer"]) == ("s", 1, "hello")
    assert len(ids()) == 2
    assert Conversation("s").exchanges() == [("hi", "hello")]


WRITER = """
import sys
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from chains import LLMChain
chain = LLMChain(llm=FakeListChatModel(responses=["yes"]), prompt="{x}")
for i in range(30):
    chain.run(sys.argv[1] + str(i))
"""


def test_processes_write_side_by_side():
    writers = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", WRITER, name], stderr=subprocess.PIPE) for name in "abc"
    ]
    for writer in writers:
        _, said = writer.communicate()
        assert writer.returncode == 0, said.decode()
    assert len(ids()) == 90


def test_threads_share_the_connection(chain):
    threads = [threading.Thread(target=lambda: [chain.run("a") for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids()) == 80


def _in_child(results):
    results.put(len(runs.recent(100)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_forked_in_the_middle_of_a_write_opens_its_own(chain):
    chain.run("parent")
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_in_child, args=(results,), daemon=True)
    with transaction():
        child.start()
        seen = results.get(timeout=10)
    assert seen == 1
    child.join()
    chain.run("parent again")
    assert len(ids()) == 2


def test_a_damaged_store_is_one_sentence_and_does_not_stop_a_chain(chain, home, monkeypatch):
    (home / "runs.db").write_bytes(b"this is no database, and long enough to be looked at" * 20)
    with pytest.raises(MachineError, match=r"runs.db is damaged .*; move it away, and the next run starts a new one"):
        runs.recent()
    with pytest.warns(RuntimeWarning, match="runs are not being recorded: .*damaged"):
        assert chain.run("a") == "A"
    monkeypatch.setattr("chains.runs.record._REST_S", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert chain.run("b") == "B"  # it was said once


def test_a_locked_store_is_one_sentence(chain, home, monkeypatch):
    chain.run("a")
    runs.close()
    monkeypatch.setattr("chains.runs.store._BUSY_MS", 100)
    other = apsw.Connection(str(home / "runs.db"))
    other.execute("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").fetchall()
    try:
        with pytest.raises(
            MachineError, match="is locked by another process; wait for it or end it, or set CHAINTUNE_RUNS=off"
        ):
            runs.feedback("x", rating=1)
    finally:
        other.close()


def test_a_failed_write_is_not_tried_at_every_step(chain, home, monkeypatch):
    chain.run("a")
    runs.close()
    monkeypatch.setattr("chains.runs.store._BUSY_MS", 500)
    other = apsw.Connection(str(home / "runs.db"))
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.warns(RuntimeWarning, match="not being recorded: .*locked"):
            chain.run("b")
        started = time.monotonic()
        for _ in range(20):
            chain.run("c")
        assert time.monotonic() - started < 0.5
    finally:
        other.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_sentence(home):
    home.chmod(0o500)
    with pytest.raises(MachineError, match="cannot be used"):
        runs.recent()


def test_a_home_that_cannot_be_made_does_not_stop_a_chain(chain, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CHAINTUNE_HOME", str(tmp_path / "file" / "home"))
    with pytest.warns(RuntimeWarning, match="not being recorded: cannot write"):
        assert chain.run("a") == "A"


def test_a_newer_store_is_refused(home):
    db = apsw.Connection(str(home / "runs.db"))
    db.pragma("user_version", len(MIGRATIONS) + 1)
    db.close()
    with pytest.raises(MachineError, match="newer chaintune"):
        runs.recent()


def test_migrations_lead_from_every_version_to_the_latest(home):
    path = str(home / "runs.db")
    for version in range(len(MIGRATIONS)):
        Path(path).unlink(missing_ok=True)
        db = apsw.Connection(path)
        for migrate in MIGRATIONS[:version]:
            migrate(db)
        db.pragma("user_version", version)
        db.close()
        assert runs.recent() == []
        runs.close()
        assert apsw.Connection(path).pragma("user_version") == len(MIGRATIONS)

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
from langchain_core.messages import AIMessage, HumanMessage

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
    monkeypatch.setattr("chains.runs.writer._REST_S", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert chain.run("b") == "B"  # it was said once


def test_a_locked_store_is_one_sentence(chain, home, monkeypatch):
    chain.run("a")
    runs.close()
    monkeypatch.setattr("chains.sqlite.BUSY_MS", 100)
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
    monkeypatch.setattr("chains.sqlite.BUSY_MS", 500)
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


def stored_bytes(home):
    """Return the bytes of text and blobs in every table: page sizes would hide small growth."""
    runs.flush()
    db = apsw.Connection(str(home / "runs.db"))
    total = 0
    for table, *_ in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        for row in db.execute(f"SELECT * FROM {table}"):
            total += sum(len(value) for value in row if isinstance(value, str | bytes))
    return total


def test_a_long_conversation_grows_by_its_messages_not_by_their_square(model, home):
    chain = LLMChain(llm=model("An answer of some length, again. " * 3), prompt=Prompt.chat(history="h", user="{x}"))
    said, sizes = [], []
    for turn in range(200):
        question = f"Question {turn}: {'why ' * 20}"
        said += [HumanMessage(question), AIMessage(chain.invoke({"h": list(said), "x": question})["text"])]
        if turn in (99, 149, 199):
            sizes.append(stored_bytes(home))
    assert sizes[2] - sizes[1] < 1.1 * (sizes[1] - sizes[0])  # n² would give 1.4
    last = runs.recent(1)[0]
    assert [row["content"] for row in last.messages] == [message.text for message in said[:-1]]
    assert [row["content"] for row in last.inputs["h"]] == [message.text for message in said[:-2]]


def test_recent_takes_one_session(chain):
    for session in ("a", "b", "a"):
        chain.invoke(session, {"metadata": {"session_id": session}})
    assert [run.session for run in runs.recent(session="a")] == ["a", "a"]
    assert runs.recent(session="c") == []


def test_a_rating_can_be_taken_back(chain):
    chain.run("a")
    (id,) = ids()
    runs.feedback(id, rating=-1, correction="Better.")
    runs.unrate(id)
    assert (runs.get(id).rating, runs.get(id).correction) == (None, "Better.")
    with pytest.raises(UsageError, match="no run 'nope'"):
        runs.unrate("nope")


@pytest.fixture
def secret():
    runs.redact(lambda text: text.replace("secret", "****").replace("SECRET", "****"))
    yield
    runs.redact(None)


def test_what_is_redacted_is_nowhere_in_the_file(model, home, secret):
    chain = LLMChain(llm=model(lambda text: text.upper()), prompt=Prompt.chat(system="S", user="{x}"))
    assert chain.invoke({"x": "my secret", "more": {"deep": ["secret"]}})["text"] == "MY SECRET"  # the caller's stays
    with pytest.raises(UsageError):
        chain.invoke({"secret": "secret"})
    Conversation("s").add("a secret?", "SECRET", "id")
    runs.feedback(ids()[-1], correction="no secret", comment="secret")
    assert runs.recent()[-1].messages[-1] == {"role": "user", "content": "my ****"}
    runs.close()
    kept = b"".join(file.read_bytes() for file in home.glob("runs.db*"))
    assert b"secret" not in kept.lower()


def test_a_redaction_that_fails_writes_no_text(chain, home):
    runs.redact(lambda text: text.no_such)
    try:
        with pytest.warns(RuntimeWarning, match="the redaction of a run failed.*no_such"):
            assert chain.run("my secret") == "MY SECRET"
    finally:
        runs.redact(None)
    assert runs.recent(1)[0].answer == "[not written: the redaction failed]"


READER = """
import sys, apsw, time
from pathlib import Path
end = time.monotonic() + 10
while time.monotonic() < end:
    found = apsw.Connection(sys.argv[1], flags=apsw.SQLITE_OPEN_READONLY).execute("SELECT count(*) FROM runs").fetchall()
    if found == [(2,)]:
        print("seen"); break
    time.sleep(0.05)
"""


def test_a_run_reaches_other_processes_by_itself(chain, home):
    chain.run("written at once")
    chain.run("written soon")
    done = subprocess.run([sys.executable, "-c", READER, str(home / "runs.db")], capture_output=True, text=True)
    assert done.stdout == "seen\n", done.stderr


ENDS = {
    "the end of the program": "",
    "an exception": "raise ValueError('x')",
    "sys.exit": "sys.exit(3)",
    "a fork that ends on its own": "pid = os.fork()\nif pid == 0: os._exit(0)\nos.waitpid(pid, 0)",
}


@pytest.mark.parametrize("end", ENDS)
def test_runs_are_written_at(end):
    code = f"{WRITER}\nimport os\n{ENDS[end]}\n"
    subprocess.run([sys.executable, "-c", code, "x"], capture_output=True, text=True)
    assert len(ids()) == 30


STOPPED = """
import os, signal
from chains import LLMChain
from langchain_core.runnables import RunnableLambda
chain = LLMChain(llm=RunnableLambda(lambda prompt: prompt.text), prompt="{x}")
for i in range(5):
    chain.run(str(i))
def stop(prompt):
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(10**9): pass
LLMChain(llm=RunnableLambda(stop), prompt="{x}").run("stopped")
"""


def test_ctrl_c_in_a_chain_leaves_a_whole_record(home):
    done = subprocess.run([sys.executable, "-c", STOPPED], capture_output=True, text=True, timeout=60)
    assert "KeyboardInterrupt" in done.stderr
    assert [run.inputs["x"] for run in runs.recent()] == ["stopped", "4", "3", "2", "1", "0"]
    assert "KeyboardInterrupt" in runs.recent(1)[0].error
    assert apsw.Connection(str(home / "runs.db")).pragma("integrity_check") == "ok"


def _run_in_child(chain):
    for i in range(10):
        chain.run(f"child {i}")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_childs_runs_and_its_parents_are_all_there_once(chain):
    for i in range(5):
        chain.run(f"parent {i}")  # some still wait at the fork
    child = multiprocessing.get_context("fork").Process(target=_run_in_child, args=(chain,))
    child.start()
    for i in range(5, 10):
        chain.run(f"parent {i}")
    child.join()
    assert sorted(run.inputs["x"] for run in runs.recent(100)) == sorted(
        f"{who} {i}" for who in ("child", "parent") for i in range(10)
    )


def test_what_waits_while_the_store_is_locked_is_written_later(chain, home, monkeypatch):
    chain.run("a")
    monkeypatch.setattr("chains.sqlite.BUSY_MS", 100)
    runs.close()
    other = apsw.Connection(str(home / "runs.db"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.warns(RuntimeWarning, match="not being recorded: .*locked"):
        assert chain.run("b") == "B"
    other.close()
    monkeypatch.setattr("chains.runs.writer._REST_S", 0)
    assert [run.output for run in runs.recent()] == ["B", "A"]

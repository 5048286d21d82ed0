"""index and search over documents on disk. The documents are Korean, so no embedding model is loaded."""

import json
import shutil
from contextlib import closing

import pytest

from apps import bots
from apps.bots import MODES
from apps.cli import main
from retrieval import clip as clip_module
from retrieval.search import MODES as WAYS
from tests.retrieval.clip_files import clip_folder, noise

RULES = "# 규칙\n\n## 공\n\n공이 밖으로 나가면 상대가 던집니다.\n\n## 시간\n\n쉬는 시간은 칠 분입니다.\n"


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "rules.md").write_text(RULES)
    return folder


@pytest.fixture
def call(tmp_path, docs, capsys):
    """Run a command on the library, and return its exit code and what it printed as JSON."""

    def run(*words):
        code = main([*words, "--library", str(tmp_path / "kb"), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def counts(report):
    return {name: report[name] for name in ("added", "updated", "deleted", "unchanged")}


def test_only_what_changed_is_read_again(call, docs):
    (docs / "more.txt").write_text("운동장은 넓습니다.")
    code, first = call("index", str(docs))
    assert (code, counts(first)) == (0, {"added": 2, "updated": 0, "deleted": 0, "unchanged": 0})
    (docs / "rules.md").write_text(RULES.replace("칠", "팔"))
    (docs / "more.txt").unlink()
    assert counts(call("index", str(docs))[1]) == {"added": 0, "updated": 1, "deleted": 1, "unchanged": 0}


def test_several_places_add_up(call, docs, tmp_path):
    note = tmp_path / "note.txt"
    note.write_text("심판은 두 사람입니다.")
    assert counts(call("index", str(docs), str(note))[1])["added"] == 2


def test_a_file_that_cannot_be_read_is_named_and_the_rest_goes_in(docs, tmp_path, capsys):
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    assert main(["index", str(docs), "--library", str(tmp_path / "kb")]) == 1
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'kb'}: 1 added, 0 updated, 0 deleted, 0 unchanged, 1 failed\n"
    assert err.startswith(f"not read: {docs / 'broken.pdf'}: ") and err.count("\n") == 1


def test_a_korean_user_reads_what_came_in_in_korean(tmp_path, docs, capsys, monkeypatch):
    monkeypatch.setenv("CHAINTUNE_LANG", "ko")
    (docs / "broken.pdf").write_bytes(b"no pdf")
    assert main(["index", str(docs), "--library", str(tmp_path / "kb")]) == 1
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'kb'}: 추가 1, 바뀜 0, 삭제 0, 그대로 0, 실패 1\n"
    assert err.startswith("읽지 못함: ") and "broken.pdf" in err


def test_search_finds_the_passage_that_has_the_words(call, docs):
    call("index", str(docs))
    code, found = call("search", "쉬는 시간", "--k", "1", "--mode", "keyword")
    assert code == 0 and len(found) == 1
    assert "칠 분" in found[0]["text"]
    assert RULES[found[0]["start"] : found[0]["end"]] == found[0]["text"]


def test_words_weigh_as_asked(call, docs, tmp_path):
    call("index", str(docs))
    with closing(bots.open_library(tmp_path / "kb")) as library:
        assert bots.retriever(library, 2, "hybrid", keyword_weight=3).wanted.weights == {"keyword": 3}
        assert bots.retriever(library, 2, "hybrid").wanted.weights == {}
    (found,) = call("search", "쉬는 시간", "--k", "1", "--keyword-weight", "3")[1]
    assert found["why"].startswith("keyword 1, dense left out: all-MiniLM-L6-v2 does not know")
    code, refused = call("search", "쉬는 시간", "--mode", "keyword", "--keyword-weight", "3")
    assert code == 2 and "weights are of hybrid search" in refused["error"]["message"]


@pytest.mark.parametrize("how", ["queries", "hyde"])
def test_a_model_asks_in_other_words(call, docs, how):
    call("index", str(docs))
    words = ("--expand", how, "--model", "fake:공이 밖으로 나가면")
    found = call("search", "쉬는 시간", "--k", "2", *words)[1]
    assert [passage["why"][:9] for passage in found] == ["query 1: "] * 2
    assert {passage["heading"].split(" > ")[-1] for passage in found} == {"공", "시간"}
    assert len(call("search", "쉬는 시간", "--k", "2")[1]) == 1
    code, answer = call("ask", "쉬는 시간은요?", *words)
    assert code == 0 and answer["answer"] == "공이 밖으로 나가면"
    code, refused = call("search", "쉬는 시간", "--expand", "hide")
    assert (
        code == 2
        and "expand 'hide' is unknown; use queries or hyde; did you mean 'hyde'" in refused["error"]["message"]
    )


def test_a_cross_encoder_is_named(call, docs, tmp_path):
    call("index", str(docs))
    code, refused = call("search", "쉬는 시간", "--rerank", str(tmp_path / "none"))
    assert code == 2 and "hub id of a cross-encoder" in refused["error"]["message"]


def test_ask_quotes_the_documents(call, docs):
    call("index", str(docs))
    code, answer = call("ask", "공이 밖으로 나가면 어떻게 되나요?", "--model", "fake:상대가 던집니다.")
    assert code == 0
    assert answer["citations"][0]["quote"] == "공이 밖으로 나가면 상대가 던집니다."


def test_a_folder_that_is_no_library_is_refused(tmp_path, capsys):
    assert main(["search", "x", "--library", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"there is no index at {tmp_path}; make it with: chaintune index")
    assert main(["index", "/nowhere", "--library", str(tmp_path / "kb")]) == 2


def test_the_modes_are_the_librarys():
    assert sorted(MODES) == sorted(WAYS)


def test_a_library_is_verified_and_rebuilt_without_documents(call, docs, tmp_path, capsys):
    call("index", str(docs))
    (docs / "rules.md").unlink()
    code, said = call("index", "--rebuild", "--verify")
    assert (code, said["mended"], said["stats"]["passages"]) == (0, 0, 2)
    assert main(["index", "--rebuild", "--library", str(tmp_path / "kb")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'kb'}: 2 passages made again\n"
    assert main(["index", "--verify", "--library", str(tmp_path / "kb")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'kb'}: 0 vectors mended\n"


def test_index_wants_documents_and_a_flag_for_urls(tmp_path, capsys):
    assert main(["index", "--library", str(tmp_path / "kb")]) == 2
    assert capsys.readouterr().err.startswith("no document was named; give files, folders, patterns or URLs")
    assert main(["index", "--verify", "--library", str(tmp_path / "kb")]) == 2
    assert capsys.readouterr().err.startswith("there is no index at ")
    assert main(["index", "http://127.0.0.1:9/x", "--library", str(tmp_path / "kb")]) == 2
    assert capsys.readouterr().err.startswith("http://127.0.0.1:9/x is a URL; say that URLs may be fetched")
    assert main(["index", "http://127.0.0.1:9/x", "--allow-url", "--library", str(tmp_path / "kb")]) == 1
    assert "leads to 127.0.0.1, an address of this machine or its own network" in capsys.readouterr().err


def test_workers_and_a_servers_address_reach_the_library(call, docs, tmp_path, capsys):
    code, said = call("index", str(docs), "--workers", "2", "--seconds", "20")
    assert (code, said["added"]) == (0, 1)
    assert main(["index", str(docs), "--chroma", "nowhere", "--library", str(tmp_path / "kb")]) == 2
    assert "'nowhere' is no address of a Chroma server" in capsys.readouterr().err


def test_pictures_are_indexed_where_a_model_is_named_and_found_by_words_and_by_a_picture(docs, tmp_path, call, capsys):
    clip = clip_folder(tmp_path / "clip")
    for n in range(3):
        noise(n).save(docs / f"{n}.png")
    kb = str(tmp_path / "kb")
    capsys.readouterr()  # of the model that was written
    assert main(["index", str(docs), "--library", kb]) == 0
    out, err = capsys.readouterr()
    assert "1 added" in out and err == "pictures passed over: 3; --images names a CLIP model that finds them\n"
    code, report = call("index", str(docs), "--images", str(clip))
    assert (code, report["added"], report["skipped"], report["stats"]["pictures"]) == (0, 3, 0, 3)
    code, found = call("search", "공", "--k", "2")
    assert [one["source"] for one in found if one["text"]] == ["rules.md"]
    assert [list(one["scores"]) for one in found if not one["text"]] == [["image"]] * 2
    code, found = call("search", "--image", str(docs / "2.png"), "--k", "1")
    assert code == 0 and found[0]["source"] == "2.png" and found[0]["score"] > 0.99
    assert main(["search", "--image", str(docs / "2.png"), "--library", kb, "--k", "1"]) == 0
    assert capsys.readouterr().out == "[1] 2.png (1.00; image 1)\n"
    shutil.rmtree(clip)
    clip_module._load.cache_clear()
    assert main(["search", "공", "--library", kb, "--k", "1"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("[1] rules.md") and out.count("\n[") == 0 and err.startswith("no pictures: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give the words to look for, or a picture by --image FILE"),
        (("공", "--image", "x.png"), "one of the two"),
        (("--image", "x.png", "--mmr", "0.5"), "--mmr is of a search for words"),
        (("--image", "x.png", "--expand", "hyde"), "--expand is of a search for words"),
        (("--image", "x.png"), "has no image model; name a CLIP model"),
    ],
)
def test_a_search_that_cannot_be_meant_is_refused(call, docs, tmp_path, capsys, words, message):
    call("index", str(docs))
    assert main(["search", *words, "--library", str(tmp_path / "kb")]) == 2
    assert message in capsys.readouterr().err


def test_ray_wants_a_server(docs, tmp_path, capsys):
    assert main(["index", str(docs), "--library", str(tmp_path / "kb"), "--ray", "2"]) == 2
    assert "Ray's workers write into a Chroma server" in capsys.readouterr().err

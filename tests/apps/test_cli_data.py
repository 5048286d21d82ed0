"""data chat, check and split."""

import json

from apps.cli import main


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_table_becomes_chat_rows(tmp_path, capsys):
    table, out = tmp_path / "qa.csv", tmp_path / "train.jsonl"
    table.write_text("질문,답변\n몇 명인가요?,여섯 명입니다.\n공은?,둥급니다.\n")
    call = [
        "data",
        "chat",
        str(table),
        "--out",
        str(out),
        "--question-column",
        "질문",
        "--answer-column",
        "답변",
        "--system",
        "짧게",
    ]
    assert main([*call, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(out), "rows": 2}
    assert rows(out)[0]["messages"] == [
        {"role": "system", "content": "짧게"},
        {"role": "user", "content": "몇 명인가요?"},
        {"role": "assistant", "content": "여섯 명입니다."},
    ]


def test_a_column_that_is_not_there_is_named(tmp_path, capsys):
    table = tmp_path / "qa.csv"
    table.write_text("question,anwser\nx,y\n")
    assert main(["data", "chat", str(table), "--out", str(tmp_path / "o.jsonl")]) == 2
    assert "did you mean 'anwser'" in capsys.readouterr().err
    assert not (tmp_path / "o.jsonl").exists()


def test_check_names_the_line_and_ends_with_one(tmp_path, capsys):
    file = tmp_path / "bad.jsonl"
    good = json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})
    file.write_text(good + "\n" + good.replace("user", "bot") + "\n")
    assert main(["data", "check", str(file)]) == 1
    assert f"error: {file}:2: messages[0].role: 'bot' is unknown; use 'user' or 'assistant'" in capsys.readouterr().out
    assert main(["data", "check", str(file), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["rows"], report["good"], report["findings"][0]["line"]) == (2, False, 2)


def test_check_of_good_data_ends_well(tmp_path, capsys):
    file = tmp_path / "good.jsonl"
    lines = [
        {"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}]}
        for n in range(60)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["data", "check", str(file)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"{file}: OpenAI chat (JSONL), 60 rows"
    assert out[-2:] == ["  moderation: not configured; name a model with --moderation", "good to train on"]


def test_split_makes_parts_that_hold_every_row_once(tmp_path, capsys):
    file = tmp_path / "all.jsonl"
    lines = [
        {"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": "a"}]} for n in range(10)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["data", "split", str(file), "--fractions", "0.7,0.3", "--json"]) == 0
    train, test = json.loads(capsys.readouterr().out)
    assert (train["name"], train["rows"], test["name"], test["rows"]) == ("train", 7, "test", 3)
    parts = rows(tmp_path / "all.train.jsonl") + rows(tmp_path / "all.test.jsonl")
    assert sorted(row["messages"][0]["content"] for row in parts) == [f"q{n}" for n in range(10)]


def test_fractions_that_are_no_numbers_are_refused(tmp_path, capsys):
    file = tmp_path / "all.jsonl"
    file.write_text('{"messages": [{"role": "user", "content": "q"}]}\n')
    assert main(["data", "split", str(file), "--fractions", "most,rest"]) == 2
    assert capsys.readouterr().err.startswith("--fractions 'most,rest' are no numbers")


def test_check_writes_a_report_and_a_repaired_copy(tmp_path, capsys):
    file, page, fixed = tmp_path / "d.jsonl", tmp_path / "r.html", tmp_path / "f.jsonl"
    line = {
        "messages": [{"role": "user", "content": "<script>alert(1)</script>"}, {"role": "assistant", "content": "네"}]
    }
    file.write_text((json.dumps(line, ensure_ascii=False) + "\n") * 2)
    assert main(["data", "check", str(file), "--html", str(page), "--fix", str(fixed), "--lang", "ko"]) == 1
    out = capsys.readouterr().out
    assert (
        "@@ 2 duplicate @@" in out
        and f"경고: {file}:2: 1번째 줄과 같은 행입니다" in out
        and "유해성 검사: 설정하지 않음" in out
    )
    assert rows(fixed) == [line]
    text = page.read_text()
    assert "&lt;script&gt;" in text and "<script" not in text and "src=" not in text and "href=" not in text
    assert text.count("<svg") == 2 and "데이터 보고서" in text  # characters and messages; no tokens without a model


def test_check_under_json_is_one_value_with_the_numbers(tmp_path, capsys):
    file = tmp_path / "d.csv"
    file.write_text("Q,A,label\n공은?,둥글다,0\n")
    assert main(["data", "check", str(file), "--json", "--fix", str(tmp_path / "e.csv")]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["format"], report["rows"], report["moderation"], report["fixed"]["changes"]) == (
        "table",
        1,
        "not configured",
        {},
    )
    assert report["summary"]["messages"] == 2 and report["summary"]["tokens"] is None


def test_a_price_without_tokens_is_refused(tmp_path, capsys):
    file = tmp_path / "d.jsonl"
    file.write_text("{}\n")
    assert main(["data", "check", str(file), "--price", "3"]) == 2
    assert "add --model" in capsys.readouterr().err


def test_convert_says_what_it_found_and_what_is_lost(tmp_path, capsys):
    file, out = tmp_path / "a.json", tmp_path / "b.jsonl"
    file.write_text(
        json.dumps(
            [
                {"instruction": "더해", "input": "1 2", "output": "3"},
                {"instruction": "hi", "input": "", "output": "hello"},
            ]
        )
    )
    assert main(["data", "convert", str(file), str(out), "--to", "chat", "--lang", "en"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{file}: 2 rows of Alpaca (JSON) became 2 rows of openai-chat in {out}"
    assert said[1:] == [
        "1 of 2 rows come back exactly as they were; what is lost:",
        "  instruction and input become one message (1)",
    ]
    assert rows(out)[0]["messages"][0] == {"role": "user", "content": "더해\n1 2"}
    assert main(["data", "convert", str(out), str(tmp_path / "c.json"), "--to", "sharegpt", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lossless"] is True
    assert main(["data", "convert", str(file), str(out), "--to", "chatt"]) == 2


def test_both_languages_of_the_check_have_the_same_sentences():
    import string

    from apps.cli.data.words import WORDS
    from tuning.data.item import LOSSES

    def gaps(sentence):
        return sorted(name for _, name, _, _ in string.Formatter().parse(sentence) if name)

    assert {key: gaps(said) for key, said in WORDS["en"].items()} == {
        key: gaps(said) for key, said in WORDS["ko"].items()
    }
    assert LOSSES["en"].keys() == LOSSES["ko"].keys()

"""What the commands on rows say, in English and Korean."""

from typing import Any

WORDS = {
    "en": {
        "rows": "{file}: {rows} rows",
        "deduped": "{file}: {rows} rows; {exact} equal and {near} nearly equal rows left out",
        "pair": "  line {line} is like line {other} ({share:.0%})",
        "mixed": "{file}: {rows} rows of the mix ({share:.1%})",
        "sampled": "{out}: {count} of {rows} rows",
        "stats": "{file}: {rows} rows, {bytes:,} bytes; {distinct_rows} different rows, {distinct_prompts} different prompts; Korean in {korean:.0%}",
        "lengths": "Characters a row: {percentiles}",
        "keys_titles": "KEYS,ROWS",
        "roles_titles": "ROLE,MESSAGES,CHARACTERS",
        "split_titles": "FILE,ROWS",
        "from_runs": "{file}: {rows} rows from {runs} runs; {twice} repeated rows left out, {redacted} pieces of personal data replaced",
    },
    "ko": {
        "rows": "{file}: {rows}행",
        "deduped": "{file}: {rows}행. 똑같은 행 {exact}개와 거의 같은 행 {near}개를 뺐습니다",
        "pair": "  {line}번 줄은 {other}번 줄과 비슷합니다({share:.0%})",
        "mixed": "{file}: 섞은 데이터 가운데 {rows}행({share:.1%})",
        "sampled": "{out}: 전체 {rows}행 가운데 {count}행",
        "stats": "{file}: {rows}행, {bytes:,}바이트. 서로 다른 행 {distinct_rows}개, 서로 다른 프롬프트 {distinct_prompts}개. 한국어가 있는 행 {korean:.0%}",
        "lengths": "행의 글자 수: {percentiles}",
        "keys_titles": "키,행",
        "roles_titles": "역할,메시지,글자",
        "split_titles": "파일,행",
        "from_runs": "{file}: 실행 {runs}개에서 {rows}행. 겹친 행 {twice}개를 빼고 개인정보 {redacted}곳을 가렸습니다",
    },
}


def say(code: str, language: str, **facts: Any) -> str:
    """Return the sentence for `code`."""
    return WORDS[language][code].format(**facts)


def titles(code: str, language: str) -> list[str]:
    """Return the titles of a table's columns."""
    return WORDS[language][code].split(",")

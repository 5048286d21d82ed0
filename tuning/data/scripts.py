"""The writing systems that a check tells apart, in English and Korean."""

KOREAN = {
    "Korean": "한글", "Chinese": "한자", "Japanese": "일본 문자", "Cyrillic": "키릴 문자", "Arabic": "아랍 문자", "Devanagari": "데바나가리 문자",
    "Thai": "태국 문자", "Greek": "그리스 문자", "Hebrew": "히브리 문자", "Latin": "로마자", "other": "그 밖의 문자", "none": "글자 없음",
}  # fmt: skip


def named(script: str, language: str) -> str:
    """Return the name of a writing system in `en` or `ko`; what is none is returned as it is."""
    return KOREAN.get(script, script) if language == "ko" else script

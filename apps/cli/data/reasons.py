"""Why makers dropped what a model wrote: the makers say it in English, and a Korean user reads it in Korean."""

KO = {
    "no answer": "답이 없음",
    "longer than the model's context": "모델의 문맥보다 긺",
    "no JSON": "JSON이 아님",
    "empty": "비어 있음",
    "question points at the passage": "질문이 지문을 가리킴",
    "quote not in the passage": "인용이 지문에 없음",
    "number not in the quote": "답의 숫자가 인용에 없음",
    "answer not in the quote": "답의 내용이 인용에 없음",
    "asked before": "이미 물은 질문",
    "too short": "너무 짧음",
    "too long": "너무 김",
    "needs more than text": "글만으로는 할 수 없음",
    "asks for a program": "프로그램을 요구함",
    "begins with punctuation": "문장 부호로 시작함",
    "begins with a foreign letter": "다른 언어의 글자로 시작함",
    "too near another": "다른 것과 너무 비슷함",
    "no output": "출력이 없음",
    "no list": "목록이 아님",
    "not in the form": "형식에 맞지 않음",
    "no usable instance": "쓸 수 있는 예가 없음",
    "same as another": "다른 것과 같음",
    "empty turn": "빈 차례",
    "fewer than two different answers": "서로 다른 답이 둘보다 적음",
    "all answers tie": "모든 답이 동점",
    "comparison without a verdict": "판정이 없는 비교",
}


def reason(said: str, language: str) -> str:
    """Return a maker's reason in `en` or `ko`."""
    return KO[said] if language == "ko" else said

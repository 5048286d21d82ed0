"""Every sentence that a person chatting reads, in English and Korean; a test holds that both tables have the same keys."""

import os

from chains.errors import UsageError

LANGUAGES = ("en", "ko")


def language(asked: str | None = None) -> str:
    """Return `en` or `ko`: what was asked, else CHAINTUNE_LANG, else the locale. Raises UsageError on another language."""
    chosen = asked or os.environ.get("CHAINTUNE_LANG")
    if chosen:
        if chosen not in LANGUAGES:
            raise UsageError(f"language {chosen!r} is unknown; use 'ko' or 'en'")
        return chosen
    locale = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
    return "ko" if locale.lower().startswith("ko") else "en"


def text(key: str, language: str, **values: object) -> str:
    """Return the sentence `key` in `language`, its braces filled from `values`."""
    return TEXTS[language][key].format(**values)


TEXTS = {
    "en": {
        # the terminal
        "chat_hello": "Talking to {model} in session {session}. /help lists the commands, /quit ends.",
        "chat_help": "/good and /bad rate the last answer, /fix TEXT gives the answer as it should be, /new starts a new conversation, /quit ends",
        "chat_you": "you> ",
        "chat_unknown": "no command {command}; have /good, /bad, /fix TEXT, /new, /help, /quit",
        "chat_nothing_to_rate": "there is no answer to rate yet",
        "chat_fix_empty": "write the better answer after /fix",
        "chat_kept": "kept",
        "chat_new": "a new conversation: {session}",
        "chat_stopped": "(stopped; this answer is not remembered)",
        "sources": "Sources",
        "page_number": "p. {page}",
        "ui_ready": "The chat page is at {url} (Ctrl-C stops it)",
        "ui_stopped": "stopped",
        "samples_run": "Run one with: chaintune sample NAME --model MODEL key=value",
        # the chat page
        "title": "Chat",
        "ask_here": "Ask something",
        "new_conversation": "New conversation",
        "conversations": "Conversations",
        "model": "Model",
        "other_model": "Another model, by name",
        "other_model_help": "For example hf:Qwen/Qwen3-0.6B, or openai:MODEL with OPENAI_BASE_URL set. It is used in place of the one above.",
        "system": "The assistant's instructions",
        "system_example": "For example: You are a polite assistant who answers in two sentences.",
        "temperature": "Temperature",
        "temperature_help": "How freely words are chosen; 0 always takes the likeliest. The model's own setting is used until you move it.",
        "library": "Index of documents (folder)",
        "library_help": "Made by: chaintune index DOCUMENTS --library FOLDER. Answers then come with their sources.",
        "settings": "Settings",
        "loading": "Loading {model} …",
        "stop": "Stop",
        "stopped": "stopped",
        "improve": "Improve",
        "improve_help": "Write the answer as it should have been; `chaintune runs export` makes training data of it.",
        "better_answer": "The answer as it should be",
        "save": "Save",
        "saved": "Saved",
        "hello": "What would you like to know?",
        "hello_library": "Ask about your documents; the answers show their sources.",
        "no_model": "There is no model on this machine yet. Run `chaintune demo` in a terminal: it makes a small one in a few minutes. "
        "Or name one under Settings.",
        "starter_note": "The starter model is very small: it shows how everything works, and it does not know much.",
    },
    "ko": {
        "chat_hello": "{model} 모델과 대화합니다(세션 {session}). /help는 명령 목록, /quit는 끝내기입니다.",
        "chat_help": "/good, /bad는 마지막 답변을 평가하고, /fix 뒤에 바른 답을 쓰면 저장합니다. /new는 새 대화, /quit는 끝내기입니다",
        "chat_you": "나> ",
        "chat_unknown": "{command} 명령은 없습니다. /good, /bad, /fix 답변, /new, /help, /quit를 쓸 수 있습니다",
        "chat_nothing_to_rate": "아직 평가할 답변이 없습니다",
        "chat_fix_empty": "/fix 뒤에 더 나은 답변을 써 주세요",
        "chat_kept": "저장했습니다",
        "chat_new": "새 대화를 시작합니다: {session}",
        "chat_stopped": "(멈췄습니다. 이 답변은 기억하지 않습니다)",
        "sources": "출처",
        "page_number": "{page}쪽",
        "ui_ready": "채팅 화면: {url} (Ctrl-C를 누르면 끝납니다)",
        "ui_stopped": "끝냈습니다",
        "samples_run": "실행: chaintune sample 이름 --model 모델 키=값",
        "title": "채팅",
        "ask_here": "무엇이든 물어보세요",
        "new_conversation": "새 대화",
        "conversations": "지난 대화",
        "model": "모델",
        "other_model": "다른 모델 이름",
        "other_model_help": "예: hf:Qwen/Qwen3-0.6B, 또는 OPENAI_BASE_URL을 정하고 openai:모델. 위에서 고른 모델 대신 씁니다.",
        "system": "AI 어시스턴트 설정",
        "system_example": "예: 당신은 두 문장으로 답하는 친절한 상담원입니다.",
        "temperature": "온도",
        "temperature_help": "낱말을 얼마나 자유롭게 고르는지 정합니다. 0이면 늘 가장 그럴듯한 것을 고릅니다. 움직이기 전에는 모델의 설정을 따릅니다.",
        "library": "문서 색인 폴더",
        "library_help": "만드는 방법: chaintune index 문서 --library 폴더. 그러면 답변에 출처가 붙습니다.",
        "settings": "설정",
        "loading": "{model} 모델을 불러오는 중 …",
        "stop": "멈추기",
        "stopped": "멈춤",
        "improve": "고쳐 쓰기",
        "improve_help": "답변이 어땠어야 하는지 써 주세요. `chaintune runs export`가 학습 데이터로 만듭니다.",
        "better_answer": "바른 답변",
        "save": "저장",
        "saved": "저장했습니다",
        "hello": "무엇을 도와드릴까요?",
        "hello_library": "문서에 대해 물어보세요. 답변에 출처를 함께 보여 드립니다.",
        "no_model": "이 컴퓨터에 아직 모델이 없습니다. 터미널에서 `chaintune demo`를 실행하면 몇 분 만에 작은 모델이 만들어집니다. "
        "설정에서 모델 이름을 직접 쓸 수도 있습니다.",
        "starter_note": "starter는 아주 작은 모델입니다. 모든 과정을 보여 주지만 아는 것은 많지 않습니다.",
    },
}

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
        "eval_collection": "{collection}: {documents} documents, {questions} questions",
        "eval_by_place": "The judgements number the topics by their place in the file, not by <num>.",
        "ui_ready": "The chat page is at {url} (Ctrl-C stops it)",
        "key_once": "this key is not shown again; keep it where only its user sees it",
        "jobs_none": "no jobs yet; a client of `chaintune serve` makes one with fine_tuning.jobs.create",
        "serve_ready": "OpenAI's API is at {url}/v1 (Ctrl-C stops it)",
        "serve_stopped": "stopped",
        "ui_stopped": "stopped",
        "samples_run": "Run one with: chaintune sample NAME --model MODEL key=value",
        # training
        "tune_stopped": "the last checkpoint is kept; the same command goes on from there",
        "tune_sample": "step {step}  {question}\n  → {answer}",
        # making data
        "make_sent": "what {model} is asked is sent to {host}",
        "make_interrupted": "what is done is kept in {part}; the same command goes on from there",
        "make_left_out": "the model takes no {settings}; it was asked without",
        "make_done": "{file}: {rows} rows ({usage}, {seconds} s)",
        "make_short": "{rows} of {wanted} rows could be made; see below what was dropped, or use a larger model",
        "make_dropped": "  dropped {count}: {reason}",
        "label_help": "1 to 9: the next best answer.  =: the next one ties with the last.  u: take the last key back.  s: skip.  b: back to the row before.  q: stop, and go on later.  ?: this help",
        "label_row": "row {number} of {total}",
        "label_order": "order: {order}",
        "label_confirm": "Enter takes this order, u takes a key back",
        "label_end": "all rows are decided; Enter finishes, b goes back to the last",
        "label_no": "that key does nothing here; ? shows what does",
        "label_left": "{done} of {total} rows are decided; the same command goes on from there",
        "label_result": "{file}: {rows} ranked rows; skipped {skipped}, all tied {tied}",
        "dialog_help": "Enter takes the suggestion, a line of your own replaces it; /edit changes it, /again asks for another, /undo takes the last turn back, /done ends the dialog, /quit stops; // begins a line with a slash",
        "dialog_turn": "dialog {number}, {role} (suggested): {suggestion}",
        "dialog_none": "no suggestion: {error}",
        "dialog_empty": "there is no suggestion to take; write the turn, or /again",
        "dialog_closed": "dialog {number} is finished",
        "dialog_open": "the assistant has to speak last; go on, or /undo",
        "dialog_nothing": "there is nothing to take back",
        "dialog_result": "{file}: {rows} dialogs ({usage})",
        "dialog_left": "a dialog is open with {turns} turns; the same command goes on with it",
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
        "eval_collection": "{collection}: 문서 {documents}개, 질문 {questions}개",
        "eval_by_place": "판정은 주제를 <num>이 아니라 파일에 놓인 순서로 가리킵니다.",
        "ui_ready": "채팅 화면: {url} (Ctrl-C를 누르면 끝납니다)",
        "key_once": "이 키는 다시 보여 드리지 않습니다. 쓸 사람만 볼 수 있는 곳에 두세요",
        "jobs_none": "아직 작업이 없습니다. `chaintune serve`의 클라이언트가 fine_tuning.jobs.create로 만듭니다",
        "serve_ready": "OpenAI API 주소: {url}/v1 (Ctrl-C를 누르면 끝납니다)",
        "serve_stopped": "끝냈습니다",
        "ui_stopped": "끝냈습니다",
        "samples_run": "실행: chaintune sample 이름 --model 모델 키=값",
        "tune_stopped": "마지막 체크포인트가 남아 있습니다. 같은 명령을 다시 쓰면 이어서 합니다",
        "tune_sample": "{step}단계  {question}\n  → {answer}",
        "make_sent": "{model} 모델에 묻는 내용은 {host}(으)로 보내집니다",
        "make_interrupted": "한 데까지 {part}에 남아 있습니다. 같은 명령을 다시 쓰면 이어서 합니다",
        "make_left_out": "이 모델은 {settings} 설정을 받지 않아 빼고 물었습니다",
        "make_done": "{file}: {rows}줄 ({usage}, {seconds}초)",
        "make_short": "{wanted}줄 가운데 {rows}줄만 만들었습니다. 버린 까닭은 아래에 있습니다. 더 큰 모델을 써 보세요",
        "make_dropped": "  버림 {count}: {reason}",
        "label_help": "1~9: 다음으로 좋은 답.  =: 다음 답은 앞의 답과 같은 순위.  u: 마지막 키 취소.  s: 건너뛰기.  b: 앞의 줄로.  q: 멈추고 나중에 이어 하기.  ?: 이 도움말",
        "label_row": "{total}줄 가운데 {number}번째",
        "label_order": "순서: {order}",
        "label_confirm": "Enter를 누르면 이 순서로 정하고, u를 누르면 키 하나를 취소합니다",
        "label_end": "모든 줄을 정했습니다. Enter를 누르면 끝나고, b를 누르면 마지막 줄로 돌아갑니다",
        "label_no": "여기서는 쓰지 않는 키입니다. ?를 누르면 쓸 수 있는 키가 나옵니다",
        "label_left": "{total}줄 가운데 {done}줄을 정했습니다. 같은 명령을 다시 쓰면 이어서 합니다",
        "label_result": "{file}: 순위를 매긴 줄 {rows}, 건너뛴 줄 {skipped}, 모두 같은 순위 {tied}",
        "dialog_help": "Enter는 제안을 그대로 쓰고, 줄을 쓰면 그 말로 바꿉니다. /edit 고치기, /again 다른 제안, /undo 마지막 말 취소, /done 대화 끝, /quit 멈추기. 빗금으로 시작하는 말은 //로 씁니다",
        "dialog_turn": "대화 {number}, {role} (제안): {suggestion}",
        "dialog_none": "제안이 없습니다: {error}",
        "dialog_empty": "쓸 제안이 없습니다. 말을 직접 쓰거나 /again을 쓰세요",
        "dialog_closed": "대화 {number}을(를) 마쳤습니다",
        "dialog_open": "마지막 말은 어시스턴트가 해야 합니다. 이어서 쓰거나 /undo를 쓰세요",
        "dialog_nothing": "취소할 것이 없습니다",
        "dialog_result": "{file}: 대화 {rows}개 ({usage})",
        "dialog_left": "말 {turns}개까지 쓴 대화가 남아 있습니다. 같은 명령을 다시 쓰면 이어서 합니다",
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

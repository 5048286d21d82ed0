"""The chat page in a real browser: a Korean question, an answer as it streams, its source, a thumb that reaches the run store."""

import contextlib
import http.server
import json
import re
import shutil
import socket
import threading
import time

import pytest

from apps.cli import main
from apps.ui import server
from chains import runs

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on the PATH to drive the page with"),
]

RULES = "# 규칙\n\n## 공\n\n운동장은 넓습니다. 공이 밖으로 나가면 상대 팀이 던집니다. 그때 시계는 멈추지 않습니다.\n"
ANSWER = "상대 팀이 **던집니다**. ![x](http://evil.example/a.png) <img src='http://evil.example/b.png'> " + "가" * 200


class Talker(http.server.BaseHTTPRequestHandler):
    """Speaks OpenAI's protocol: a word each twentieth of a second, until the reader leaves."""

    left = threading.Event()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        with contextlib.suppress(OSError):
            for number in range(1200):
                choice = {
                    "index": 0,
                    "delta": {"role": "assistant", "content": f"이야기{number} "},
                    "finish_reason": None,
                }
                self.wfile.write(
                    f"data: {json.dumps({'id': 'x', 'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n".encode()
                )
                self.wfile.flush()
                time.sleep(0.05)
            return
        self.left.set()

    def log_message(self, *given):
        pass


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def talker():
    """A model's server, as an address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Talker) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}/v1"
        served.shutdown()


@pytest.fixture(scope="module")
def site(talker, tmp_path_factory):
    """A running page over the rules: its address, and the home that it keeps its runs in."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "rules.md").write_text(RULES)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CHAINTUNE_HOME", str(folder / "home"))
        environment.setenv("OPENAI_BASE_URL", talker)
        assert main(["index", str(folder / "rules.md"), "--library", str(folder / "kb")]) == 0
        child = server.start(port, server.Settings(f"fake:{ANSWER}", str(folder / "kb"), None, "ko"))
    yield f"http://localhost:{port}", folder / "home"
    server.stop(child)


@pytest.fixture
def open_page(browser, site, monkeypatch):
    """Open the page in a window of this width; every address that it asks for is kept in `asked`."""
    address, kept = site
    monkeypatch.setenv("CHAINTUNE_HOME", str(kept))

    def open_one(width=1100):
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(address)
        return page

    return open_one


def ask(page, question):
    box = page.get_by_placeholder("무엇이든 물어보세요")
    box.fill(question)
    box.press("Enter")


def test_a_question_is_answered_with_its_source_and_judged(open_page):
    page = open_page()
    ask(page, "공이 밖으로 나가면 어떻게 되나요?")
    answer = page.get_by_test_id("stChatMessage").nth(1)
    sync_api.expect(answer.get_by_text("상대 팀이 던집니다").first).to_be_visible(timeout=30_000)
    answer.get_by_text("rules.md").click()
    sync_api.expect(answer.locator("mark")).to_have_text("공이 밖으로 나가면 상대 팀이 던집니다.")
    assert "그때 시계는 멈추지 않습니다." in answer.locator("mark").locator("..").inner_text()
    answer.get_by_label("Thumbs up").click()
    page.wait_for_timeout(1000)
    run = runs.recent(1)[0]
    assert (run.inputs["question"], run.rating) == ("공이 밖으로 나가면 어떻게 되나요?", 1)
    assert page.locator("img[src*='evil']").count() == 0
    elsewhere = [url for url in page.asked if not re.match(r"(https?|wss?)://localhost:|data:|blob:", url)]
    assert elsewhere == []


def test_an_answer_can_be_stopped_and_what_was_said_stays(open_page):
    page = open_page()
    page.get_by_text("설정", exact=True).click()
    typed = page.get_by_role("textbox", name="다른 모델 이름")
    typed.fill("openai:talker")
    typed.press("Enter")
    ask(page, "공이 밖으로 나가면?")
    answer = page.get_by_test_id("stChatMessage").nth(1)
    sync_api.expect(answer.get_by_text("이야기3 ")).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="멈추기").click()
    sync_api.expect(answer.get_by_text("멈춤", exact=True)).to_be_visible(timeout=30_000)
    assert "이야기3 " in answer.inner_text()
    assert Talker.left.wait(5)  # the model was told to stop, not only the page


def test_on_a_phone_nothing_is_wider_than_the_screen(open_page):
    page = open_page(width=360)
    ask(page, "공이 밖으로 나가면 어떻게 되나요?")
    answer = page.get_by_test_id("stChatMessage").nth(1)
    answer.get_by_text("rules.md").click(timeout=30_000)
    sync_api.expect(answer.locator("mark")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    box = answer.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 360

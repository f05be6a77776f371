"""The page of the server, in a browser, as people use it."""

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import exports
import served
from browsers import Browser, browser_is_here, chromium, evaluated, show
from served import Running

# Bands of rows: a line is in the middle wherever it is drawn, since ink is centred; two lines, of
# which the upper one is the longer, are at the top
BANDS = ["top", "middle", "bottom"]
INK: dict[str, Any] = {"shape": (28, 28, 1), "ink": 0.714, "classes": BANDS}
COLOURS = [f"shade {i}" for i in range(32)]
COLOUR: dict[str, Any] = {"shape": (32, 32, 3), "classes": COLOURS, "model_md5": "1" * 32}

UPPER, LOWER = [(0.2, 0.2), (0.8, 0.2)], [(0.35, 0.75), (0.65, 0.75)]

INK_DRAWN = """(() => {
    const context = new OffscreenCanvas(paper.width, paper.height).getContext("2d")
    context.drawImage(paper, 0, 0)
    const { data } = context.getImageData(0, 0, paper.width, paper.height)
    return [...data.keys()].filter(i => i % 4 == 3 && data[i] > 127)
        .map(i => (i >> 2) % paper.width)
})()"""

pytestmark = [browser_is_here, pytest.mark.xdist_group("page")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the model that is served."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "dvc.yaml").write_text("stages: {}\n")
    return exports.write(folder / "model.onnx", **INK)


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Running]:
    with served.command(model.parent, "--model", str(model)) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium with a camera that shows a test picture, and permission to use it."""
    flags = ("use-fake-device-for-media-stream", "use-fake-ui-for-media-stream")
    with chromium(tmp_path_factory.mktemp("chromium"), *flags) as driver:
        yield driver


@dataclass
class Page:
    """The page in the browser, and what a person does with it."""

    browser: Browser
    url: str

    def open(self, width: int = 1200, scheme: str = "light") -> None:
        """Open it, and wait for the model."""
        show(self.browser, self.url, width, scheme)
        until(lambda: self.text("knows").strip())

    def get(self, expression: str) -> Any:
        """The value of an expression in JavaScript."""
        return evaluated(self.browser, expression)

    def text(self, name: str) -> str:
        """The text of the element `name`, as far as it can be seen."""
        return str(self.get(f"document.getElementById({name!r}).innerText"))

    def ink(self) -> list[int]:
        """The column of each pixel of the paper that has ink."""
        return list(self.get(INK_DRAWN))

    def click(self, name: str) -> None:
        """Click on the element `name`."""
        self.browser.find_element(By.ID, name).click()

    def press(self, *keys: str) -> None:
        """Press keys, where the focus is."""
        ActionChains(self.browser).send_keys(*keys).perform()

    def places(self, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        """Points of the paper, of which it is 1 wide and high, in pixels of the window."""
        left, top, side = self.get(
            "(box => [box.left, box.top, box.width])(paper.getBoundingClientRect())"
        )
        return [(left + side * x, top + side * y) for x, y in points]

    def mouse(
        self, points: list[tuple[float, float]], lift: bool = True, **pointer: object
    ) -> None:
        """Draw a line with the mouse, or with another `pointer`."""
        for i, (x, y) in enumerate(self.places(points)):
            self.mouse_event("mouseMoved" if i else "mousePressed", x, y, **pointer)
        if lift:
            self.mouse_event("mouseReleased", x, y, **pointer)

    def mouse_event(self, kind: str, x: float, y: float, **pointer: object) -> None:
        """Press the mouse, move it, or let it go."""
        event = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
        held = {"buttons": int(kind != "mouseReleased")}
        self.browser.execute_cdp_cmd("Input.dispatchMouseEvent", event | held | pointer)

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        """Put fingers on the glass, move or lift them."""
        fingers = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        event = {"type": kind, "touchPoints": fingers}
        self.browser.execute_cdp_cmd("Input.dispatchTouchEvent", event)

    def choose(self, *files: Path) -> None:
        """Choose picture files."""
        self.browser.find_element(By.ID, "files").send_keys("\n".join(map(str, files)))

    def answers(self, name: str) -> None:
        """Wait until the answer is the class `name`."""
        until(lambda: self.text("class") == name)

    def hold(self) -> None:
        """Keep answers back until `release`, and count the requests."""
        self.browser.execute_script("""
            const fetched = window.fetch
            window.asked = window.open = window.most = 0
            window.signals = []
            window.held = new Promise((resolve) => { window.release = resolve })
            window.fetch = async (...request) => {
                window.asked += 1
                window.signals.push(request[1].signal)
                window.most = Math.max(window.most, ++window.open)
                const answer = await fetched(...request)
                await window.held
                window.open -= 1
                return answer
            }""")

    def release(self) -> None:
        """Let the answers through."""
        self.browser.execute_script("window.release()")


@pytest.fixture
def page(browser: Browser, server: Running) -> Iterator[Page]:
    """The page, just opened. At the end, it must not have tried what it may not do."""
    browser.get_log("browser")
    page = Page(browser, f"{server.url}/")
    page.open()
    yield page
    assert [line for line in browser.get_log("browser") if "/predict" not in line["message"]] == []
    loaded = page.get("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert len(loaded) >= 3
    assert [name for name in loaded if not name.startswith((page.url, "data:", "blob:"))] == []
    assert page.get("localStorage.length + sessionStorage.length + document.cookie.length") == 0


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.03)


def picture(path: Path, colour: str = "red", size: tuple[int, int] = (64, 48)) -> Path:
    """A picture file, in the format of its name."""
    Image.new("RGB", size, colour).save(path)
    return path


def test_it_answers_while_one_draws(page: Page) -> None:
    assert page.text("answer").startswith("The answer appears here.")
    page.mouse(UPPER, lift=False)
    page.answers("middle")
    page.mouse_event("mouseReleased", *page.places(UPPER)[-1])
    page.mouse(LOWER)
    page.answers("top")
    rows = [row.split("\n") for row in page.get("[...bars.children].map(row => row.innerText)")]
    assert [name for name, _ in rows] == BANDS
    shares = page.get(
        "[...document.querySelectorAll('#bars div')].map(bar => "
        "+bar.style.getPropertyValue('--share'))"
    )
    assert sum(shares) == pytest.approx(1, abs=1e-4)
    assert max(shares) == shares[0]
    assert rows[0][1] == page.text("probability") == f"{100 * shares[0]:.1f}\u00a0%"
    until(lambda: page.get("document.getAnimations().length") == 0)
    drawn = page.get("getComputedStyle(bars.querySelector('.highest div'), '::before').width")
    whole = page.get("bars.querySelector('.highest div').clientWidth")
    assert float(drawn.removesuffix("px")) / whole == pytest.approx(shares[0], abs=0.01)


def test_it_shows_what_the_network_sees(page: Page) -> None:
    page.mouse(UPPER)
    page.answers("middle")
    assert page.get("[fitted.naturalWidth, fitted.naturalHeight]") == [28, 28]
    assert page.get("fitted.alt") == "Your picture in 28 by 28 pixels"
    assert "What the network sees" in page.text("answer")


def test_it_names_the_model(page: Page, server: Running) -> None:
    assert page.text("knows") == "It knows top, middle and bottom. Draw one, or show it a picture."
    assert page.browser.title == "Ask the model: tiny"
    assert f"Model\ntiny\nInput\n28 \u00d7 28, grey\nmd5\n{'0' * 32}" in page.text("facts")
    card = page.browser.find_element(By.LINK_TEXT, "Model card").get_attribute("href")
    assert card == f"{server.url}/model"
    assert b"tiny" in server.get("/model")[2]


def test_its_figures(page: Page) -> None:
    """Those of the run, where the server knows it."""
    page.browser.execute_script("""
        const fetched = window.fetch
        window.fetch = async (path, ...more) => {
            const answer = await fetched(path, ...more)
            if (path !== "model") {
                const json = await answer.json()
                json.model.onnx_md5 = "another"
                return Response.json(json)
            }
            const figures = { accuracy: 0.9909, errors: 1091 }
            return Response.json({ ...await answer.json(), revision: "v1.0.0", figures })
        }""")
    page.mouse(UPPER)
    page.answers("middle")
    assert "Revision\nv1.0.0\nTest accuracy\n99.09\u00a0%\nTest errors\n1,091" in page.text("facts")


def test_a_finger_draws_and_does_not_scroll(page: Page) -> None:
    browser = page.browser
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        page.open(width=390)
        assert page.get("document.documentElement.scrollHeight > innerHeight")
        first, *others = page.places([(0.5, 0.9), (0.5, 0.6), (0.5, 0.3), (0.5, 0.1)])
        page.touch("touchStart", first)
        for point in others:
            page.touch("touchMove", point)
        page.answers("middle")
        for kind, palm in (("touchStart", (0.1, 0.1)), ("touchMove", (0.1, 0.3))):
            page.touch(kind, others[-1], *page.places([palm]))
        page.touch("touchEnd")
        columns = page.ink()
        assert 200 < min(columns) < max(columns) < 440
        assert page.get("scrollY") == 0
        assert page.get("visualViewport.scale") == 1
    finally:
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_a_pen_that_is_pressed_harder_draws_wider(page: Page) -> None:
    drawn = []
    for force in (0.1, 0.9):
        page.click("clear")
        page.mouse(UPPER, pointerType="pen", force=force)
        drawn.append(len(page.ink()))
    assert drawn[1] > 1.5 * drawn[0] > 0
    page.answers("middle")


def test_a_tap_leaves_a_dot(page: Page) -> None:
    page.mouse(UPPER[:1])
    assert len(page.ink()) > 500
    page.answers("middle")


def test_pictures_are_chosen(page: Page, tmp_path: Path) -> None:
    page.choose(picture(tmp_path / "one.png"))
    until(lambda: page.text("class"))
    assert page.get("stage.dataset.shows") == "picture"
    assert page.get("[picture.naturalWidth, picture.alt]") == [64, "one.png"]
    assert page.get("tray.hidden")
    (tmp_path / "notes.txt").write_text("no picture")
    # Browsers show no TIFF
    names = ["a.png", "b.jpg", "c.tiff"]
    page.choose(*(picture(tmp_path / name) for name in names), tmp_path / "notes.txt")
    buttons = page.browser.find_elements(By.CSS_SELECTOR, "#tray button")
    assert len(buttons) == 4
    until(lambda: all("…" not in button.text for button in buttons))
    said = [str(button.get_attribute("aria-label")) for button in buttons]
    assert [words.partition(": ")[0] for words in said] == [*names, "notes.txt"]
    assert all(words.partition(": ")[2] in BANDS for words in said[:3])
    assert [button.get_attribute("aria-pressed") for button in buttons] == ["true", *["false"] * 3]
    buttons[2].click()
    until(lambda: page.get("picture.naturalWidth") == 28)  # as the network sees it
    assert buttons[2].find_element(By.TAG_NAME, "img").size["width"] > 30
    buttons[3].click()
    until(lambda: "notes.txt is not a picture" in page.text("problem"))
    assert page.text("class") == ""
    page.choose(tmp_path / "c.tiff")
    until(lambda: page.get("picture.naturalWidth") == 28)
    assert page.get("tray.hidden")


MADE = """
const canvas = Object.assign(new OffscreenCanvas(40, 30))
canvas.getContext("2d").fillRect(0, 10, 40, 4)
const file = new File([await canvas.convertToBlob()], "made.png", { type: "image/png" })
const data = new DataTransfer()
if (arguments[0]) data.items.add(file)
"""


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_pictures_are_dropped_or_pasted(page: Page, how: str) -> None:
    events = {
        "drop": """document.body.dispatchEvent(new DragEvent("dragover", {
            dataTransfer: data, bubbles: true, cancelable: true }))
        window.marked = stage.classList.contains("dropping")
        document.body.dispatchEvent(new DragEvent("drop", {
            dataTransfer: data, bubbles: true, cancelable: true }))""",
        "paste": """document.body.dispatchEvent(new ClipboardEvent("paste", {
            clipboardData: data, bubbles: true }))
        window.marked = true""",
    }
    page.browser.execute_script(MADE + events[how], True)
    until(lambda: page.text("class"))
    assert page.get("[picture.naturalWidth, picture.alt]") == [40, "made.png"]
    assert page.get("window.marked && !stage.classList.contains('dropping')")
    page.browser.execute_script(MADE + events[how], False)
    assert page.text("problem") == "That holds no picture file."


def test_everything_can_be_done_with_the_keyboard(page: Page) -> None:
    order = []
    for _ in range(5):
        page.press(Keys.TAB)
        order.append(page.get("document.activeElement.id || document.activeElement.innerText"))
        # What has the focus can be seen to have it
        assert page.get("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert order == ["paper", "choose", "camera", "clear", "Model card"]
    back = ActionChains(page.browser).key_down(Keys.SHIFT).send_keys(*[Keys.TAB] * 4)
    back.key_up(Keys.SHIFT).perform()
    assert page.get("getComputedStyle(pen).display") == "block"
    page.press(" ", *[Keys.ARROW_RIGHT] * 12, " ", *[Keys.ARROW_DOWN] * 3)
    page.answers("middle")
    drawn = page.ink()
    page.press(Keys.ARROW_LEFT)  # with the pen lifted
    assert page.ink() == drawn != []
    page.press(Keys.ESCAPE)
    assert (page.ink(), page.text("class")) == ([], "")
    page.press(" ")  # still on the paper
    page.answers("middle")
    page.get("document.getElementById('clear').focus()")
    page.press(Keys.ENTER)
    assert (page.ink(), page.text("class")) == ([], "")
    page.browser.execute_script(
        "files.addEventListener('click', (event) => {"
        "event.preventDefault(); window.chosen = true })"
    )
    page.get("choose.focus()")
    page.press(Keys.ENTER)
    assert page.get("window.chosen")


def test_an_answer_to_what_was_cleared_is_dropped(page: Page) -> None:
    page.hold()
    page.mouse(UPPER)
    until(lambda: page.get("window.asked") == 1)
    page.click("clear")
    assert page.text("waiting")
    assert page.get("signals[0].aborted")
    page.release()
    page.mouse(LOWER)
    page.mouse(UPPER)
    page.answers("top")
    page.click("clear")
    time.sleep(0.3)
    assert page.text("class") == page.text("problem") == ""
    assert page.ink() == []


def test_the_latest_drawing_is_answered_and_one_request_is_under_way(page: Page) -> None:
    page.hold()
    page.mouse(UPPER)
    page.mouse(LOWER)
    until(lambda: page.get("window.asked") == 1)
    page.release()
    page.answers("top")
    until(lambda: page.get("window.open") == 0)
    time.sleep(0.2)
    assert page.text("class") == "top"
    assert page.get("window.most") == 1
    assert page.get("window.asked") == 2  # about the first point, and about all that came then


def test_problems_are_told_in_words(page: Page, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    page.choose(tmp_path / "empty.png")
    until(lambda: page.text("problem") == "empty.png is empty")
    assert page.get("problem.getAttribute('role')") == "alert"
    page.browser.execute_script("""
        window.fetched = window.fetch
        window.fetch = async () => new Response("", { status: 500, statusText: "Of no use" })""")
    page.choose(picture(tmp_path / "good.png"))
    until(lambda: page.text("problem") == "The server answers 500 Of no use.")


def test_a_server_that_was_away_is_asked_again(page: Page, tmp_path: Path) -> None:
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    change = "Network.emulateNetworkConditions"
    page.browser.execute_cdp_cmd("Network.enable", {})
    page.browser.execute_cdp_cmd(change, network | {"offline": True})
    page.choose(picture(tmp_path / "one.png"))
    until(lambda: page.text("problem") == "The server does not answer. Trying again…")
    page.browser.execute_cdp_cmd(change, network | {"offline": False})
    until(lambda: page.text("class"))
    assert page.text("problem") == ""


def test_an_answer_that_stands_is_read_out_once(page: Page) -> None:
    """And none of those that it takes to get there. Here the page waits for the test."""
    assert page.get("spoken.getAttribute('aria-live')") == "polite"
    page.browser.execute_script("""
        window.said = []
        new MutationObserver(() => said.push(spoken.textContent)).observe(
            spoken, { childList: true, characterData: true, subtree: true })
        const wait = window.setTimeout
        window.waiting = new Map()
        window.setTimeout = (action, delay) => {
            if (delay !== 800) return wait(action, delay)
            const timer = waiting.size + 1000000
            waiting.set(timer, action)
            return timer
        }
        window.clearTimeout = (timer) => waiting.delete(timer)
        window.pass = () => { waiting.forEach((action) => action()); waiting.clear() }""")
    page.mouse(UPPER)
    page.answers("middle")
    page.mouse(LOWER)
    page.answers("top")
    page.get("pass()")
    assert page.get("said") == [f"top, {page.text('probability')}"]
    page.mouse(UPPER)
    until(lambda: page.get("performance.getEntriesByType('resource').length") > 4)
    page.get("pass()")
    assert len(page.get("said")) == 1
    page.press(Keys.ESCAPE)
    page.get("pass()")
    assert page.get("said")[1:] == [""]


def test_all_that_can_be_used_has_a_name(page: Page, tmp_path: Path) -> None:
    page.choose(picture(tmp_path / "a.png"), picture(tmp_path / "b.png"))
    until(lambda: page.text("class"))
    tree = page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    names = {
        (node["role"]["value"], node["name"]["value"])
        for node in tree
        if not node["ignored"]
        and any(
            p["name"] == "focusable" and p["value"]["value"] for p in node.get("properties", ())
        )
    }
    assert {role for role, _ in names} >= {"button", "link", "application"}
    assert [role for role, name in names if not name] == []
    assert ("application", "Drawing area") in names
    assert ("button", "Clear Esc") in names


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_window(page: Page, scheme: str) -> None:
    for width in (320, 390, 820, 1200):
        page.open(width, scheme)
        assert page.get("document.documentElement.scrollWidth - innerWidth") <= 0
        left, top, right, bottom = page.get(
            "(box => [box.left, box.top, box.right, box.bottom])(stage.getBoundingClientRect())"
        )
        assert 0 < left < right < width
        assert right - left == pytest.approx(bottom - top, abs=1)
        assert bottom < 800
    page.mouse(UPPER)
    page.answers("middle")  # what is sent is black on white, however it is shown
    ((x, y),) = page.places([(0.5, 0.2)])
    image = np.asarray(Image.open(io.BytesIO(page.browser.get_screenshot_as_png())).convert("L"))
    brightness = [image[5, 5], image[round(y), round(x)]]
    assert [value > 127 for value in brightness] == [scheme == "light", scheme == "dark"]


def test_nothing_moves_for_who_wants_no_motion(page: Page) -> None:
    wanted = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})
    page.mouse(UPPER)
    page.answers("middle")
    assert page.get("document.getAnimations().length") == 0


def test_the_camera_is_asked_about_until_a_picture_is_taken(page: Page) -> None:
    page.click("camera")
    until(lambda: page.text("class"))
    assert page.get("stage.dataset.shows") == "camera"
    assert page.text("camera") == "Take picture"
    page.browser.execute_script("window.stream = video.srcObject")
    page.hold()
    page.release()
    until(lambda: page.get("window.asked") > 2)
    page.click("camera")
    until(lambda: page.get("stage.dataset.shows") == "picture")
    until(lambda: page.get("picture.naturalWidth") == 480)
    assert page.get("window.stream.getTracks()[0].readyState") == "ended"
    assert page.text("camera") == "Camera"
    page.click("camera")
    until(lambda: page.get("stage.dataset.shows") == "camera")
    page.click("clear")
    assert page.get("[stage.dataset.shows, video.srcObject]") == ["nothing", None]


def test_no_camera_and_one_that_may_not_be_used(page: Page) -> None:
    page.browser.execute_script("""navigator.mediaDevices.getUserMedia = async () => {
        throw new DOMException("", "NotAllowedError") }""")
    page.click("camera")
    until(lambda: page.text("problem"))
    assert page.text("problem") == "The camera cannot be used: the browser does not allow it."
    page.browser.execute_script("""navigator.mediaDevices.enumerateDevices = async () => []
        navigator.mediaDevices.dispatchEvent(new Event("devicechange"))""")
    until(lambda: page.get("camera.hidden"))


# The last one, as it leaves another model behind


def test_another_model_for_many_classes_of_colour_pictures(
    page: Page, model: Path, tmp_path: Path
) -> None:
    page.mouse(UPPER)
    page.answers("middle")
    exports.write(model.with_suffix(".new"), **COLOUR).replace(model)

    def changed() -> bool:
        page.mouse(LOWER)  # the answer to which names the model
        return page.text("class") in COLOURS

    until(changed)
    assert page.text("knows") == "It knows 32 classes. Show it a picture."
    assert "Input\n32 \u00d7 32, colour" in page.text("facts")
    page.open()
    assert page.get("getComputedStyle(paper).display") == "none"
    assert "Choose a picture" in page.text("stage")
    assert "Draw" not in page.text("stage")
    page.browser.execute_script(
        "files.addEventListener('click', (event) => {"
        "event.preventDefault(); window.chosen = true })"
    )
    page.click("stage")
    assert page.get("window.chosen")
    page.choose(picture(tmp_path / "red.png"))
    until(lambda: page.text("class") in COLOURS)
    assert page.get("bars.children.length") == 10
    assert page.text("others").startswith("22 more classes: ")
    shares = page.get(
        "[...document.querySelectorAll('#bars div')].map(bar => "
        "+bar.style.getPropertyValue('--share'))"
    )
    assert shares == sorted(shares, reverse=True)
    assert page.get("[fitted.naturalWidth, fitted.naturalHeight]") == [32, 32]

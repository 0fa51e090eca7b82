"""JupyterLab and Chromium on this machine, without network."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.helpers.processes import PATIENCE, started, until

# Tells why a page does not show what is waited for.
_SITUATION = """
    const limit = (promise) => Promise.race([promise, new Promise((go) => setTimeout(() => go("no"), 5000))])
    const frames = await limit(new Promise((go) => requestAnimationFrame(() => go("yes"))))
    const kernel = globalThis.jupyterapp?.shell.currentWidget.sessionContext.session?.kernel
    const answers = await limit(kernel?.requestKernelInfo().then(() => "yes"))
    const boxes = [...document.querySelectorAll(".bgnb-dashboard input, .bgnb-dashboard select, .bgnb-dashboard [role]")]
    const texts = boxes.map((box) => box.value ?? box.textContent).join(" | ")
    const focus = document.activeElement?.outerHTML.slice(0, 200)
    return `drawn: ${frames}; kernel: ${kernel?.status}, answers: ${answers}; focus: ${focus}; ${texts}`
"""
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
_FLAGS += ["--disable-background-networking", "--disable-component-update"]
_LOCAL = ("http://127.0.0.1:", "http://localhost:", "ws://127.0.0.1:", "ws://localhost:", "data:", "blob:", "file:")


def chromium() -> str | None:
    """Find Chromium."""
    return os.environ.get("BGNB_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def running(command: list[object], url: str, log: Path, env: dict[str, str], cwd: Path) -> Iterator[None]:
    """Run a server in a block, which starts when it answers."""
    with log.open("w") as output:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
        with started(command, env, cwd=cwd, **pipes) as process:
            try:
                until(lambda: answers(url), "an answer", process)
            except (RuntimeError, TimeoutError) as error:
                error.add_note(log.read_text()[-2000:])
                raise
            yield


def answers(url: str) -> bool:
    """Check that a server answers, be it with an error."""
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """Find a free port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def private_jupyter(folder: Path) -> dict[str, str]:
    """Make an environment in which Jupyter neither reads nor writes files of the user."""
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    names += ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    private = {name: str(folder / name.lower()) for name in names}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, **private, "PATH": path, "PYTHONWARNINGS": "default"}


QUIET = [
    "--LabApp.expose_app_in_browser=True",
    "--LabApp.news_url=",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--ServerApp.allow_root=True",
]


@contextmanager
def lab(root: Path, state: Path) -> Iterator[str]:
    """Run JupyterLab in a directory; yield the address of its page, with the token."""
    port, token = free_port(), secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--ServerApp.root_dir={root}", *QUIET]
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", f"--IdentityProvider.token={token}"]
    notices = state / "jupyterlab_settings_dir" / "@jupyterlab" / "apputils-extension"
    notices.mkdir(parents=True)
    (notices / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    with running(command, f"http://127.0.0.1:{port}/api", state / "lab.log", private_jupyter(state), root):
        yield f"http://127.0.0.1:{port}/lab/tree/{{}}?token={token}&reset"


@contextmanager
def browser(width: int = 1280, height: int = 800) -> Iterator[Callable[[], Page]]:
    """Run Chromium; yield a function that opens a page, in which requests to other hosts are refused and recorded."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=1000 * PATIENCE)
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=chromium(), headless=True, args=_FLAGS)

        def open_page() -> Page:
            context = chrome.new_context(viewport={"width": width, "height": height}, accept_downloads=False)
            context.set_default_timeout(1000 * PATIENCE)
            page = Page(context.new_page())
            context.route(lambda url: not url.startswith(_LOCAL), page.refuse)
            return page

        try:
            yield open_page
        finally:
            chrome.close()


@contextmanager
def pages(width: int = 1280, height: int = 800) -> Iterator[Page]:
    """Open a page of Chromium."""
    with browser(width, height) as open_page:
        yield open_page()


def expect(locator: Any) -> Any:
    """Wait for a condition of an element, see `playwright.sync_api.expect`."""
    from playwright.sync_api import expect

    return expect(locator)


class Page:
    """A page with its errors and refused requests."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.refused: list[str] = []
        self.errors: list[str] = []
        page.on("console", self._record)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def refuse(self, route: Any) -> None:
        """Refuse a request, and record it."""
        self.refused.append(route.request.url)
        route.abort()

    def _record(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def open_notebook(self, url: str) -> None:
        """Open a notebook in JupyterLab, and wait until its kernel is idle."""
        self.page.goto(url)
        self.page.wait_for_function("() => window.jupyterapp")
        self.page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        self.page.evaluate(
            """async () => {
                await jupyterapp.restored
                const context = jupyterapp.shell.currentWidget.sessionContext
                await context.ready
                while (context.session?.kernel?.status !== "idle") await new Promise((go) => setTimeout(go, 50))
            }"""
        )

    def run_all(self) -> None:
        """Run all cells."""
        self.page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')")

    def run_cell(self, text: str) -> None:
        """Run the cell that contains a text."""
        self.page.evaluate(
            """(text) => {
                const { content } = jupyterapp.shell.currentWidget
                content.activeCellIndex = content.widgets.findIndex(({ model }) =>
                    model.type === "code" && model.sharedModel.getSource().includes(text))
                return jupyterapp.commands.execute("notebook:run-cell")
            }""",
            text,
        )

    def python(self, code: str) -> str:
        """Run code in the kernel of the notebook; return the printed text."""
        return self.page.evaluate(
            """async (code) => {
                const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel
                const future = kernel.requestExecute({ code, store_history: false })
                let text = ""
                future.onIOPub = (message) => {
                    if (message.header.msg_type === "stream") text += message.content.text
                    if (message.header.msg_type === "error") text += message.content.traceback.join("\\n")
                }
                await future.done
                return text
            }""",
            code,
        ).strip()

    def figures(self, kind: str = "") -> Figures:
        """Return the figures of the dashboard of a kind, or those of an exported page."""
        return Figures(self.page, kind)


class Figures:
    """Bokeh figures of a dashboard, or of an exported page, and its controls.

    Parameters
    ----------
    page : `playwright.sync_api.Page`
        Page.
    kind : str
        Kind of dashboard; empty for an exported page. Of several dashboards, the newest is used.
    """

    def __init__(self, page: Any, kind: str) -> None:
        self.page, self._kind = page, kind
        self.controls = page.locator(f".bgnb-{kind}").last if kind else page.locator("body")

    def _evaluate(self, code: str, *arguments: Any) -> Any:
        return self.page.evaluate(f"async ([kind, ...given]) => {{ {_VIEWS} {code} }}", [self._kind, *arguments])

    def bokeh(self, name: str, expression: str) -> Any:
        """Evaluate an expression of ``model``, the Bokeh model with a name."""
        return self._evaluate(f"const model = modelOf(given[0]); return {expression}", name)

    def wait_for_bokeh(self, name: str, condition: str) -> None:
        """Wait until an expression of ``model``, the Bokeh model with a name, is true."""
        code = f"{_VIEWS} const model = modelOf(name); return Boolean(model && ({condition}))"
        from playwright.sync_api import TimeoutError

        try:
            self.page.wait_for_function(f"([kind, name]) => {{ {code} }}", arg=[self._kind, name])
        except TimeoutError as error:
            error.add_note(self._evaluate(_SITUATION))
            raise

    def enter(self, label: str, text: str) -> None:
        """Type a text into a box, again if JupyterLab moves the focus meanwhile, and press Enter."""
        box = self.controls.get_by_label(label, exact=True)

        def is_typed() -> bool:
            box.fill(text)
            return bool(box.input_value() == text)

        until(is_typed, f"{text} in {label}")
        box.press("Enter")

    def pixels(self, name: str) -> int:
        """Compute a checksum of the pixels of a figure, after they have stopped changing, without the pointer."""
        self.page.mouse.move(0, 0)
        return self._evaluate(
            """
            const { primary, overlays } = viewOf(given[0]).canvas_view
            const look = async () => {
                await new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))
                let sum = 0
                for (const { canvas } of [primary, overlays]) {
                    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
                    for (let i = 0; i < data.length; i += 4) sum = (sum * 31 + data[i] * 7 + data[i + 1] * 3 + data[i + 2]) | 0
                }
                return sum
            }
            let [before, now] = [null, await look()]
            while (now !== before) [before, now] = [now, await look()]
            return now
            """,
            name,
        )

    def wait_for_pixels(self, name: str, wanted: int) -> None:
        """Wait until a figure has pixels of a checksum."""
        until(lambda: self.pixels(name) == wanted, f"{name} as before")

    def wait_for_other_pixels(self, name: str, before: int) -> None:
        """Wait until the pixels of a figure have changed."""
        until(lambda: self.pixels(name) != before, f"other pixels of {name}")

    def position(self, name: str, x: float, y: float) -> tuple[float, float]:
        """Scroll a figure into view, wait until it stays where it is, and convert its coordinates to those of the page."""
        return self._evaluate(
            """
            const [name, x, y] = given
            const look = () => {
                const view = viewOf(name)
                view.el.scrollIntoView({ block: "nearest", behavior: "instant" })
                const box = view.el.getBoundingClientRect()
                return [box.x + view.frame.x_scale.compute(x), box.y + view.frame.y_scale.compute(y)]
            }
            let [at, frames] = [look(), 0]
            while (frames < 10) {
                await new Promise((go) => requestAnimationFrame(go))
                const now = look()
                frames = now[0] === at[0] && now[1] === at[1] ? frames + 1 : 0
                at = now
            }
            return at
            """,
            name,
            x,
            y,
        )

    def tap(self, name: str, x: float, y: float, *, shift: bool = False) -> None:
        """Tap at coordinates of a figure."""
        at = self.position(name, x, y)
        if shift:
            self.page.keyboard.down("Shift")
        self.page.mouse.click(*at)
        if shift:
            self.page.keyboard.up("Shift")

    def drag(self, name: str, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag from one position in a figure to another, without a pause, which would make it a long press."""
        first, last = self.position(name, *start), self.position(name, *end)
        self.page.mouse.move(*first)
        self.page.mouse.down()
        self.page.mouse.move(*last, steps=5)
        self.page.mouse.up()

    def cut_titles(self) -> list[str]:
        """List the figures whose titles are wider than the figure."""
        return self._evaluate(
            """
            const pen = document.createElement("canvas").getContext("2d")
            return figures().filter(({ model: { title }, el, frame }) => {
                pen.font = `${title.text_font_style} ${title.text_font_size.value ?? title.text_font_size} helvetica`
                const width = Math.max(...title.text.split("\\n").map((line) => pen.measureText(line).width))
                return frame.bbox.left + width > el.clientWidth
            }).map(({ model }) => model.name)
            """
        )

    def boxes(self) -> list[Box]:
        """Measure the figures, in their order."""
        found = self._evaluate(
            """
            return figures().map(({ model, el, frame }) => {
                const { x, y, width, height } = el.getBoundingClientRect()
                const [across, up] = [model.x_range, model.y_range].map((range) => Math.abs(range.end - range.start))
                const shape = [frame.bbox.width, frame.bbox.height, across, up]
                return [model.name, x, y, width, height, shape, model.tags.some((tag) => tag.margins)]
            })
            """
        )
        return [Box(*values) for values in found]


class Box(NamedTuple):
    """Position of a figure in the page, pixels; and width and height of its axes, in pixels and in units of the axes."""

    name: str
    x: float
    y: float
    width: float
    height: float
    axes: tuple[float, float, float, float]
    equal_scales: bool


# Functions that find the newest figures of the dashboard of a kind, and Bokeh models by name.
_VIEWS = """
function* all(view) { yield view; for (const child of view.child_views ?? []) yield* all(child) }
const figuresIn = (view) => [...all(view)].filter(({ model }) => model.type === "Figure")
const figures = () => Object.values(window.Bokeh?.index.roots ?? window.Bokeh?.index ?? []).reverse()
    .filter(({ el }) => el.isConnected && (kind === "" || el.closest(`.bgnb-${kind}`)))
    .map(figuresIn).find((found) => found.length > 0) ?? []
const viewOf = (name) => figures().find(({ model }) => model.name === name)
const modelOf = (name) => figures()[0]?.model.document?.get_model_by_name(name)
"""

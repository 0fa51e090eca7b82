"""Make ``docs/images/dashboard.gif``: use of the dashboards of models and of comparisons, in JupyterLab and Chromium.

Models of simulated runs are explored with the mouse, as a person does. Each step is a frame; its time in the picture is
chosen for readers, and is not that of the dashboard, which responds faster. Run it from the root of the repository, with
the dependency group ``test`` and Chromium installed, after a change of the dashboards that is visible at first sight::

    python docs/moving_picture.py
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

import bgnb

sys.path.insert(0, str(Path(__file__).parents[1]))
from bgnb.plots.colours import LINES, SELECTED, palette
from bgnb.plots.pointing_map import to_plane
from tests.browser.driver import Figures, Page, lab, pages

PICTURE = Path(__file__).parent / "images" / "dashboard.gif"
MAX_SIZE = 2_000_000
#: Size of the window, pixels. The side bar of JupyterLab is closed; three figures fit beside the drawer.
WINDOW = 1215, 830
COLOURS = 64
#: Times of frames, ms.
MOVE, STEP, LOOK = 120, 400, 1300
CELLS = {"models": "explore_models('models', energy=0.5)", "comparison": "compare_models('simulation/true', 'simulation/reco')"}
# Chromium without a window draws no pointer.
POINTER = """() => {
    const pointer = document.createElement("div")
    pointer.style = "position: fixed; z-index: 99999; pointer-events: none; width: 16px; height: 24px"
    pointer.innerHTML = `<svg width="16" height="24"><path d="M1 1 V18 L5 14 L8 22 L11 21 L8 13 H14 Z" stroke="white"/></svg>`
    document.body.append(pointer)
    window.addEventListener("pointermove", ({ clientX, clientY }) =>
        Object.assign(pointer.style, { left: `${clientX}px`, top: `${clientY}px` }), true)
}"""


class Film:
    """Frames of a dashboard, and a mouse that moves visibly.

    Parameters
    ----------
    page : `Page`
        Page of JupyterLab.
    """

    def __init__(self, page: Page) -> None:
        self._page, self._mouse = page.page, page.page.mouse
        self._at = (0.0, 0.0)
        self.frames: list[Image.Image] = []
        self.times: list[int] = []

    def show(self, figures: Figures) -> None:
        """Show a dashboard from now on, which is scrolled to the top of the notebook."""
        self.figures, self._controls = figures, figures.controls
        box: dict[str, float] = {}
        before: dict[str, float] | None = None
        while box != before:
            self._controls.evaluate("(dashboard) => dashboard.scrollIntoView({ block: 'start', behavior: 'instant' })")
            figures.pixels(next(each.name for each in figures.boxes()))  # when all is drawn
            before, box = box, self._controls.bounding_box()
        self._height = self._page.viewport_size["height"] - box["y"] - 48  # without the status bar of JupyterLab

    def _look(self) -> bytes:
        clip = {**self._controls.bounding_box(), "height": self._height}
        return bytes(self._page.screenshot(clip={side: round(value) for side, value in clip.items()}))

    def shoot(self, time: int, *, settled: bool = True) -> None:
        """Take a frame, after the page has stopped changing, or at its second look."""
        before, now = self._look(), self._look()
        while settled and now != before:
            before, now = now, self._look()
        self.frames.append(Image.open(BytesIO(now)).convert("RGB"))
        self.times.append(time)

    def move(self, x: float, y: float, steps: int = 2, time: int = MOVE) -> None:
        """Move the mouse to a place in the page."""
        (start_x, start_y), self._at = self._at, (x, y)
        for step in range(1, steps + 1):
            self._mouse.move(start_x + (x - start_x) * step / steps, start_y + (y - start_y) * step / steps)
            self.shoot(time, settled=step == steps)

    def move_to(self, role: str, name: str) -> None:
        """Move the mouse to a control."""
        control = self._controls.get_by_role(role, name=name, exact=role == "combobox")
        control.scroll_into_view_if_needed()
        box = control.bounding_box()
        self.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    def press(self, role: str, name: str, time: int = STEP) -> None:
        """Press a control."""
        self.move_to(role, name)
        self._mouse.click(*self._at)
        self.shoot(time)

    def choose(self, name: str, option: str, time: int = STEP) -> None:
        """Choose an option of a menu."""
        self.move_to("combobox", name)
        self._controls.get_by_role("combobox", name=name, exact=True).select_option(option)
        self.shoot(time)

    def tap(self, panel: str, x: float, y: float, *, shift: bool = False, time: int = STEP) -> None:
        """Tap in a figure."""
        self.move(*self.figures.position(panel, x, y))
        self.figures.tap(panel, x, y, shift=shift)
        self.shoot(time)

    def drag(self, start: tuple[float, float], end: tuple[float, float], time: int = STEP) -> None:
        """Drag from one place in the page to another."""
        self.move(*start)
        self._mouse.down()
        self.move(*end, steps=4)
        self._mouse.up()
        self.shoot(time)

    def drag_in(self, panel: str, start: tuple[float, float], end: tuple[float, float], time: int = STEP) -> None:
        """Drag in a figure."""
        self.drag(self.figures.position(panel, *start), self.figures.position(panel, *end), time)

    def drag_handle(self, end: str, fraction: float, time: int = STEP) -> None:
        """Drag a handle of the slider of energies to a fraction of its track."""
        handle = self._controls.get_by_role("slider", name=f"{end} energy").bounding_box()
        track = self._controls.locator(".noUi-base").bounding_box()
        y = handle["y"] + handle["height"] / 2
        self.drag((handle["x"] + handle["width"] / 2, y), (track["x"] + track["width"] * fraction, y), time)

    def play(self, button: str, panel: str, steps: int, time: int) -> None:
        """Press a button that repeats a step, and take a frame after each change of a title, until it is pressed again."""
        self.move_to("button", button)
        self._mouse.click(*self._at)
        for _ in range(steps):
            title = self.figures.bokeh(panel, "model.title.text")
            self.figures.wait_for_bokeh(panel, f"model.title.text !== {title!r}")
            self.shoot(time, settled=False)
        self.move_to("button", "pause")
        self._controls.get_by_role("button", name="pause").click()
        self._controls.get_by_role("button", name=button).wait_for()
        self.shoot(STEP)

    def save(self, path: Path) -> None:
        """Write the frames as GIF, with the same colours in all: those of the images, and the most frequent others."""
        some = [frame.reduce(2) for frame in self.frames[::4]]
        width, height = some[0].size
        together = Image.new("RGB", (width, height * len(some)))
        for number, frame in enumerate(some):
            together.paste(frame, (0, number * height))
        frequent = together.quantize(COLOURS, method=Image.Quantize.MEDIANCUT).getpalette()[: 3 * COLOURS]
        greys = ["#000000", "#333333", "#666666", "#999999", "#ffffff"]
        own = [*greys, *LINES, SELECTED, *palette("viridis")[::6], *palette("diverging")[::8]]
        colours = Image.new("P", (1, 1))
        colours.putpalette([*frequent, *(value for colour in own for value in bytes.fromhex(colour[1:7]))])
        first, *others = (frame.quantize(palette=colours, dither=Image.Dither.NONE) for frame in self.frames)
        first.save(path, save_all=True, append_images=others, duration=self.times, loop=0, disposal=1)


def explore(film: Film, page: Page) -> None:
    """Choose a group, play through the energies, draw a region, and add all groups."""
    pointings = page.python("print(*(f'{g},{a},{z}' for g, (a, z) in models._views.overview.pointings.items()))").split()
    places = {int(group): to_plane(float(alt), float(az)) for group, alt, az in (text.split(",") for text in pointings)}
    film.shoot(LOOK)
    for group_id in sorted(places)[1:3]:
        film.tap("groups", *places[group_id], time=2 * STEP)
    film.play("play through the energies", "image", 7, 250)
    film.drag_handle("first", 0.1, LOOK)
    film.press("button", "more")
    film.choose("dragging draws", "circle")
    film.drag_in("image", (-2.2, -1.2), (0.2, 1.2), LOOK)
    film.press("button", "all groups", 2 * LOOK)


def compare(film: Film) -> None:
    """Look at ratio and pull, at other energies, and blink between the models."""
    film.shoot(LOOK)
    film.tap("compared", -2.1, 1.1, time=2 * STEP)
    film.drag_handle("last", 0.9, LOOK)
    film.choose("show", "pull", LOOK)
    film.press("button", "more")
    film.play("blink", "first", 4, 600)


@contextmanager
def simulated() -> Iterator[Path]:
    """Simulate runs, and make models, in a directory that is removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        bgnb.make_test_dataset(root / "runs", n_runs=60, trigger_rate=60.0, alt_range=(30, 85), seed=1)
        bgnb.make_bg_cube_models(root / "runs", "GADF", root / "models", select="all", n_energy=12, n_fov=30)
        bgnb.make_true_reco(root / "simulation", n_runs=20, trigger_rate=60.0, n_energy=12, n_fov=30, gradient_x=0.05)
        cells = [new_code_cell(f"import bgnb\n{kind} = bgnb.dashboards.{code}\n{kind}") for kind, code in CELLS.items()]
        cells.append(new_markdown_cell("<br>" * 60))  # space, so that the second dashboard can be scrolled to the top
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}  # else JupyterLab asks for one
        nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), root / "dashboards.ipynb")
        yield root


def main() -> None:
    """Make the moving picture."""
    with simulated() as root, lab(root, root / ".state") as url, pages(*WINDOW) as page:
        page.open_notebook(url.format("dashboards.ipynb"))
        page.page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
        page.run_all()
        for kind, panel in (("models", "image"), ("comparison", "compared")):
            page.figures(kind).wait_for_bokeh(panel, "model.title.text.trim()")
        page.page.evaluate(POINTER)
        film = Film(page)
        film.show(page.figures("models"))
        explore(film, page)
        film.show(page.figures("comparison"))
        compare(film)
    film.save(PICTURE)
    size, seconds = PICTURE.stat().st_size, sum(film.times) / 1000
    print(f"{PICTURE}: {len(film.frames)} frames, {film.frames[0].size}, {seconds:.1f} s, {size / 1e6:.2f} MB")
    if size > MAX_SIZE:
        raise SystemExit(f"{PICTURE}: larger than {MAX_SIZE / 1e6:g} MB; use fewer colours or frames")


if __name__ == "__main__":
    main()

"""Time from a key press on the energy slider to the new image, in JupyterLab.

True models of 20 × 60 × 60 and 40 × 150 × 150 bins are opened with `explore_models` in
JupyterLab and Chromium. Arrow keys are pressed one at a time, each time until the pixels of
the image have changed; then fast, until the last image is shown. Times are wall-clock times;
run nothing else meanwhile.

    python benchmarks/dashboards.py
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
from nbformat.v4 import new_code_cell, new_notebook

from bgnb import CubeAxes, TrueModel, make_test_bg_cube_model, write_model

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.browser.driver import Figures, lab, pages
from tests.helpers.processes import until

SIZES = {"20 x 60 x 60": (20, 60), "40 x 150 x 150": (40, 150)}
PRESSES = 30
CODE = """
import time; times = [time.perf_counter()]
import bgnb.dashboards
for _ in range(2):
    d = bgnb.dashboards.explore_models("models", stretch="log", limits="all energies"); times.append(time.perf_counter())
d
"""
# Time from the key press to the first frame whose pixels differ.
PRESS = """async ([key]) => {
    function* all(view) { yield view; for (const child of view.child_views ?? []) yield* all(child) }
    let canvas
    for (const root of Object.values(Bokeh.index.roots ?? Bokeh.index))
        for (const view of all(root)) if (view.model.name === "image") canvas = view.canvas_view.primary.canvas
    const context = canvas.getContext("2d")
    const checksum = () => {
        const { data } = context.getImageData(80, 80, 120, 120)
        let sum = 0
        for (let i = 0; i < data.length; i += 28) sum = (sum * 31 + data[i] * 7 + data[i + 1]) | 0
        return sum
    }
    const before = checksum()
    // Each handle pushes the other one.
    const handle = document.querySelector(`.bgnb-energy .noUi-handle-${key === "ArrowRight" ? "lower" : "upper"}`)
    const start = performance.now()
    handle.dispatchEvent(new KeyboardEvent("keydown", { key, code: key, bubbles: true }))
    while (checksum() === before) {
        if (performance.now() - start > 5000) throw new Error("the image does not change")
        await new Promise(requestAnimationFrame)
    }
    return performance.now() - start
}"""


def is_settled(figures: Figures, axes: CubeAxes, lower: Any, upper: Any) -> bool:
    """Check that the image shows the energies between the handles of the slider."""
    first, last = (int(float(handle.get_attribute("aria-valuenow"))) for handle in (lower, upper))
    wanted = f"{axes.energy[first].value:.3g} to {axes.energy[last].value:.3g} TeV"
    return first < last and wanted in figures.bokeh("image", "model.title.text")


def main() -> None:
    for label, (n_energy, n_fov) in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / "models").mkdir()
            axes = CubeAxes.regular(n_energy=n_energy, n_fov=n_fov)
            first = root / "models/bg_cube_model_group0_table.fits"
            write_model(make_test_bg_cube_model(axes, "70 deg", TrueModel()), first)
            for group_id in range(1, 28):
                shutil.copy(first, first.with_name(f"bg_cube_model_group{group_id}_table.fits"))
            kernel = {"name": "python3", "display_name": "Python 3"}
            notebook = new_notebook(cells=[new_code_cell(CODE)], metadata={"kernelspec": kernel})
            nbformat.write(notebook, root / "n.ipynb")
            with lab(root, root / ".state") as url, pages() as page:
                page.open_notebook(url.format("n.ipynb"))
                page.run_all()
                figures = page.figures("models")
                figures.wait_for_bokeh("image", "model.title.text.trim()")
                page.page.wait_for_timeout(2000)
                times = []
                for number in range(PRESSES):
                    key = "ArrowRight" if number % 20 < 10 else "ArrowLeft"
                    times.append(page.page.evaluate(PRESS, [key]))
                    page.page.wait_for_timeout(150)
                lower, upper = (page.page.locator(f".bgnb-energy .noUi-handle-{end}") for end in ("lower", "upper"))
                for number in range(60):
                    (upper.press("ArrowLeft") if number % 30 < 15 else lower.press("ArrowRight"))
                start = time.perf_counter()

                agrees = partial(is_settled, figures, axes, lower, upper)
                until(agrees, "the image of the energies of the slider")
                settled = time.perf_counter() - start
                page.page.wait_for_timeout(1000)
                assert agrees()
                seconds = page.python("print(times[1] - times[0], times[2] - times[1])").split()
            median, high = np.percentile(times, [50, 90])
            print(f"{label}: key press to new image, median {median:.0f} ms, 90 % within {high:.0f} ms;")
            print(f"  last image after 60 fast key presses within {1000 * settled:.0f} ms;")
            print(f"  opening 28 groups {float(seconds[0]):.2f} s with all imports, again {float(seconds[1]):.2f} s")


if __name__ == "__main__":
    main()

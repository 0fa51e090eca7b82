"""A notebook for each group of models, and an index of them."""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from html import escape
from pathlib import Path
from typing import Any

from bgnb._util.checks import whole_number
from bgnb._util.errors import BgnbError
from bgnb._util.extras import require
from bgnb._util.progress import progress_bar
from bgnb.files.model_directory import model_files
from bgnb.files.output_directory import new_directory, write_file
from bgnb.files.report_json import write_report
from bgnb.notebooks.run import find_notebook, notebook_result, outputs_of, run_notebook


def run_groups(
    modeldir: str | Path,
    outdir: str | Path,
    *,
    notebook: str | Path = "group_report",
    workers: int = 2,
    timeout: float | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> dict[int, str]:
    """Run a notebook once for each group of models, several at a time, and make an index of the results.

    Parameters
    ----------
    modeldir : path
        A directory of models.
    outdir : path
        Directory to make: ``index.html``, and per group the executed notebook, the same as
        HTML, and a picture.
    notebook : path or str
        A notebook with the parameters ``modeldir`` and ``group_id``.
    workers : int
        How many at a time; each has a kernel of its own. An interruption discards them all.
    timeout : float, optional
        Seconds that a cell may take.
    overwrite : bool
        Replace ``outdir``, if bgnb made it.
    progress : bool, optional
        Show a progress bar over the groups; by default on a terminal only.

    Returns
    -------
    dict of int to str
        What went wrong, by GROUP_ID; empty where all went well.

    Raises
    ------
    BgnbError
        Where there are no models, or ``outdir`` is in the way.
    """
    require("notebooks")
    source, models = find_notebook(notebook), Path(modeldir).absolute()
    whole_number("workers", workers)
    groups = sorted(model_files(models))
    problems: dict[int, str] = {}
    with new_directory(Path(outdir), overwrite=overwrite, inputs=(models,)) as directory, ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(_run_group, source, models, directory, group_id, timeout): group_id for group_id in groups}
        figures = {}
        try:
            with progress_bar(len(groups), "group", progress) as bar:
                for future in as_completed(futures):
                    try:
                        figures[futures[future]] = future.result()
                    except Exception as error:  # whatever it is, the other groups go on
                        text = str(error) if isinstance(error, BgnbError) else f"{type(error).__name__}: {error}"
                        problems[futures[future]] = text.replace(f"{directory}{os.sep}", "")
                    bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        write_file(directory / "index.html", _index(models.name, groups, figures, problems).encode())
        write_report(directory, {"groups": groups, "problems": problems})
    return dict(sorted(problems.items()))


def _run_group(source: Path, models: Path, directory: Path, group_id: int, timeout: float | None) -> dict[str, Any]:
    """Run one group's notebook; its figures. Its picture and HTML are written beside it."""
    import nbformat

    parameters = {"modeldir": str(models), "group_id": group_id}
    executed = run_notebook(source, directory / f"group{group_id}.ipynb", parameters, timeout=timeout, progress=False)
    notebook = nbformat.read(executed, as_version=4)
    write_file(executed.with_suffix(".html"), _html(notebook).encode())
    picture = next((data["image/png"] for data in outputs_of(notebook) if "image/png" in data), None)
    if picture:
        write_file(executed.with_suffix(".png"), b64decode(picture))
    try:
        figures = notebook_result(executed)
    except BgnbError:
        figures = {}  # a notebook of the user's need not have any
    return figures | {"picture": bool(picture)}


def _html(notebook: Any) -> str:
    """The notebook as one HTML file that asks the network for nothing."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(require_js_url="", mathjax_url="", jquery_url="", mermaid_js_url="", exclude_input_prompt=True)
    html, _ = exporter.from_notebook_node(notebook)
    return str(html)


def _index(name: str, groups: Sequence[int], figures: Mapping[int, Mapping[str, Any]], problems: Mapping[int, str]) -> str:
    cards = []
    for group_id in groups:
        if group_id in problems:
            link = f'<a href="group{group_id}.failed.ipynb">what there is of the notebook</a>'
            cards.append(f"<article class=failed><h2>Group {group_id}</h2><p>{escape(problems[group_id])}</p>{link}</article>")
            continue
        found = figures[group_id]
        rows = "".join(
            f"<tr><th>{escape(str(key))}<td>{escape(f'{value:.4g}' if isinstance(value, float) else str(value))}"
            for key, value in found.items()
            if isinstance(value, int | float | str) and not isinstance(value, bool)
        )
        picture = f'<img src="group{group_id}.png" alt="Rate of group {group_id}">' if found["picture"] else ""
        cards.append(
            f'<article><h2><a href="group{group_id}.html">Group {group_id}</a></h2>{picture}'
            f'<table>{rows}</table><a href="group{group_id}.ipynb">notebook</a></article>'
        )
    style = (
        "body{font-family:sans-serif;margin:2em}main{display:grid;grid-template-columns:repeat(auto-fill,minmax(20em,1fr));gap:1em}"
        "article{border:1px solid #ccc;border-radius:6px;padding:1em}img{max-width:100%}th{text-align:left;padding-right:1em}"
        "article{overflow-wrap:anywhere}"
        ".failed{border-color:#c00}h2{margin-top:0}"
    )
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(name)}</title><style>{style}</style>"
    return f"{head}<h1>Models in {escape(name)}</h1><main>{''.join(cards)}</main></html>\n"

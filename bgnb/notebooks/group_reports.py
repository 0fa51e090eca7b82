"""Run a notebook for each group of models, and make an index of the results."""

from __future__ import annotations

import copy
import os
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from html import escape
from pathlib import Path
from threading import Thread
from typing import Any

from bgnb._util.checks import whole_number
from bgnb._util.errors import BgnbError
from bgnb._util.extras import require
from bgnb._util.progress import progress_bar
from bgnb._util.resource_limits import check_kernel_limits
from bgnb._util.signals import held_signals
from bgnb.files.model_directory import ModelDirectory
from bgnb.files.output_directory import new_directory
from bgnb.files.output_file import write_file
from bgnb.files.report_json import write_report
from bgnb.notebooks.content import json_output, outputs_of, read_notebook
from bgnb.notebooks.run import check_names, check_timeout, end_kernels, run_notebook
from bgnb.notebooks.shipped import find_notebook

_STYLE = (
    "body{font-family:sans-serif;margin:2em}main{display:grid;grid-template-columns:repeat(auto-fill,minmax(20em,1fr));gap:1em}"
    "article{border:1px solid #ccc;border-radius:6px;padding:1em}img{width:100%}th{text-align:left;padding-right:1em}"
    "article{overflow-wrap:anywhere}.failed{border-color:#c00}h2{margin-top:0}"
)
# Units by the ending of a name, as in ``report.json``.
_UNITS = {"deg": "deg", "h": "h", "s": "s", "tev": "TeV"}


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
    """Run a notebook for each group of models, several at a time, and make an index of the results.

    Parameters
    ----------
    modeldir : path
        A directory of models.
    outdir : path
        Directory to make: ``index.html``, and for each group the executed notebook, its
        conversion to HTML, and its first PNG.
    notebook : path or str
        A notebook with the parameters ``modeldir`` and ``group_id``.
    workers : int
        Number of notebooks at a time; each has its own kernel.
    timeout : float, optional
        Maximum duration of a cell in s.
    overwrite : bool
        Replace ``outdir`` if bgnb made it, with notebooks.
    progress : bool, optional
        Show a progress bar over the groups; by default on a terminal only.

    Returns
    -------
    dict of int to str
        Errors by GROUP_ID; empty if no notebook failed.

    Raises
    ------
    BgnbError
        If there are no models, they are replaced meanwhile, or ``outdir`` cannot be made or written.

    Examples
    --------
    >>> import bgnb
    >>> errors = bgnb.run_groups("models", "reports", overwrite=True)  # doctest: +SKIP
    >>> errors  # doctest: +SKIP
    {}
    """
    require("notebooks")
    source, models = find_notebook(notebook), Path(modeldir).absolute()
    whole_number("workers", workers)
    check_timeout(timeout)
    check_kernel_limits()
    check_names(models, Path(outdir).absolute())
    opened = ModelDirectory(models)
    groups = opened.group_ids
    results: dict[int, dict[str, Any]] = {}
    problems: dict[int, str] = {}
    with new_directory(Path(outdir), overwrite=overwrite, kind="notebooks", inputs=(models,)) as directory:
        with _threads(workers, directory) as pool, progress_bar(len(groups), "group", progress) as bar:
            futures = {pool.submit(_run_group, source, models, directory, group_id, timeout): group_id for group_id in groups}
            for future in _completed(futures):
                try:
                    results[futures[future]] = future.result()
                except Exception as error:  # the other groups continue, unless nothing can be written
                    if isinstance(error, BgnbError) and error.code == "not-writable":
                        raise
                    text = str(error) if isinstance(error, BgnbError) else f"{type(error).__name__}: {error}"
                    problems[futures[future]] = text.replace(f"{directory}{os.sep}", "")
                bar.update()
        opened.check_unchanged()  # otherwise groups could be those of two sets of models
        write_file(
            directory / "index.html", _index(directory, models.name, groups, results, problems).encode("utf-8", "replace")
        )
        write_report(directory, {"groups": groups, "problems": problems})
    return dict(sorted(problems.items()))


def _completed(futures: Iterable[Future[Any]]) -> Iterator[Future[Any]]:
    """Iterate over futures as they complete. A signal that another thread receives does not end a wait without a timeout."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
        yield from done


@contextmanager
def _threads(number: int, directory: Path) -> Iterator[ThreadPoolExecutor]:
    """Provide threads that make notebooks in a directory; if the block fails, they end at once, with their kernels."""
    with ThreadPoolExecutor(number) as pool:
        try:
            yield pool
        except BaseException:
            with held_signals():  # a second one must not leave kernels that nobody ends
                ending = Thread(target=pool.shutdown, kwargs={"cancel_futures": True})
                ending.start()
                while ending.is_alive():
                    end_kernels(directory)
                    ending.join(0.2)
            raise


def _run_group(source: Path, models: Path, directory: Path, group_id: int, timeout: float | None) -> dict[str, Any]:
    """Run the notebook of a group, and write its HTML and PNG beside it. Return what the index shows."""
    from nbconvert import HTMLExporter

    parameters = {"modeldir": str(models), "group_id": group_id}
    executed = run_notebook(source, directory / f"group{group_id}.ipynb", parameters, timeout=timeout, progress=False)
    notebook = read_notebook(executed)
    # The page must load nothing from the network, and its template nothing from the current directory.
    local = {"require_js_url": "", "mathjax_url": "", "jquery_url": "", "mermaid_js_url": "", "extra_template_basedirs": []}
    exporter = HTMLExporter(exclude_input=True, exclude_output_prompt=True, **local)
    title = {"metadata": {"name": f"{models.name}, group {group_id}"}}
    page, _ = exporter.from_notebook_node(_for_page(notebook), resources=title)
    write_file(executed.with_suffix(".html"), page.encode("utf-8", "replace"))
    png = next((data["image/png"] for data in outputs_of(notebook) if "image/png" in data), None)
    if png:
        try:
            content = b64decode(png)
        except (ValueError, TypeError) as error:
            text = f"{source}: the picture (image/png) in its output is not valid base64: {error}"
            raise BgnbError("bad-notebook", text) from None
        write_file(executed.with_suffix(".png"), content)
    values = (_labelled(*item) for item in (json_output(notebook) or {}).items() if item[0] != "group_id")
    return {"png": bool(png), "values": dict(value for value in values if value)}


def _for_page(notebook: Any) -> Any:
    """Remove the results for machines, and the states of widgets, for which pages would load code from the network."""
    page = copy.deepcopy(notebook)
    page.metadata.pop("widgets", None)
    for cell in page.cells:
        if "outputs" in cell:
            cell.outputs = [each for each in cell.outputs if "application/json" not in each.get("data", ())]
    return page


def _labelled(key: str, value: Any) -> tuple[str, str] | None:
    """Return a label and a value with its unit, which is at the end of the key; None for a value that is no number or text.

    >>> _labelled("mean_altitude_deg", 79.29123), _labelled("runs", 2)
    (('mean altitude', '79.29 deg'), ('runs', '2'))
    """
    if type(value) not in (int, float, str):
        return None
    words, unit = key.split("_"), ""
    if len(words) > 1 and words[-1] in _UNITS:
        unit = f" {_UNITS[words.pop()]}"
    return " ".join(words), (f"{value:.4g}" if isinstance(value, float) else str(value)) + unit


def _index(
    directory: Path, name: str, groups: Sequence[int], results: Mapping[int, dict[str, Any]], problems: Mapping[int, str]
) -> str:
    cards = [
        _failed_card(directory, each, problems[each]) if each in problems else _card(each, **results[each]) for each in groups
    ]
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(name)}</title><style>{_STYLE}</style>"
    return f"{head}<h1>Models in {escape(name)}</h1><main>{''.join(cards)}</main></html>\n"


def _failed_card(directory: Path, group_id: int, problem: str) -> str:
    texts = {f"group{group_id}.failed.ipynb": "notebook, as far as it was executed", f"group{group_id}.ipynb": "notebook"}
    link = next((f'<a href="{name}">{text}</a>' for name, text in texts.items() if (directory / name).exists()), "")
    return f"<article class=failed><h2>Group {group_id}</h2><p>{escape(problem)}</p>{link}</article>"


def _card(group_id: int, *, png: bool, values: Mapping[str, Any]) -> str:
    rows = "".join(f"<tr><th>{escape(key)}<td>{escape(str(value))}" for key, value in values.items())
    image = f'<img src="group{group_id}.png" alt="Rate of group {group_id}">' if png else ""
    picture = f'<a href="group{group_id}.html">{image}</a>' if image else ""
    links = f'<h2><a href="group{group_id}.html">Group {group_id}</a></h2>'
    return f'<article>{links}{picture}<table>{rows}</table><a href="group{group_id}.ipynb">notebook</a></article>'

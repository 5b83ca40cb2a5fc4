"""Every chapter runs from top to bottom, is committed without outputs, and has the parts that a chapter has."""

import json
import re

import pytest

from tests.conftest import ROOT

CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
by_name = pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)


def cells(path, kind=None):
    return [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if kind in (None, c["cell_type"])]


def text(path):
    return "\n".join("".join(c["source"]) for c in cells(path))


def test_the_chapters_are_there():
    assert [p.stem[:2] for p in CHAPTERS] == ["00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14", "15", "16"]


@by_name
def test_no_outputs_are_committed(path):
    assert all(c["outputs"] == [] and c["execution_count"] is None for c in cells(path, "code"))


@by_name
def test_the_anatomy_of_a_chapter(path):
    """Goals, what it needs and takes; exercises with an open cell, a check and a solution; a summary; what to read."""
    whole = text(path)
    for part in ("*You will be able to*", "*Needs*", "*Takes*", "## Summary", "**Reading.**", "show(", "band(" if path.stem[:2] != "00" else "check("):
        assert part in whole, part
    assert len(re.findall(r"^## Exercise \d", whole, re.M)) >= 3
    tags = [tag for c in cells(path) for tag in c["metadata"].get("tags", [])]
    assert tags.count("exercise") == tags.count("check") >= 2
    assert tags.count("solution") >= tags.count("exercise")
    assert set(tags) == {"exercise", "check", "solution"}
    for c in cells(path, "code"):
        if "exercise" in c["metadata"].get("tags", []):
            assert "raise NotImplementedError" in "".join(c["source"])
    assert re.search(r"[\u4e00-\u9fff]", whole), "the first mention of a term carries its Chinese name"


@pytest.mark.notebooks
@by_name
def test_it_runs_from_top_to_bottom(path, capsys):
    """All cells, solutions included; the bands in the text are checked by the cells themselves, the exercises here."""
    import nbformat
    from nbclient import NotebookClient
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        said = "".join(o.get("text", "") for o in cell.get("outputs", []))
        if "check" in tags:
            assert ": open" in said, "an exercise must be open until it is solved"
        if "solution" in tags and cell.cell_type == "code":
            assert ": right" in said, f"the solution does not pass its check: {said}"

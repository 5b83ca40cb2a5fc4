"""What the chapters owe the five documents: every formula, sample and error of the chapters so far has its home."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_notebooks import text

OWED = {
    "00": {"E58"},
    "01": {"F1", "F10", "F13", "F14a", "E1", "E22", "E37", "E41"},
    "02": {"F14c", "E36", "E45"},
    "03": {"F14b", "E36", "E45"},
    "04": {"F6", "F8", "F11", "E1", "E14", "E20", "E31"},
    "05": {"F9", "F12", "E21", "E23", "E32"},
    "06": {"F1", "F8", "F9", "F10", "C3", "C4", "C5", *(f"E{i}" for i in (15, 16, 17, 24, 25, 26, 27, 28, 29, 33, 34, 35, 43))},
    "07": {"F8", "F9", "E18"},
    "08": {"C3", "E4", "E40"},
    "09": {f"E{i}" for i in range(46, 58)},
    "10": {"C1", "C6", "C7", "C8", "C9", "C10", "C11", "E2", "E3", "E4", "E38", "E39", "E40", "E44"},
    "11": {"E6", "E11"},
    "12": {"C2", "E12", "E30", "E42"},
    "13": {"F4", "F5", "E9", "E10", "E13"},
    "14": {"F15", "E8", "E13"},
    "15": {"F2", "F3", "C2", "E5", "E6", "E7", "E11", "E12"},
    "16": {"F2", "F3", "F4", "F5", "E5", "E13", "E43"},
}
IN_CODE = sorted({i for ids in OWED.values() for i in ids if i[0] in "FC"})


def mentions(word, where):
    return re.search(rf"\b{word}\b", where) is not None


@pytest.mark.parametrize("chapter", OWED)
def test_a_chapter_pays_what_it_owes(chapter):
    whole = text(next((ROOT / "notebooks").glob(f"{chapter}_*.ipynb")))
    assert {i for i in OWED[chapter] if not mentions(i, whole)} == set()


@pytest.mark.parametrize("name", IN_CODE)
def test_every_formula_and_sample_stands_in_a_docstring_and_in_a_test(name):
    library = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "minivision").rglob("*.py"))
    docstrings = "\n".join(re.findall(r'""".*?"""', library, re.S))
    assert mentions(name, docstrings)
    others = [p for p in Path(__file__).parent.glob("*.py") if p.name != "test_curriculum.py"]
    assert any(mentions(name, p.read_text(encoding="utf-8")) for p in others)

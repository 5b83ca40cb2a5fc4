"""The house has floors, and imports point down: read from the source, not from what happens to be loaded."""

import ast
from pathlib import Path

import pytest

import minivision

HOME = Path(minivision.__file__).parent

# Floor of each part; a part may import what lies on a lower floor, and its own.
FLOORS = {
    "backend": 0,
    "tensor": 1, "arithmetic": 1, "kernels": 1,
    "ops": 2, "detection": 2, "gradcheck": 2,
    "nn": 3, "optim": 3,
    "weights": 4, "models": 4.5, "data": 4.5,
    "checkpoint": 5, "train": 5, "draw": 5, "explain": 5, "onnx_export": 5, "summary": 4.9, "transfer": 5,
    "zoo": 5.1, "answering": 5.2, "pretrained": 5.6,
    "ladder": 5, "failure_lab": 6, "settings": 5.5, "experiment": 6, "detection_run": 6, "classification_run": 6, "evaluation": 6, "demo": 6, "doctor": 6, "warm": 6, "arguments": 6, "cli": 6, "__main__": 6,
}
FORBIDDEN = [("tensor", "kernels"), ("kernels", "tensor"), ("kernels", "ops"), ("ops", "detection"), ("detection", "ops"),
             ("data", "models"), ("models", "data")]


def imports(path):
    """The parts of minivision that a file imports at its top level or inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("minivision"):
            part = node.module.split(".")[1:2]
            yield from part or [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("minivision."))


def part_of(path):
    return path.relative_to(HOME).parts[0].removesuffix(".py")


FILES = [p for p in sorted(HOME.rglob("*.py")) if part_of(p) != "__init__"]


def test_every_part_has_a_floor():
    assert {part_of(p) for p in FILES} <= set(FLOORS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(HOME)))
def test_imports_point_down(path):
    here = part_of(path)
    for there in set(imports(path)) - {here, "Tensor", "no_grad", "op", "vjp"}:
        assert FLOORS[there] <= FLOORS[here], f"{path}: {here} (floor {FLOORS[here]}) imports {there} (floor {FLOORS[there]})"
        assert (here, there) not in FORBIDDEN, f"{path}: {here} may not know {there}"


def test_cupy_is_imported_in_one_place_and_torch_nowhere():
    found = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                found.setdefault(name.split(".")[0], set()).add(part_of(path))
    assert found["cupy"] <= {"backend", "doctor"}
    assert not {"torch", "torchvision", "pickle", "dill", "joblib"} & set(found)


def test_no_eval_and_no_pickle():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec"), path
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert node.value.value is False, path


def test_files_are_short():
    """One idea a file: 40–200 lines, and none over 250."""
    long = {str(p.relative_to(HOME)): n for p in FILES if (n := len(p.read_text(encoding="utf-8").splitlines())) > 250}
    assert long == {}

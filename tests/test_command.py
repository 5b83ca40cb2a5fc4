"""The command line, the doctor, and how little `import minivision` loads."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from minivision import __version__, doctor
from minivision.cli import main
from minivision.kernels.cpu import threads


def test_train_evaluate_resume(tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["train", "--quiet", "--out", run, "--epochs", "2", "--batch-size", "128", "--model", "linear"]) == 0
    assert "validation accuracy 0." in capsys.readouterr().out
    assert main(["evaluate", run]) == 0
    assert "on 360 images" in capsys.readouterr().out
    assert main(["evaluate", run, "--best", "--data", "digits"]) == 0
    assert main(["train", "--quiet", "--resume", run]) == 0


@pytest.mark.parametrize("arguments, words", [
    (["train", "--data", "no-such"], "neither a folder nor one of digits"),
    (["train", "--model", "x"], "model is 'x'"),
    (["train", "--resume", "nowhere"], "settings.json: no such file"),
    (["train", "--resume", "nowhere", "--lr", "1"], "leave out --lr"),
    (["evaluate", "nowhere"], "no such file"),
    (["data", "get", "imagenet"], "no data set 'imagenet'"),
    (["data", "check", "no-such"], "neither a folder nor one of scenes, bccd"),
    (["data", "scenes", "out", "--size", "64"], "expected height x width"),
    (["data", "scenes", "out", "--images", "9", "--format", "yolo"], "--leave-out-marked"),
    (["evaluate"], "give a RUN, or both"),
    (["evaluate", "run", "--truth", "a.json", "--detections", "b.json"], "either a RUN"),
    (["evaluate", "--truth", "a.json"], "both --truth and --detections"),
    (["evaluate", "--truth", "a.json", "--detections", "b.json", "--best"], "either a RUN (with --data, --split, --device, --best)"),
    (["data", "scenes", "out", "--size", "1000000x1000000"], "expected 32 … 4096 pixels"),
    (["data", "scenes", "out", "--images", "1", "--split", "../../escaped"], "expected a plain name"),
    (["data", "get", "bccd", "--mirror", "http://127.0.0.1:9", "--to", "home"], "http://127.0.0.1:9/d272fb14"),
    (["evaluate", "--truth", "a.json", "--detections", "b.json"], "a.json: no such file"),
])
def test_errors_are_one_line(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_second_run_in_the_same_folder_is_refused(tmp_path, capsys):
    arguments = ["train", "--quiet", "--out", str(tmp_path), "--epochs", "1", "--model", "linear"]
    assert main(arguments) == 0
    assert main(arguments) == 2
    assert "holds a training run already" in capsys.readouterr().err


def test_doctor(capsys):
    assert doctor.doctor() == 0
    out = capsys.readouterr().out
    for word in ("Python 3.", f"minivision {__version__}", "numpy 2.", "BLAS:", "threads for kernels", "Numba compiles", "shipped digits"):
        assert word in out


def test_doctor_says_what_to_do(capsys, monkeypatch):
    monkeypatch.setattr(threads, "thread_count", lambda: 1)
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda name: (_ for _ in ()).throw(
        doctor.importlib.metadata.PackageNotFoundError) if name == "tqdm" else "1")
    assert doctor.doctor() >= 2
    out = capsys.readouterr().out
    assert "pip install tqdm" in out
    assert "unset MINIVISION_THREADS" in out


def test_demo(tmp_path, capsys):
    """Its first half in full: at least 96 % of writers' digits it has not seen. Of its second half only that it runs."""
    from minivision import demo
    assert demo.digits(tmp_path / "demo", progress=False) >= 0.96
    assert {"demo.png", "confusion.png", "loss.png"} <= {p.name for p in (tmp_path / "demo").iterdir()}
    assert "test accuracy" in capsys.readouterr().out
    quick = {name: replace(settings, epochs=1) for name, settings in demo.DETECTORS.items()}
    assert set(demo.detectors(tmp_path / "demo", False, quick, number=16)) == {"YOLO", "SSD", "Faster R-CNN"}
    assert "Faster R-CNN" in capsys.readouterr().out
    assert (tmp_path / "demo" / "detectors.png").is_file()


def run(code):
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_importing_is_quick_and_loads_nothing_heavy():
    code = "import sys, minivision; print([m for m in ('numba', 'cupy', 'matplotlib', 'numpy') if m in sys.modules])"
    assert run(code).strip() == "[]"
    code = "import sys; from minivision import Tensor, ops, nn, optim, models; print([m for m in ('numba', 'cupy', 'matplotlib') if m in sys.modules])"
    assert run(code).strip() == "[]"
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        run("import minivision")
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.3


def test_every_public_name_can_be_had():
    import minivision
    for name in minivision.__all__:
        assert getattr(minivision, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'; it has"):
        _ = minivision.nonsense


def test_warming_calls_every_compiled_kernel(monkeypatch, capsys):
    """Whatever has a fast version on the CPU is called, and runs."""
    import importlib
    import pkgutil

    import minivision.kernels
    from minivision.kernels import Kernel
    from minivision.warm import warm
    called, call = set(), Kernel.__call__

    def watched(self, *args, **options):
        called.add(self.__name__)
        return call(self, *args, **options)

    monkeypatch.setattr(Kernel, "__call__", watched)
    assert warm(progress=False) >= 20
    topics = [importlib.import_module(f"minivision.kernels.{m.name}") for m in pkgutil.iter_modules(minivision.kernels.__path__) if not m.ispkg]
    compiled = {k.__name__ for topic in topics for k in vars(topic).values() if isinstance(k, Kernel) and k.version("cpu") is not k.specification}
    # These are NumPy and BLAS, or the same compiled loops with another ending.
    assert compiled - called <= {"product", "upsample_bilinear", "upsample_bilinear_gradient", "normalize", "normalize_relu",
                                 "batch_norm_relu", "batch_norm_relu_gradient"}


def test_scenes_convert_check_and_evaluate(tmp_path, capsys, monkeypatch):
    """A data set made, converted through all forms, checked; the truth given as detections scores 1."""
    monkeypatch.chdir(tmp_path)
    assert main(["data", "scenes", "made", "--images", "6", "--size", "64x80", "--format", "voc", "--split", "train"]) == 0
    assert "6 images" in capsys.readouterr().out
    assert main(["data", "convert", "made", "coco", "--split", "train"]) == 0
    assert main(["data", "convert", "made", "coco", "--split", "train", "--format", "voc"]) == 2
    assert "coco has a data set in coco form; choose another folder" in capsys.readouterr().err
    assert main(["data", "convert", "coco", "yolo", "--split", "train", "--format", "yolo", "--leave-out-marked"]) == 0
    for folder in ("made", "coco", "yolo"):
        assert main(["data", "check", folder, "--quiet"]) == 0
        assert "0 problem(s)" in capsys.readouterr().out
    first = sorted((tmp_path / "yolo" / "labels" / "train").iterdir())[0]
    first.write_text("0 0.5 0.5 0 0.5\n")
    assert main(["data", "check", "yolo", "--quiet"]) == 1
    said = capsys.readouterr().out
    assert f"{first.name}: line 1: box 0.5 0.5 0 0.5 (cx cy w h) has no area" in said
    assert "1 problem(s)" in said
    truth = json.loads((tmp_path / "coco" / "annotations" / "train.json").read_text())
    rows = [{key: note[key] for key in ("image_id", "category_id", "bbox")} | {"score": 1} for note in truth["annotations"]]
    (tmp_path / "found.json").write_text(json.dumps(rows))
    assert main(["evaluate", "--truth", "coco/annotations/train.json", "--detections", "found.json", "--out", "report"]) == 0
    said = capsys.readouterr().out
    assert "1.0000  AP\n" in said
    assert "VOC 2007, 11 points: mean AP at IoU 0.50 1.0000" in said
    assert {p.name for p in (tmp_path / "report").iterdir()} == {"figures.txt", "precision_recall.png", "errors.png"}
    assert main(["evaluate", "--truth", "coco/annotations/train.json", "--detections", "coco/annotations/train.json"]) == 2
    assert "annotations; expected results" in capsys.readouterr().err

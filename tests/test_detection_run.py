"""Detectors from the command line, on a data set of one's own in each of three formats; runs that stop and go on; what detect writes."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from minivision import checkpoint, data, detection_run, train
from minivision.cli import main
from minivision.data.annotated import DetectionSet
from minivision.detection import Target
from minivision.experiment import resume
from minivision.experiment import train as start
from minivision.settings import Settings

WRITERS = {"voc": data.write_voc, "coco": data.write_coco, "yolo": data.write_yolo}
QUICK = ["--epochs", "2", "--batch-size", "2", "--quiet"]


def own_set():
    """Three photographs of different sizes, two classes: dark boxes are cats, bright ones dogs."""
    rng, images, targets = np.random.default_rng(0), [], []
    for size, boxes, labels in (((90, 120), [[10, 20, 60, 70], [70, 30, 110, 80]], [0, 1]), ((100, 64), [[5, 5, 45, 60]], [1]),
                                ((80, 80), [[20, 10, 70, 60]], [0])):
        image = rng.integers(100, 150, (3, *size), dtype=np.uint8)
        for (x1, y1, x2, y2), label in zip(boxes, labels):
            image[:, y1:y2, x1:x2] = 250 if label else 10
        images.append(image)
        targets.append(Target(np.array(boxes, float), labels))
    names = [f"{i}.png" for i in range(3)]
    return DetectionSet(images, targets, ("cat", "dog"), [i.shape[1:] for i in images], names, "own")


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("model", ["ssd", "yolo", "yolo-v1", "faster-rcnn"])
def test_a_data_set_of_ones_own_trains_evaluates_and_detects(form, model, tmp_path, capsys):
    folder, run, out = tmp_path / "pets", tmp_path / "run", tmp_path / "found"
    own, images = own_set(), tmp_path / "photos"
    for split, chosen in (("train", [0, 1]), ("val", [2])):
        WRITERS[form](own.subset(chosen), folder, split)
    images.mkdir()
    for i in (0, 2):
        Image.fromarray(own.image(i).transpose(1, 2, 0)).save(images / f"photo{i}.jpg")
    assert main(["train", "--model", model, "--data", str(folder), "--out", str(run), *QUICK]) == 0
    assert "validation ap50" in capsys.readouterr().out
    assert {"pictures", "detector.json", "best.safetensors", "log.jsonl"} <= {p.name for p in run.iterdir()}
    assert len(list((run / "pictures").iterdir())) == 2
    assert json.loads((run / "detector.json").read_text())["classes"] == ["cat", "dog"]
    assert main(["evaluate", str(run), "--quiet"]) == 0
    assert {"detections.json", "precision_recall.png", "errors.png", "mistakes.png", "figures.txt"} == {
        p.name for p in (run / "evaluation").iterdir()}
    assert "AP" in capsys.readouterr().out
    shutil.rmtree(folder)                                       # detecting needs no data set
    assert main(["detect", str(images), "--run", str(run), "--out", str(out), "--least", "0", "--quiet"]) == 0
    assert "in 2 image(s)" in capsys.readouterr().out
    found = json.loads((out / "detections.json").read_text())
    assert [row["image"] for row in found] == [str(images / "photo0.jpg"), str(images / "photo2.jpg")]
    assert (found[0]["height"], found[0]["width"]) == (90, 120)
    assert (out / "photo0.png").is_file()
    assert (out / "photo2.png").is_file()
    for row in found:
        for thing in row["objects"]:
            x, y, w, h = thing["box"]
            assert thing["class"] in ("cat", "dog")
            assert 0 <= thing["score"] <= 1
            assert x >= 0
            assert y >= 0
            assert x + w <= row["width"] + 0.02
            assert y + h <= row["height"] + 0.02


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ssd", "yolo", "faster-rcnn"])
def test_three_images_are_learned_and_found_again(model, tmp_path):
    """The same set, trained until it knows it: the boxes of `minivision detect` are where the objects are."""
    own, folder = own_set(), tmp_path / "pets"
    for split in ("train", "val"):
        data.write_coco(own.subset([0, 1, 2]) if split == "train" else own, folder, split)
    start(Settings.recommended(model, data=str(folder), epochs=120, batch_size=3, augment="flip", every=120, warm_up=10), tmp_path / "run",
          progress=False)
    results = detection_run.evaluate_run(tmp_path / "run", split="train")
    assert results["voc10"].ap >= 0.99


def test_without_splits_every_fifth_image_is_held_out(tmp_path):
    scenes = data.scenes(7, (64, 64), 0)
    data.write_voc(scenes, tmp_path / "set", "all")
    shutil.rmtree(tmp_path / "set" / "ImageSets")
    learn, test = detection_run.sets(Settings.recommended("ssd", data=str(tmp_path / "set")))
    assert (len(learn), len(test)) == (5, 2)
    assert not set(learn.names) & set(test.names)


@pytest.mark.parametrize("spoil, words", [
    (lambda folder: data.write_coco(own_set(), folder, "summer"), "its splits are summer"),
    (lambda folder: data.write_voc(own_set().subset([0]), folder, "train"), "its splits are train"),
    (lambda folder: [data.write_coco(own_set().subset([k]), folder, s) for k, s in ((0, "train"), (1, "winter"))], "splits are train, winter"),
])
def test_splits_that_are_unclear_are_asked_for(spoil, words, tmp_path):
    spoil(tmp_path / "set")
    if "summer" in words:
        data.write_coco(own_set().subset([0]), tmp_path / "set", "winter")
    with pytest.raises(ValueError, match=words):
        detection_run.sets(Settings.recommended("ssd", data=str(tmp_path / "set")))


def test_a_run_on_other_classes_is_refused(tmp_path):
    own = own_set()
    for split in ("train", "val"):
        data.write_coco(own, tmp_path / "set", split)
    run = tmp_path / "run"
    start(Settings.recommended("ssd", data=str(tmp_path / "set"), epochs=1, batch_size=3), run, progress=False)
    with pytest.raises(ValueError, match="scene_2_00000.xml: object 0: class 'star' is not one of cat, dog"):
        detection_run.evaluate_run(run, "scenes", "test")
    for split in ("summer", "winter"):
        data.write_coco(own, tmp_path / "other", split)
    with pytest.raises(ValueError, match="other: its splits are summer, winter; say on which to score the run"):
        detection_run.evaluate_run(run, tmp_path / "other")
    data.write_coco(own.subset([0]), tmp_path / "other", "test")                 # is taken without being asked for
    assert len(detection_run.evaluate_run(run, tmp_path / "other")["errors"].missed) == 1
    data.write_voc(own, tmp_path / "whole", "all")
    shutil.rmtree(tmp_path / "whole" / "ImageSets")
    assert len(detection_run.evaluate_run(run, tmp_path / "whole")["errors"].missed) == 3
    (run / "detector.json").write_text("[]")
    with pytest.raises(ValueError, match="detector.json: not what a detector's run remembers"):
        detection_run.evaluate_run(run)


@pytest.mark.parametrize("arguments, words", [
    (["detect", "nowhere.png"], "settings.json: no such file"),
    (["train", "--model", "ssd", "--data", "digits"], "neither"),
    (["train", "--model", "ssd", "--augment", "warp"], "augment has 'warp'; there are flip, turn, crop, expand, colour"),
    (["train", "--model", "yolo", "--priors", "-1"], "priors is -1"),
    (["train", "--model", "ssd", "--priors", "6"], "priors is 6, and means nothing to ssd"),
    (["train", "--model", "ssd", "--smoothing", "0.1"], "smoothing is 0.1, and means nothing to ssd"),
    (["train", "--model", "small-cnn", "--mend"], "mend is True, and means nothing to small-cnn"),
    (["ladder", "--model", "small-cnn"], "the ladder is for detectors"),
])
def test_errors_are_one_line(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_one_shape_is_enough_for_yolo(tmp_path):
    """k-means finds one prior where all objects are alike; one or two stand on every map."""
    images = [np.full((3, 64, 64), 90, np.uint8) for _ in range(4)]
    targets = [Target(np.array([[8 + i, 10, 28 + i, 30.0]]), [0]) for i in range(4)]
    same = DetectionSet(images, targets, ("box",), [(64, 64)] * 4, [f"{i}.png" for i in range(4)], "same")
    data.write_coco(same.subset([0, 1, 2]), tmp_path / "set", "train")
    data.write_coco(same.subset([3]), tmp_path / "set", "val")
    for priors in (1, 2, 9):
        run = tmp_path / f"run{priors}"
        start(Settings.recommended("yolo", data=str(tmp_path / "set"), epochs=1, priors=priors), run, progress=False)
        assert len(detection_run.read_facts(run)["priors"]) == 1


@pytest.mark.filterwarnings("ignore:.*mended")
def test_nobody_is_validated_on_what_was_learned(shared):
    bccd = str(shared / "bccd")
    settings = Settings.recommended("ssd", data=bccd, split="trainval", mend=True)
    learn, test = detection_run.sets(settings)
    assert (len(learn), len(test)) == (292, 72)
    with pytest.raises(ValueError, match="87 image.* would be learned from and validated on"):
        detection_run.sets(Settings.recommended("ssd", data=bccd, split="trainval", validation="val", mend=True))


def test_detect_replaces_no_photograph_and_leaves_no_old_answers(tmp_path, capsys):
    for split, chosen in (("train", [0, 1]), ("val", [2])):
        data.write_coco(own_set().subset(chosen), tmp_path / "set", split)
    run, photos, out = tmp_path / "run", tmp_path / "photos", tmp_path / "out"
    assert main(["train", "--model", "ssd", "--data", str(tmp_path / "set"), "--out", str(run), *QUICK]) == 0
    photos.mkdir()
    Image.new("RGB", (64, 64)).save(photos / "a.png")
    before = (photos / "a.png").read_bytes()
    assert main(["detect", str(photos), "--run", str(run), "--out", str(photos), "--quiet"]) == 2
    assert "would replace it" in capsys.readouterr().err
    assert (photos / "a.png").read_bytes() == before
    out.mkdir()
    (out / "detections.json").write_text("old")
    (photos / "b.png").write_bytes(b"broken")
    assert main(["detect", str(photos), "--run", str(run), "--out", str(out), "--quiet"]) == 2
    assert "b.png" in capsys.readouterr().err
    assert [p.name for p in out.iterdir()] == ["detections.json"]           # nothing was drawn, nothing lost
    (photos / "b.png").unlink()
    assert main(["detect", str(photos), "--run", str(run), "--out", str(out), "--quiet"]) == 0
    assert json.loads((out / "detections.json").read_text())[0]["image"] == str(photos / "a.png")
    assert main(["detect", str(photos), "--run", str(run), "--out", str(out / "a.png"), "--quiet"]) == 2
    assert "is a file" in capsys.readouterr().err
    assert main(["ladder", "--model", "ssd", "--images", "0"]) == 2
    assert "images is 0" in capsys.readouterr().err


def test_what_cannot_be_detected_is_said(tmp_path, capsys):
    data.write_coco(own_set(), tmp_path / "set", "train")
    data.write_coco(own_set(), tmp_path / "set", "val")
    run = tmp_path / "run"
    (tmp_path / "empty").mkdir()
    assert main(["train", "--model", "ssd", "--data", str(tmp_path / "set"), "--out", str(run), *QUICK]) == 0
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    (tmp_path / "twice").mkdir()
    for name in ("a.png", "a.jpg", "twice/a.png"):
        Image.new("RGB", (40, 30)).save(tmp_path / name)
    for paths, words in ((["no.png"], "no such file or folder"), (["empty"], "no image in this folder"), (["broken.png"], "broken.png"),
                         (["a.png", "twice"], "drawn as a.png.png"), (["a.png", "--least", "2"], "least is 2.0")):
        capsys.readouterr()
        arguments = [str(tmp_path / p) if not p.startswith("-") and not p[0].isdigit() else p for p in paths]
        assert main(["detect", *arguments, "--run", str(run), "--out", str(tmp_path / "out"), "--quiet"]) == 2
        assert words in capsys.readouterr().err
    assert main(["classify", str(tmp_path / "a.png"), "--run", str(run)]) == 2
    assert f"{run} is a run of a detector: minivision detect --run {run}" in capsys.readouterr().err
    both = [str(tmp_path / name) for name in ("a.png", "a.jpg")]
    assert main(["detect", *both, "--run", str(run), "--out", str(tmp_path / "both"), "--quiet"]) == 0
    assert {p.name for p in (tmp_path / "both").iterdir()} == {"a.png.png", "a.jpg.png", "detections.json"}


class Stopped(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ssd", "yolo", "faster-rcnn"])
def test_a_stopped_run_goes_on_bit_for_bit(model, tmp_path, monkeypatch):
    """Also the sampling of anchors and proposals, whose generator is part of the checkpoint."""
    data.write_coco(data.scenes(10, (64, 64), 0), tmp_path / "set", "train")
    data.write_coco(data.scenes(4, (64, 64), 1), tmp_path / "set", "val")
    settings = Settings.recommended(model, data=str(tmp_path / "set"), epochs=3, batch_size=4)
    start(settings, tmp_path / "whole", progress=False)
    real = checkpoint.save

    def save(run, network, optimiser, state):
        real(run, network, optimiser, state)
        if state["epoch"] == 2:
            raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(checkpoint, "save", save)
        start(settings, tmp_path / "stopped", progress=False)
    resume(tmp_path / "stopped", progress=False)
    assert (tmp_path / "stopped" / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()
    logs = [[{k: v for k, v in e.items() if k != "images_per_second"} for e in train.read_log(tmp_path / run / "log.jsonl")]
            for run in ("whole", "stopped")]
    assert logs[0] == logs[1]


@pytest.fixture(scope="module")
def many_scenes(tmp_path_factory):
    """As the README's training scenes, but a quarter of them; the shipped test scenes to score."""
    folder = tmp_path_factory.mktemp("scenes")
    data.write_coco(data.scenes(500, (128, 128), 1, most=12), folder, "train")
    data.write_coco(data.load_detection("scenes", "test"), folder, "test")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("model, ap50, ap", [("yolo", 0.45, 0.2), ("ssd", 0.5, 0.22), ("faster-rcnn", 0.45, 0.2)])
def test_a_short_training_finds_most_objects_of_the_shipped_scenes(model, ap50, ap, many_scenes, tmp_path):
    """A checkpoint made here, seven classes: two ninths at most of the images that the README's rows saw."""
    settings = Settings.recommended(model, data=str(many_scenes), epochs=8, augment="flip", every=8)
    start(settings, tmp_path / "run", progress=False)
    results = detection_run.evaluate_run(tmp_path / "run", "scenes")
    assert results["classes"] == data.load_detection("scenes", "test").classes
    assert results["voc10"].ap >= ap50
    assert results["coco"].ap >= ap


def test_the_ladder_as_a_command(capsys):
    assert main(["ladder", "--model", "ssd", "--images", "2", "--steps", "1", "--quiet"]) == 1       # one step is not enough
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in said] == ["examples", "anchors", "chance", "targets", "overfit"]
    assert [line.split()[0] for line in said] == ["ok", "ok", "ok", "ok", "FAIL"]

"""Published networks from the command line: getting them (from a local server), classifying, detecting, summing up, exporting."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from minivision import data, models, pretrained, transfer, weights, zoo
from minivision.cli import main
from minivision.data import Preparation
from minivision.data.images import read_image
from tests.test_download import Server, server  # noqa: F401 (a fixture)


@pytest.fixture
def home(shared, tmp_path, monkeypatch):
    """A data folder with the weights of the shared data under their published names."""
    folder = tmp_path / "data" / "weights"
    folder.mkdir(parents=True)
    for path in (shared / "weights" / "yolo-fastest").glob("yolo-fastest-1.1.*"):
        shutil.copy(path, folder)
    shutil.copy(shared / "weights" / "squeezenet" / "synset_words.txt", folder)
    monkeypatch.setenv("MINIVISION_DATA", str(tmp_path / "data"))
    return folder


def test_every_entry_of_the_table_is_whole():
    """Addresses, checksums and class names: 14 networks."""
    assert len(zoo.PUBLISHED) == 14
    for name, sets in zoo.PUBLISHED.items():
        for entry in sets.values():
            for url, checksum in entry.files:
                assert url.startswith("https://")
                kind, _, digits = checksum.partition(":")
                assert kind == "sha256"
                assert len(digits) in (8, 64)
                int(digits, 16)
            assert entry.task in ("classify", "detect")
            if entry.classes:
                assert len(set(entry.classes)) == len(entry.classes) == (90 if "ssd300" in name or "rcnn" in name else 80)


@pytest.mark.parametrize("name", ["googlenet", "densenet121", "ssd300_vgg16", "fasterrcnn_resnet50_fpn"])
def test_networks_of_the_table_are_built_for_any_number_of_classes(name, capsys):
    entry = next(iter(zoo.PUBLISHED[name].values()))
    model = entry.build(classes=3)
    assert (model.classes if hasattr(model, "detect") else transfer.last_layer(model)[1].weight.shape[0]) == 3
    if name == "ssd300_vgg16":
        assert model.shapes[0][0] == (21, 21)               # COCO's boxes, not VOC's


def test_getting_weights_from_a_server(server, tmp_path, monkeypatch, capsys):  # noqa: F811
    """Checked by the beginning of a checksum; kept; not asked for again; thrown away where they are others."""
    model = models.resnet18(rng=3)
    weights.save(model, tmp_path / "made.safetensors")
    body, words = (tmp_path / "made.safetensors").read_bytes(), "".join(f"n{k:08} thing {k}, also\n" for k in range(1000)).encode()
    sums = [hashlib.sha256(x).hexdigest() for x in (body, words)]
    entry = replace(zoo.PUBLISHED["resnet18"]["imagenet"], files=((f"https://nowhere/a/resnet18-{sums[0][:8]}.safetensors", f"sha256:{sums[0][:8]}"),
                                                                  ("https://nowhere/b/synset_words.txt", f"sha256:{sums[1]}")))
    monkeypatch.setitem(zoo.PUBLISHED, "resnet18", {"imagenet": entry})
    monkeypatch.setenv("MINIVISION_DATA", str(tmp_path / "data"))
    Server.files = {f"/resnet18-{sums[0][:8]}.safetensors": body, "/synset_words.txt": words}
    assert main(["weights", "get", "resnet18", "--mirror", server, "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(f"data/weights/resnet18-{sums[0][:8]}.safetensors")
    asked = len(Server.seen)
    assert main(["weights", "get", "resnet18", "--mirror", server, "--quiet"]) == 0
    assert len(Server.seen) == asked == 2
    network = pretrained.load("resnet18")
    np.testing.assert_array_equal(network.model.fc.weight.data, model.fc.weight.data)
    assert network.classes[7] == "thing 7"
    shutil.rmtree(tmp_path / "data")
    Server.files[f"/resnet18-{sums[0][:8]}.safetensors"] = body[:-1] + b"?"
    assert main(["weights", "get", "resnet18", "--mirror", server, "--quiet"]) == 2
    assert "thrown away" in capsys.readouterr().err
    assert list((tmp_path / "data" / "weights").iterdir()) == []


def test_the_list(capsys):
    assert main(["weights", "list"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in zoo.PUBLISHED)


def test_detecting_with_yolo_fastest(home, shared, tmp_path, capsys):
    """`minivision detect photo.jpg --model yolo-fastest`: the references' car, dog, bicycle; a picture and JSON."""
    photo = str(shared / "images" / "dog.jpg")
    assert main(["detect", photo, "--model", "yolo-fastest", "--out", str(tmp_path / "out"), "--least", "0.5", "--quiet"]) == 0
    row, = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [o["class"] for o in row["objects"]] == ["car", "dog", "cat", "bicycle"]
    assert (tmp_path / "out" / "dog.png").stat().st_size > 10_000
    cfg = home / "yolo-fastest-1.1.cfg"
    assert main(["detect", photo, "--model", str(cfg), "--weights", str(cfg.with_suffix(".weights")), "--out", str(tmp_path / "b"), "--quiet"]) == 0
    other, = json.loads((tmp_path / "b" / "detections.json").read_text())
    assert other["objects"][0]["class"] == "class 2"
    assert other["objects"][0]["box"] == row["objects"][0]["box"]


def test_classifying_with_a_file_of_weights(home, shared, tmp_path, capsys):
    """SqueezeNet's Caffe weights under our own names and with torchvision's preparation: still a cat."""
    state = weights.translated(weights.read(shared / "weights" / "squeezenet" / "squeezenet_v1.1_fp16.safetensors"), "squeezenet1_1_caffe")
    state["features.0.weight"] = state["features.0.weight"][:, ::-1] * 57       # from B G R of 255 to R G B of about ±2
    weights.write_safetensors(state, tmp_path / "squeeze.safetensors")
    photo = str(shared / "images" / "cat_720p.jpg")
    arguments = ["classify", photo, "--model", "squeezenet1_1", "--weights", str(tmp_path / "squeeze.safetensors"), "--quiet"]
    assert main([*arguments, "--top", "3", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == photo
    assert "cat" in said[1]
    assert len(said) == 5
    written, = json.loads((tmp_path / "out" / "classes.json").read_text())
    assert len(written["classes"]) == 3
    assert (tmp_path / "out" / "cat_720p.png").stat().st_size > 10_000


def test_classifying_with_a_run(photos, tmp_path, capsys):
    from minivision.experiment import evaluate, of_run, train
    from minivision.settings import Settings
    train(Settings(data=str(photos), size=16, epochs=4, batch_size=4), tmp_path / "run", progress=False)
    photo, elsewhere = (photos / "test" / "light" / "0.png").rename(tmp_path / "new.png"), tmp_path / "elsewhere"
    photos.rename(tmp_path / "others")
    (tmp_path / "run").rename(elsewhere)                    # a run answers wherever it is, without the images that it learned from
    assert main(["classify", str(photo), "--run", str(elsewhere), "--top", "1", "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("light")
    assert evaluate(elsewhere, data_name=str(tmp_path / "others"))["images"] == 11
    assert of_run(elsewhere)[1] == (3, 16, 16)
    with pytest.raises(ValueError, match=r"digits has images \(1, 8, 8\) of 10 classes; the run was trained on \(3, 16, 16\) of 2"):
        evaluate(elsewhere, data_name="digits")


def test_a_run_that_goes_on_keeps_its_facts(photos, tmp_path):
    """The statistics are those in classifier.json, and the classes must still be there; a run without the file finds it again."""
    from minivision.experiment import prepare, resume, train
    from minivision.settings import Settings, read_settings
    train(Settings(data=str(photos), size=16, epochs=1, batch_size=4), tmp_path / "run", progress=False)
    path = tmp_path / "run" / "classifier.json"
    facts = json.loads(path.read_text())
    settings = read_settings(tmp_path / "run")
    other = prepare(settings, facts | {"mean": [0.25, 0.5, 0.75]})
    assert list(other.test.mean) == list(other.train.mean) == [0.25, 0.5, 0.75]
    path.unlink()
    resume(tmp_path / "run", progress=False)
    assert json.loads(path.read_text()) == facts
    for split in ("train", "test"):
        (photos / split / "light").rename(photos / split / "bright")
    with pytest.raises(ValueError, match="has classes bright, dark; the run was trained on dark, light"):
        resume(tmp_path / "run", progress=False)


@pytest.mark.parametrize("facts, words", [
    (None, "classifier.json: no such file; a run that was begun without it gets it by: minivision train --resume"), ("{", "classifier.json: not JSON"), ("[]", "not what a classifier's run remembers"),
    ({"classes": "ab"}, "not what a classifier's run remembers"), ({"mean": [0.5]}, "not what a classifier's run remembers"),
    ({"deviation": [0.0, 1.0, 1.0]}, "not what a classifier's run remembers"), ({"classes": []}, "not what a classifier's run remembers"),
    ({"mean": [float("nan"), 0.5, 0.5]}, "not what a classifier's run remembers"),
    ({"deviation": [0.2, float("inf"), 0.2]}, "not what a classifier's run remembers"), ({"image_shape": [3, 16]}, "not what a classifier's"),
    ({"classes": ["dark", "light", "grey"]}, "linear.weight"), ({"image_shape": [3, 16, 20]}, "16×20; photographs are square crops")])
def test_a_run_whose_facts_are_odd_says_so(facts, words, photos, tmp_path):
    from minivision.classification_run import network_of
    from minivision.experiment import train
    from minivision.settings import Settings
    train(Settings(model="resnet20", data=str(photos), size=16, epochs=1, batch_size=12), tmp_path / "run", progress=False)
    path = tmp_path / "run" / "classifier.json"
    good = json.loads(path.read_text())
    path.unlink()
    if facts is not None:
        path.write_text(facts if isinstance(facts, str) else json.dumps(good | facts))
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        network_of(tmp_path / "run")


@pytest.mark.parametrize("arguments, words", [
    (["classify", "x.jpg"], "give either --model"), (["classify", "x.jpg", "--model", "a", "--run", "b"], "give either --model"),
    (["classify", "x.jpg", "--run", "b", "--names", "c"], "--weights and --names go with --model"),
    (["classify", "x.jpg", "--model", "no"], "no published network is called 'no'; there are alexnet"),
    (["classify", "x.jpg", "--model", "resnet18"], "resnet18-f37072fd.pth: not there; get it with: minivision weights get resnet18"),
    (["classify", "x.jpg", "--model", "resnet18", "--weights", "places"], "no weights 'places', neither a file nor one of imagenet"),
    (["classify", "x.jpg", "--model", "resnet18", "--weights", "none.pth"], "none.pth: no such file"),
    (["detect", "x.jpg", "--model", "net.cfg"], "say which weights"), (["detect", "x.jpg", "--weights", "a"], "go with --model"),
    (["detect", "x.jpg", "--model", "yolo-fastest", "--run", "r"], "give either --run"),
    (["summary", "no"], "no network is called 'no'"), (["summary", "resnet18", "--size", "9"], "expected height x width"),
    (["export", "no", "a.onnx"], "no published network is called 'no'"), (["weights", "get", "no"], "no published network"),
    (["weights", "get", "resnet18", "--weights", "x"], "no weights 'x'")])
def test_errors_are_one_line(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINIVISION_DATA", str(tmp_path))
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_classifier_detects_nothing_and_a_detector_classifies_nothing(home, shared, tmp_path, capsys):
    """Told before anything is written, or an older answer deleted."""
    weights.save(models.resnet18(3, rng=0), tmp_path / "three.safetensors")
    photo, out = str(shared / "images" / "dog.jpg"), tmp_path / "out"
    out.mkdir()
    (out / "detections.json").write_text("[]")
    assert main(["detect", photo, "--model", "resnet18", "--weights", str(tmp_path / "three.safetensors"), "--out", str(out), "--quiet"]) == 2
    assert "use minivision classify" in capsys.readouterr().err
    assert (out / "detections.json").read_text() == "[]"
    assert main(["classify", photo, "--model", "yolo-fastest", "--quiet"]) == 2
    assert "use minivision detect" in capsys.readouterr().err
    assert main(["summary", "yolo-fastest", "--classes", "3"]) == 2
    assert "leave out --classes" in capsys.readouterr().err


def test_names_that_are_too_few_and_files_without_any(home, tmp_path, capsys):
    (tmp_path / "names.txt").write_text("a\nb\n")
    (tmp_path / "empty.txt").write_text("\n")
    cfg = str(home / "yolo-fastest-1.1.cfg")
    with pytest.raises(ValueError, match="80 classes, and 2 names"):
        pretrained.load(cfg, cfg.replace(".cfg", ".weights"), classes=tmp_path / "names.txt")
    with pytest.raises(ValueError, match="holds no names"):
        pretrained.read_names(tmp_path / "empty.txt")
    model = models.resnet18(3, rng=0)
    weights.save(model, tmp_path / "three.safetensors")
    assert pretrained.load("resnet18", str(tmp_path / "three.safetensors")).classes == ("class 0", "class 1", "class 2")
    with pytest.raises(ValueError, match="weights of 3 classes, and 2 names"):
        pretrained.load("resnet18", str(tmp_path / "three.safetensors"), classes=("a", "b"))


def test_a_run_is_exported_with_its_weights(tmp_path, capsys):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    assert main(["train", "--quiet", "--out", str(tmp_path / "run"), "--epochs", "1", "--model", "linear"]) == 0
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "run.onnx")]) == 0
    session, x = runtime.InferenceSession(str(tmp_path / "run.onnx"), providers=["CPUExecutionProvider"]), np.eye(64, dtype=np.float32)
    state = weights.read(tmp_path / "run" / "model.safetensors")
    y, = session.run(None, {session.get_inputs()[0].name: x.reshape(64, 1, 8, 8)})
    np.testing.assert_allclose(y, state["fc.weight"].T + state["fc.bias"], atol=1e-5)


def test_a_summary_and_an_export(tmp_path, capsys, home):
    assert main(["summary", "squeezenet1_1"]) == 0
    said = capsys.readouterr().out
    assert "features.3.squeeze" in said
    assert said.splitlines()[-1].startswith("1 235 496 parameters")
    assert main(["summary", "resnet18", "--classes", "10", "--size", "64x96"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("11 181 642 parameters")
    assert main(["summary", "yolo-fastest"]) == 0
    pytest.importorskip("onnx")
    assert main(["export", "yolo-fastest", str(tmp_path / "y.onnx")]) == 0
    runtime = pytest.importorskip("onnxruntime").InferenceSession(str(tmp_path / "y.onnx"), providers=["CPUExecutionProvider"])
    network, x = pretrained.load("yolo-fastest"), np.random.default_rng(0).random((1, 3, 320, 320), dtype=np.float32)
    for ours, theirs in zip(network.model(pretrained.Tensor(x)), runtime.run(None, {runtime.get_inputs()[0].name: x}), strict=True):
        assert np.abs(ours.data - theirs).max() <= 1e-4 * np.abs(theirs).max()


# ---- preparation

def test_photographs_are_prepared_as_torchvision_does():
    """Shorter side 256, the middle 224×224: by hand with Pillow."""
    from PIL import Image
    image = np.random.default_rng(0).integers(0, 256, (3, 300, 417), dtype=np.uint8)
    small = np.asarray(Image.fromarray(image.transpose(1, 2, 0)).resize((355, 256), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    cut = small[:, 16:240, 66:290].astype(np.float64) / 255
    expected = (cut - np.array(zoo.PHOTO.mean)[:, None, None]) / np.array(zoo.PHOTO.deviation)[:, None, None]
    np.testing.assert_allclose(zoo.PHOTO(image), expected, atol=1e-5)


@pytest.mark.parametrize("size, expected", [((480, 640), (800, 1066)), ((640, 480), (1066, 800)), ((100, 900), (148, 1333)), ((7, 7), (800, 800))])
def test_the_working_size_of_faster_rcnn(size, expected):
    """The shorter side 800, unless the longer would pass 1333."""
    assert Preparation(shorter=800, longest=1333).size(size) == expected


def test_detections_come_back_to_the_photo():
    look = Preparation(exact=(50, 100))
    found = data.preparation.Detections(np.array([[10.0, 5, 100, 50]]), np.array([0]), np.array([0.9]))
    np.testing.assert_allclose(look.back(found, (200, 300)).boxes, [[30, 20, 300, 200]])


@pytest.mark.parametrize("image", [np.zeros((3, 4, 4)), np.zeros((4, 4, 3), np.uint8), np.zeros((3, 0, 4), np.uint8)])
def test_what_is_no_photo_is_refused(image):
    with pytest.raises(ValueError, match="expected uint8 RGB"):
        zoo.PHOTO(image)


def test_a_network_and_its_folded_copy_agree_on_a_photo(home, shared):
    network, image = pretrained.load("yolo-fastest"), read_image(shared / "images" / "person.jpg")
    a, b = network.detect(image), network.folded().detect(image)
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_allclose(a.boxes, b.boxes, atol=0.05)

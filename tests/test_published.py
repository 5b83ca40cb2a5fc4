"""Published weights and the answers that other runtimes gave with them (shared data: references), from the stored pixels on."""

import numpy as np
import pytest

from minivision import models, pretrained, weights
from minivision.data import Preparation, load_detection
from minivision.detection import evaluate
from minivision.detection.suppression import by_class
from minivision.models.darknet import Darknet
from minivision.ops.activation import stable_softmax
from minivision.tensor import Tensor, no_grad
from tests.conftest import SHARED

DARKNET = sorted(p.stem for p in (SHARED / "references").glob("darknet_*.npz"))
IMAGES = ("_dog", "_person", "_face", "_grace_hopper")


def reference(shared, name):
    return np.load(shared / "references" / f"{name}.npz", allow_pickle=False)


def falling(found):
    """Boxes, scores and classes of a reference, the surest first."""
    order = np.argsort(-found["final_score"], kind="stable")
    classes = found["final_class"] if "final_class" in found.files else np.zeros(len(order), int)       # faces: one class
    return found["final_xyxy"][order], found["final_score"][order], classes[order]


def darknet(shared, name, eps=1e-5):
    folder = next(f for f in ("yolo-fastest", "mobilenet-yolo") if (shared / "weights" / f / f"{name}.cfg").is_file())
    model = Darknet(shared / "weights" / folder / f"{name}.cfg", eps=eps)
    weights.load_darknet(model, shared / "weights" / folder / f"{name}.weights")
    return model.eval()


def test_there_are_nine_references_of_darknets():
    assert len(DARKNET) == 9 or not SHARED.is_dir()


@pytest.mark.parametrize("stem", DARKNET)
def test_darknet(shared, stem):
    """YOLO-Fastest, MobileNet-YOLO and yoloface against OpenCV: raw maps, decoded rows, final boxes."""
    found = reference(shared, stem)
    name = stem.removeprefix("darknet_")
    for image in IMAGES:
        name = name.removesuffix(image)
    model = darknet(shared, name, eps=1e-6)                              # OpenCV's eps
    h, w = model.image_size
    x = found["input_u8_rgb"].reshape(h, w, 3).transpose(2, 0, 1)[None].astype(np.float32) * np.float32(1 / 255)
    with no_grad():
        maps = [m.data for m in model(Tensor(x))]
    heads = sorted((key for key in found.files if key.startswith("raw_")), key=lambda key: int(key[4:]))
    assert len(heads) == len(maps)
    for key, m in zip(heads, maps):
        assert np.abs(m.reshape(-1) - found[key].reshape(-1)).max() <= 1e-4 * np.abs(found[key]).max()
    boxes, scores = (rows[0] for rows in model.decode(maps))
    decoded = np.concatenate([found[key].reshape(-1, 5 + model.classes) for key in sorted(
        (key for key in found.files if key.startswith("decoded_")), key=lambda key: int(key[8:]))])
    centre = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1) / np.array([w, h, w, h])
    np.testing.assert_allclose(centre, decoded[:, :4], atol=1e-4)
    np.testing.assert_allclose(scores, decoded[:, 5:], atol=1e-4)
    H, W = found["image_hw"]
    label, score = scores.argmax(axis=1), scores.max(axis=1)            # the file's rule: the best class alone, from 0.25 on
    sure = score >= found["conf_thr"]
    boxes, score, label = boxes[sure] * np.array([W / w, H / h] * 2), score[sure], label[sure]
    kept = by_class(boxes, score, label, float(found["nms_thr"]))
    final, final_score, final_class = falling(found)
    assert len(kept) == len(final) > 0
    np.testing.assert_array_equal(label[kept], final_class)
    np.testing.assert_allclose(score[kept], final_score, atol=1e-4)
    np.testing.assert_allclose(boxes[kept], final, atol=0.05)


@pytest.mark.parametrize("name, ap, ap50", [("yolo-fastest-1.1", 0.216, 0.504), ("yolo-fastest-1.1-xl", 0.270, 0.544)])
def test_yolo_fastest_on_coco(shared, name, ap, ap50):
    """From JPEG to AP with our own reader, preparation, network, suppression and evaluator: the stated figures to 0.005."""
    home = shared / "weights" / "yolo-fastest"
    network = pretrained.load(str(home / f"{name}.cfg"), str(home / f"{name}.weights")).folded()
    network.model.least = 0.001
    test = load_detection(shared / "coco_mini", "val")
    result = evaluate([network.detect(test.image(i)) for i in range(len(test))], test.targets, protocol="coco")
    assert result.ap == pytest.approx(ap, abs=0.005)
    assert result.ap50 == pytest.approx(ap50, abs=0.005)


@pytest.mark.parametrize("name, make", [("slim", models.ultraface_slim), ("RFB", models.ultraface_rfb)])
def test_ultraface(shared, name, make):
    """Head outputs, default boxes and faces against onnxruntime."""
    found, model = reference(shared, f"onnx_ultraface-{name}-320_face"), make()
    weights.load(model, shared / "weights" / "ultraface-ssd" / f"version-{name}-320.safetensors", "ultraface")
    x = ((found["input_u8_rgb"].reshape(240, 320, 3).transpose(2, 0, 1).astype(np.float32) - 127) / 128)[None]
    model.eval()
    with no_grad():
        scores, offsets, boxes = model(Tensor(x))
    np.testing.assert_allclose(scores.data[0], found["raw_conf"].reshape(-1, 2), atol=1e-4)
    np.testing.assert_allclose(offsets.data[0], found["raw_loc"].reshape(-1, 4), atol=1e-4)
    np.testing.assert_allclose(boxes / np.array([320, 240] * 2), from_centres(found["priors_cxcywh"].reshape(-1, 4)), atol=1e-5)
    model.least = float(found["conf_thr"]) if "conf_thr" in found.files else 0.7
    answer, (H, W) = model.detect(x)[0], found["image_hw"]
    final, final_score, _ = falling(found)
    assert len(answer) == len(final) > 0
    np.testing.assert_allclose(answer.boxes * np.array([W / 320, H / 240] * 2), final, atol=0.1)
    np.testing.assert_allclose(answer.scores, final_score, atol=1e-4)


def from_centres(rows):
    return np.concatenate([rows[:, :2] - rows[:, 2:] / 2, rows[:, :2] + rows[:, 2:] / 2], axis=1)


@pytest.mark.parametrize("photo, name", [("cat_720p", "Egyptian cat"), ("dog", "dogsled"), ("eagle", "kite")])
def test_squeezenet(shared, photo, name):
    """SqueezeNet 1.1 against onnxruntime and ncnn; then its class names."""
    found, model = reference(shared, f"ncnn_squeezenet_v1.1_{photo}"), models.SqueezeNet(last_padding=1)
    home = shared / "weights" / "squeezenet"
    weights.load(model, home / "squeezenet_v1.1_fp16.safetensors", "squeezenet1_1_caffe")
    bgr = found["input_u8_bgr"].reshape(227, 227, 3).transpose(2, 0, 1)
    prepare = Preparation(mean=(123 / 255, 117 / 255, 104 / 255), deviation=(1 / 255,) * 3)     # of R, G, B
    x = prepare(np.ascontiguousarray(bgr[::-1]))[::-1][None]
    model.eval()
    with no_grad():
        logits = model(Tensor(x)).data
    for key in ("logits_pool10", "logits_ncnn"):
        assert np.abs(logits - found[key].reshape(1, -1)).max() <= 1e-4 * np.abs(found[key]).max()
    np.testing.assert_allclose(stable_softmax(logits, 1)[0], found["prob"].reshape(-1), atol=1e-4)
    words = pretrained.imagenet_names(home / "synset_words.txt")
    assert words[int(logits.argmax())].startswith(name)


def test_the_published_pickle_of_resnet20_is_the_safetensors_file(shared):
    """The original legacy .th, read without running it, bit for bit; and into the network."""
    home = shared / "weights" / "resnet-cifar10"
    ours, theirs = weights.translated(weights.read_torch(home / "resnet20-12fca82f.th")), weights.read(home / "resnet20.safetensors")
    assert set(ours) == set(theirs)
    for name, x in theirs.items():
        np.testing.assert_array_equal(ours[name], x)
    weights.load(models.resnet20(), home / "resnet20-12fca82f.th")

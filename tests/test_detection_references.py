"""Suppression, anchors and coding against what other runtimes said (shared/data/references; onnxruntime, OpenCV): numbers that nobody
here computed."""

import numpy as np
import pytest

from minivision.detection import anchors, boxes, coder, suppression

DARKNET = ["yolo-fastest-1.1_dog", "yolo-fastest-1.1_person", "yolo-fastest-1.1-xl_dog", "MobileNetV2-YOLOv3-Nano-voc_person",
           "yoloface-500k-v2_face"]


def reference(shared, name):
    return np.load(shared / "references" / f"{name}.npz", allow_pickle=False)


@pytest.mark.parametrize("threshold, least", [(0.5, 0.05), (0.45, 0.25), (0.7, 0.0)])
def test_suppression_equals_onnxruntimes(threshold, least, shared):
    """1500 boxes of a real network, four classes, at most 100 of each."""
    file = reference(shared, "onnxruntime_ops")
    rows = file["nms_boxes_y1x1y2x2"][0][:, [1, 0, 3, 2]]
    expected = file[f"nms_iou{threshold}_score{least}_max100"]
    for k, scores in enumerate(file["nms_scores"][0]):
        above = np.flatnonzero(scores > least)
        kept = above[suppression.nms(rows[above], scores[above], threshold)][:100]
        assert kept.tolist() == expected[expected[:, 1] == k, 2].tolist()


@pytest.mark.parametrize("name", DARKNET)
def test_suppression_by_class_equals_opencvs(name, shared):
    file = reference(shared, f"darknet_{name}")
    rows = boxes.from_corner_size(file["candidates_xywh"])
    kept = suppression.by_class(rows, file["candidates_score"], file["candidates_class"], float(file["nms_thr"]))
    order = np.argsort(-file["final_score"], kind="stable")
    np.testing.assert_allclose(file["candidates_score"][kept], file["final_score"][order], atol=1e-6)
    assert file["candidates_class"][kept].tolist() == file["final_class"][order].tolist()
    np.testing.assert_allclose(rows[kept], file["final_xyxy"][order], atol=1.01)        # OpenCV rounds to whole pixels here


def face_anchors():
    """The 4420 priors of Ultra-Light's SSD heads at 320×240: squares of several sizes on four maps. Two of the maps have
    a row more than 240 / stride, and the authors spread them over the height."""
    levels = [((30, 40), 8, (10, 16, 24)), ((15, 20), 16, (32, 48)), ((8, 10), (30, 32), (64, 96)), ((4, 5), (60, 64), (128, 192, 256))]
    return np.concatenate([anchors.grid(np.array([[s, s] for s in sizes], float), size, stride) for size, stride, sizes in levels])


@pytest.mark.parametrize("name", ["slim", "RFB"])
def test_anchors_coding_and_suppression_of_a_published_ssd(name, shared):
    """From the raw outputs of a trained network to its faces: our anchors, our decoding (deviations 0.1 and 0.2), our suppression."""
    file = reference(shared, f"onnx_ultraface-{name}-320_face")
    size = np.array([320, 240, 320, 240])
    placed = face_anchors()
    assert len(placed) == 4420
    np.testing.assert_allclose(np.clip(boxes.to_centre(placed) / size, 0, 1), file["priors_cxcywh"], atol=1e-6)
    priors = boxes.from_centre(file["priors_cxcywh"].astype(float))                     # clipped, as the network was trained
    found = coder.decode(file["raw_loc"][0], priors, (0.1, 0.1, 0.2, 0.2))
    np.testing.assert_allclose(found, file["boxes"][0], atol=2e-6)
    np.testing.assert_allclose(coder.encode(found, priors, (0.1, 0.1, 0.2, 0.2)), file["raw_loc"][0], atol=2e-4)
    score = file["scores"][0][:, 1]
    sure = np.flatnonzero(score > float(file["conf_thr"]))
    kept = sure[suppression.nms(found[sure], score[sure], float(file["nms_thr"]))]
    np.testing.assert_allclose(score[kept], file["final_score"], atol=1e-6)
    height, width = file["image_hw"]
    np.testing.assert_allclose(found[kept] * [width, height, width, height], file["final_xyxy"], atol=1e-2)

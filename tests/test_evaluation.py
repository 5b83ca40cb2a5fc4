"""Average precision against pycocotools and against references written as loops; the breakdown of mistakes on a scene by hand."""

import contextlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from minivision import data, draw
from minivision.detection import Detections, Target, boxes, errors, evaluate
from minivision.detection.coco import FIGURES
from minivision.evaluation import evaluate_files


def random_set(seed, images=None, classes=None, whole=None):
    """Detections and targets of random images: near misses, ties, crowds, difficult and empty images, absent classes, and in some
    more than 100 detections of one class."""
    rng = np.random.default_rng(seed)
    images = images or int(rng.integers(1, 12))
    classes = classes or int(rng.integers(1, 6))
    whole = rng.random() < 0.4 if whole is None else whole            # whole coordinates and scores of one digit: ties everywhere
    detections, targets = [], []
    for _ in range(images):
        G = int(rng.integers(0, 9)) if rng.random() < 0.8 else 0
        corner, size = rng.uniform(0, 300, (G, 2)), np.exp(rng.uniform(1.5, 5.3, (G, 2)))
        truth = np.concatenate([corner, corner + size], axis=1)
        truth = np.round(truth) + [0, 0, 1, 1] if whole else truth
        labels = rng.integers(0, classes, G) * 2                    # classes 1, 3, … have no object
        area = (truth[:, 2:] - truth[:, :2]).prod(axis=1) * (rng.uniform(0.3, 1, G) if rng.random() < 0.5 else 1)
        targets.append(Target(truth, labels, rng.random(G) < 0.2, rng.random(G) < 0.15, area))
        D = int(rng.integers(0, 20)) if rng.random() < 0.85 else int(rng.integers(110, 160))
        near = rng.integers(0, G, D) if G else np.zeros(D, int)
        base = truth[near] if G else rng.uniform(0, 100, (D, 1)) + np.array([[0, 0, 40, 30]])
        spread = rng.choice([0, 0.02, 0.1, 0.5], D)[:, None] * np.tile(base[:, 2:] - base[:, :2], 2)
        found = base + rng.standard_normal((D, 4)) * spread
        found = np.round(found) if whole else found
        found = np.concatenate([np.minimum(found[:, :2], found[:, 2:]), np.maximum(found[:, :2], found[:, 2:])], axis=1)
        names = np.where(rng.random(D) < 0.8, labels[near] if G else 0, rng.integers(0, 2 * classes, D))
        scores = rng.random(D)
        detections.append(Detections(found, names, np.round(scores, 1) if whole else scores))
    return detections, targets


def coco_stats(detections, targets):
    """The twelve figures of pycocotools."""
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval
    annotations, results, labels = [], [], {0}
    for i, (d, t) in enumerate(zip(detections, targets)):
        labels |= {*d.labels.tolist(), *t.labels.tolist()}
        for box, label, crowd, area in zip(boxes.to_corner_size(t.boxes).tolist(), t.labels.tolist(), t.crowd.tolist(), t.area.tolist()):
            annotations.append({"id": len(annotations) + 1, "image_id": i, "category_id": label, "bbox": box, "area": area, "iscrowd": int(crowd)})
        results += [{"image_id": i, "category_id": label, "bbox": box, "score": score}
                    for box, label, score in zip(boxes.to_corner_size(d.boxes).tolist(), d.labels.tolist(), d.scores.tolist())]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = {"info": {}, "images": [{"id": i} for i in range(len(targets))], "annotations": annotations,
                         "categories": [{"id": k, "name": str(k)} for k in sorted(labels)]}
        truth.createIndex()
        if not results:
            return None                                             # pycocotools cannot load an empty list
        run = COCOeval(truth, truth.loadRes(results), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats


@pytest.mark.parametrize("batch", range(20))
def test_coco_figures_equal_pycocotools(batch):
    compared = 0
    for seed in range(batch * 11, batch * 11 + 11):
        detections, targets = random_set(seed)
        expected = coco_stats(detections, targets)
        if expected is not None:
            np.testing.assert_allclose(evaluate(detections, targets).stats, expected, rtol=0, atol=1e-9, err_msg=str(seed))
            compared += 1
    assert compared >= 10


def imagined(found, rng):
    """Detections near the objects of a data set: some off, some twice, some of another class, some of nothing."""
    answers = []
    for target, (H, W) in zip(found.targets, found.sizes):
        which = rng.permutation(np.repeat(np.arange(len(target)), 3))[:2 * len(target)]
        spread = rng.choice([0.01, 0.05, 0.2], len(which))[:, None] * np.tile(target.boxes[which, 2:] - target.boxes[which, :2], 2)
        rows = np.sort((target.boxes[which] + rng.standard_normal((len(which), 4)) * spread).reshape(-1, 2, 2), axis=1).reshape(-1, 4)
        labels = np.where(rng.random(len(which)) < 0.9, target.labels[which], rng.integers(0, len(found.classes), len(which)))
        answers.append(Detections(boxes.clip(rows, (H, W)), labels, rng.random(len(which)).round(2)))
    return answers


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_coco_mini_from_files_equals_pycocotools(split, shared, tmp_path):
    """Both read the same two files: the published annotations, crowds included, and results that we wrote."""
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval
    truth = shared / "coco_mini" / "annotations" / f"instances_{split}_mini.json"
    found = data.read_coco(truth)
    data.write_coco_results(found, imagined(found, np.random.default_rng(5)), tmp_path / "found.json")
    ours = evaluate_files(truth, tmp_path / "found.json")["coco"]
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = coco.COCO(truth)
        run = COCOeval(theirs, theirs.loadRes(str(tmp_path / "found.json")), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    np.testing.assert_allclose(ours.stats, run.stats, rtol=0, atol=1e-9)
    assert 0.2 < ours.ap < 0.95
    precision = run.eval["precision"][:, :, :, 0, 2]                # IoU, recall, class
    for k in range(80):
        if precision[0, 0, k] > -1:
            assert ours.per_class[k] == pytest.approx(precision[:, :, k].mean(), abs=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_files_in_any_order_equal_pycocotools(seed, tmp_path):
    """Image ids shuffled and far apart, equal scores, objects that stick out, areas on the very limits of small and large."""
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval
    rng = np.random.default_rng(seed)
    ids = rng.permutation(1000)[:8].tolist()
    notes = [{"id": k + 1, "image_id": int(rng.choice(ids)), "category_id": int(rng.choice([3, 7])), "iscrowd": 0, "area": float(w * h),
              "bbox": [round(float(x), 1), round(float(y), 1), float(w), float(h)]}
             for k, (x, y, w, h) in enumerate(zip(*rng.uniform(0, 90, (2, 20)), *rng.choice([9.0, 32.0, 96.0, 17.3], (2, 20))))]
    found = [{"image_id": int(rng.choice(ids)) if rng.random() < 0.2 else n["image_id"], "category_id": n["category_id"],
              "bbox": [v + float(d) for v, d in zip(n["bbox"], [*rng.choice([0, 0.1, 1.5], 2), 0, 0])], "score": float(rng.choice([0.2, 0.5]))}
             for n in notes for _ in range(2)]
    truth = {"images": [{"id": i, "file_name": f"{i}.jpg", "height": 100, "width": 100} for i in ids], "annotations": notes,
             "categories": [{"id": 7, "name": "b"}, {"id": 3, "name": "a"}]}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "found.json").write_text(json.dumps(found))
    ours = evaluate_files(tmp_path / "truth.json", tmp_path / "found.json")
    assert ours["classes"] == ("a", "b")
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = coco.COCO(tmp_path / "truth.json")
        run = COCOeval(theirs, theirs.loadRes(str(tmp_path / "found.json")), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    np.testing.assert_allclose(ours["coco"].stats, run.stats, rtol=0, atol=1e-9)


def test_a_class_that_nobody_reported_and_a_file_without_results(tmp_path):
    truth = {"images": [{"id": 1, "file_name": "a.jpg", "height": 99, "width": 99}], "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
             "annotations": [{"id": k, "image_id": 1, "category_id": k, "bbox": [9 * k, 5, 20, 20]} for k in (1, 2)]}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    for n, rows in enumerate(([], [{"image_id": 1, "category_id": 1, "bbox": [9, 5, 20, 20], "score": 1}])):
        (tmp_path / "found.json").write_text(json.dumps(rows))
        result = evaluate_files(tmp_path / "truth.json", tmp_path / "found.json", tmp_path / f"out{n}")
        assert result["coco"].ap == pytest.approx(n / 2)
        assert len(list((tmp_path / f"out{n}").iterdir())) == 3
        draw.counting(result["coco"].curves[1])
    draw.gallery([], [])
    draw.suppression(np.zeros((3, 9, 9)), [], [], 0.5)


def naive_voc(detections, targets, label, points, threshold=0.5):
    """AP of one class as the devkit computes it: one detection after the other, best score first."""
    objects = [[list(map(float, b)) for b, k in zip(t.boxes, t.labels) if k == label] for t in targets]
    easy = [[not (h or c) for h, c, k in zip(t.difficult, t.crowd, t.labels) if k == label] for t in targets]
    number = sum(map(sum, easy))
    if number == 0:
        return None
    found = [[False] * len(o) for o in objects]
    said = [(float(s), i, list(map(float, b))) for i, d in enumerate(detections) for b, k, s in zip(d.boxes, d.labels, d.scores) if k == label]
    said.sort(key=lambda row: -row[0])
    right = wrong = 0
    curve = []
    for _, i, b in said:
        most, which = -1.0, None
        for j, o in enumerate(objects[i]):
            w, h = min(b[2], o[2]) - max(b[0], o[0]), min(b[3], o[3]) - max(b[1], o[1])
            shared = w * h if w > 0 and h > 0 else 0.0
            share = shared / ((b[2] - b[0]) * (b[3] - b[1]) + (o[2] - o[0]) * (o[3] - o[1]) - shared)
            if share > most:
                most, which = share, j
        if which is not None and most >= threshold:
            if not easy[i][which]:
                continue
            if found[i][which]:
                wrong += 1
            else:
                right += 1
                found[i][which] = True
        else:
            wrong += 1
        curve.append((right / number, right / (right + wrong)))
    if points:
        return sum(max([p for r, p in curve if r >= t * 0.1], default=0) for t in range(11)) / 11
    total = before = 0.0
    for n, (r, _) in enumerate(curve):
        total += (r - before) * max(p for _, p in curve[n:])
        before = r
    return total


@pytest.mark.parametrize("protocol", ["voc07", "voc10"])
def test_voc_equals_a_naive_reference(protocol):
    for seed in range(120):
        detections, targets = random_set(seed)
        result = evaluate(detections, targets, protocol)
        labels = {int(k) for t in targets for k in t.labels}
        expected = {k: ap for k in labels if (ap := naive_voc(detections, targets, k, protocol == "voc07")) is not None}
        assert result.per_class == pytest.approx(expected, abs=1e-12)
        strict = [ap for k in labels if (ap := naive_voc(detections, targets, k, protocol == "voc07", 0.75)) is not None]
        if expected:
            assert result.ap == result.ap50 == pytest.approx(np.mean(list(expected.values())))
            assert result.ap75 == pytest.approx(np.mean(strict))
        else:
            assert np.isnan(result.ap)


def one(box, label=0, score=0.9):
    return Detections([box], [label], [score])


def test_worked_example():
    """Three objects, four answers: right, wrong, right, right (document 002, §3.2.2: P = TP/(TP + FP), R = TP/all).

        P = 1, 1/2, 2/3, 3/4        R = 1/3, 1/3, 2/3, 1        envelope of P: 1, 3/4, 3/4, 3/4
    """
    target = Target([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], [0, 0, 0])
    detections = Detections([[0, 0, 10, 10], [80, 80, 90, 90], [20, 0, 30, 10], [40, 0, 50, 10]], [0] * 4, [0.9, 0.8, 0.7, 0.6])
    voc07, voc10, coco = (evaluate([detections], [target], p) for p in ("voc07", "voc10", "coco"))
    assert voc10.ap == pytest.approx(1 / 3 * 1 + 2 / 3 * 3 / 4)
    assert voc07.ap == pytest.approx((4 * 1 + 7 * 3 / 4) / 11)                        # recalls 0, .1, .2, .3 lie below 1/3
    assert coco.ap == coco.ap50 == pytest.approx((34 * 1 + 67 * 3 / 4) / 101)           # 0.00 … 0.33
    assert coco.curves[0].precision == pytest.approx([1, 1 / 2, 2 / 3, 3 / 4])
    assert coco.curves[0].recall == pytest.approx([1 / 3, 1 / 3, 2 / 3, 1])
    assert coco.curves[0].score.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert len(coco.stats) == len(FIGURES) == 12
    assert "3 objects" in str(coco)


def test_the_rules_that_set_the_protocols_apart():
    truth, crowd = Target([[0, 0, 10, 10]], [0]), Target([[0, 0, 10, 10], [50, 50, 90, 90]], [0, 0], crowd=[0, 1])
    inside = Detections([[0, 0, 10, 10], [55, 55, 60, 60], [60, 60, 65, 65]], [0] * 3, [0.5, 0.9, 0.8])
    assert evaluate([inside], [crowd]).ap == pytest.approx(1)                          # both lie in the crowd: not counted
    assert evaluate([inside], [truth], "voc10").ap == pytest.approx(1 / 3)
    difficult = Target([[0, 0, 10, 10], [50, 50, 60, 60]], [0, 0], difficult=[0, 1])
    both = Detections([[50, 50, 60, 60], [0, 0, 10, 10]], [0, 0], [0.9, 0.8])
    assert evaluate([both], [difficult], "voc10").ap == 1
    assert evaluate([both.keep([1])], [difficult], "voc10").ap == 1                     # missing it costs nothing either
    assert evaluate([both.keep([1])], [difficult], "coco").ap == pytest.approx(51 / 101)     # COCO has no such mark
    stolen = Target([[0, 0, 10, 10], [4, 0, 14, 10]], [0, 0])                           # two objects, 0.43 apart
    two = Detections([[0, 0, 10, 10], [1.9, 0, 11.9, 10]], [0, 0], [0.9, 0.8])          # the second overlaps the first more
    assert evaluate([two], [stolen], "voc10").ap == pytest.approx(1 / 2)               # VOC: a duplicate
    assert evaluate([two], [stolen], "coco").ap50 == pytest.approx(1)                   # COCO: takes the free one


def test_absent_classes_and_ties():
    target = Target([[0, 0, 10, 10]], [0])
    answers = Detections([[0, 0, 10, 10], [50, 50, 60, 60]], [0, 5], [0.9, 0.99])
    for protocol in ("coco", "voc07", "voc10"):
        result = evaluate([answers], [target], protocol)
        assert result.ap == pytest.approx(1)                        # class 5 has nothing to find: in no mean, but named
        assert result.absent == (5,)
        assert list(result.per_class) == [0]
    tie = Detections([[50, 50, 60, 60], [0, 0, 10, 10]], [0, 0], [0.9, 0.9])
    assert evaluate([tie], [target], "voc10").ap == pytest.approx(1 / 2)               # equal scores: the order given decides
    assert evaluate([tie.keep([1, 0])], [target], "voc10").ap == 1


def test_labels_may_be_any_numbers():
    detections, targets = random_set(3)
    far = lambda items: [replace(x, labels=x.labels * 10 ** 15 + 7) for x in items]
    for protocol in ("coco", "voc10"):
        near, away = evaluate(detections, targets, protocol), evaluate(far(detections), far(targets), protocol)
        assert list(away.per_class.values()) == list(near.per_class.values())
        assert list(away.per_class) == [k * 10 ** 15 + 7 for k in near.per_class]


def test_nothing_to_find_or_nothing_found():
    nothing, none = Target(np.zeros((0, 4)), []), Detections([], [], [])
    assert evaluate([], [], "coco").stats == [-1] * 12
    assert evaluate([none], [nothing], "coco").ap == -1
    assert np.isnan(evaluate([none], [nothing], "voc07").ap)
    for protocol in ("coco", "voc07", "voc10"):
        assert evaluate([none], [Target([[0, 0, 9, 9]], [3])], protocol).ap == 0
    assert evaluate([one([0, 0, 9, 9])], [nothing], "coco").stats == [-1] * 12


def test_bad_input_is_named():
    good = Target([[0, 0, 9, 9]], [0])
    for make, words in (
            (lambda: Target([[5, 5, 5, 9]], [0]), r"object 0 is \[5.0, 5.0, 5.0, 9.0\]: a box without an area"),
            (lambda: Target([[9, 0, 2, 9]], [0]), "expected x1 ≤ x2"),
            (lambda: Target([[0, 0, 9, np.nan]], [0]), "row 0 .* finite"),
            (lambda: Target([[0, 0, 9]], [0]), r"\(1, 3\); expected \(R,4\)"),
            (lambda: Target([[0, 0, 9, 9]], [0, 1]), "1 boxes and labels"),
            (lambda: Target([[0, 0, 9, 9]], [0.5]), "labels are float64"),
            (lambda: Target([[0, 0, 9, 9]], [-1]), "label -1"),
            (lambda: Target([["a", 0, 9, 9]], [0]), "expected numbers"),
            (lambda: Detections([[0, 0, 9, 9]], [0], [np.nan]), "a score is NaN"),
            (lambda: Target([[0, 0, 9, 9]], [0], area=[-1.0]), "object 0 has the area -1.0"),
            (lambda: Target([[0, 0, 9, 9]], [0], area=[np.nan]), "object 0 has the area nan"),
            (lambda: errors.breakdown([], [], threshold=2), "threshold 2"),
            (lambda: errors.breakdown([], [], threshold=0.05), "least 0.1 and threshold 0.05"),
            (lambda: Detections([[0, 0, 9, 9]], [0], []), "scores of the shape"),
            (lambda: evaluate([], [good]), "0 lists of detections and 1 targets"),
            (lambda: evaluate([good], [good]), "image 0: Target where a Detections"),
            (lambda: evaluate([], [], "voc12"), "protocol is 'voc12'")):
        with pytest.raises(ValueError, match=words):
            make()


def test_breakdown_of_mistakes():
    target = Target([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]], [0, 0, 1, 0], difficult=[0, 0, 0, 1])
    answers = Detections([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 24, 10], [40, 0, 50, 10], [80, 80, 90, 90], [60, 0, 70, 10]],
                         [0] * 6, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    result = errors.breakdown([answers], [target])
    names = [errors.KINDS[k] for k in result.kinds[0]]
    assert names == ["right", "duplicate", "localisation", "confusion", "background", "ignored"]
    assert result.missed[0].tolist() == [False, True, True, False]
    assert result.counts == {"right": 1, "duplicate": 1, "localisation": 1, "confusion": 1, "background": 1, "ignored": 1, "missed": 2}
    assert result.confused == {(0, 1): 1}
    assert result.gain["missed"] == pytest.approx(1 - evaluate([answers], [target], "voc10").ap50)


def test_breakdown_of_crowds_and_of_nothing():
    """What lies in a crowd of its class is ignored, unless it finds an object of its own."""
    target = Target([[0, 0, 100, 100], [10, 10, 20, 20]], [0, 0], crowd=[1, 0])
    answers = Detections([[50, 50, 60, 60], [10, 10, 20, 20], [50, 50, 60, 60]], [0, 0, 1], [0.9, 0.8, 0.7])
    result = errors.breakdown([answers], [target])
    assert [errors.KINDS[k] for k in result.kinds[0]] == ["ignored", "right", "background"]
    nothing = errors.breakdown([Detections([], [], [])], [target])
    assert nothing.counts["missed"] == 1
    assert nothing.gain["missed"] == 1                              # from AP 0 to nothing left to miss
    assert errors.breakdown([], []).counts["missed"] == 0


def test_breakdown_agrees_with_evaluation_on_random_sets():
    for seed in range(60):
        detections, targets = random_set(seed)
        result = errors.breakdown(detections, targets)
        curves = evaluate(detections, targets, "voc10").curves
        assert result.counts["right"] == sum(round(c.recall[-1] * c.objects) for c in curves.values() if len(c.recall))
        assert result.counts["right"] + result.counts["missed"] == sum(c.objects for c in curves.values())
        assert [len(k) for k in result.kinds] == [len(d) for d in detections]
        assert sum(result.confused.values()) == result.counts["confusion"]
        assert all(gain >= -1e-12 for gain in result.gain.values() if not np.isnan(gain))

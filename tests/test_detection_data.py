"""Detection data: good files arrive unchanged and survive every form; bad ones are named with file, object and value."""

import contextlib
import json
import re
import shutil
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minivision import data
from minivision.data.annotated import Log
from minivision.data.checking import near_duplicates
from minivision.data.coco import load, write_coco_file
from minivision.data.voc import listed
from minivision.data.writing import copy_image
from minivision.detection import Detections, Target

BAD = Path(__file__).parent / "bad_inputs"
CLASSES = ("RBC", "WBC")
ONE = [[9, 19, 60, 90]]                     # the good object of nearly every file: VOC's 10 20 60 90, counted from 0
COCO_ONE = [[10, 20, 60, 90]]

# What bad_inputs/README.md asks of each file: what it says (strict), and which boxes are left (mend). A list alone is a good file.
VOC = {
    "ok_reference.xml": ONE, "no_objects.xml": [], "missing_size.xml": ONE, "duplicate_boxes.xml": ONE * 2,
    "float_coords.xml": [[9, 19.5, 60.25, 90]], "size_mismatch.xml": ONE,
    "zero_area_box.xml": (r"object 1 \(RBC\): box 50 40 50 40 has no area", ONE),
    "negative_coords.xml": (r"object 1 \(RBC\): box -15 -5 40 50 sticks out of the image of 160×120", [*ONE, [0, 0, 40, 50]]),
    "outside_image.xml": (r"object 1 \(RBC\): box 120 90 400 300 sticks out", [*ONE, [119, 89, 160, 120]]),
    "fully_outside.xml": (r"object 1 \(RBC\): box 500 500 600 600 lies outside", ONE),
    "unknown_class.xml": ("object 1: class 'Neutrophil' is not one of RBC, WBC", ONE),
    "class_whitespace_case.xml": ("object 0: class 'rbc' is not one of RBC", []),         # blanks go, case stays
    "missing_bndbox.xml": ("object 1: RBC has no <bndbox>", ONE),
    "nonnumeric.xml": ("object 1: <xmin> of RBC is 'ten'", ONE),
    "missing_image.xml": ("its image .*does_not_exist.jpg is missing", None),
    "not_wellformed.xml": ("not readable as XML", None), "empty.xml": ("an empty file", None),
}
COCO = {
    "ok_reference.json": COCO_ONE, "no_annotations.json": [],
    "missing_image.json": ("image 1: its file .*gone.jpg is missing", None),
    "unknown_category.json": ("annotation 2: category_id 5 is not in", COCO_ONE),
    "duplicate_annotation_id.json": ("annotation 1: its id is used twice", [*COCO_ONE, [0, 0, 5, 5]]),
    "negative_width.json": ("annotation 2: box 60 40 -20 30 .* has no area", COCO_ONE),
    "zero_height.json": ("annotation 2: box 60 40 20 0 .* has no area", COCO_ONE),
    "bbox_three_numbers.json": (r"annotation 2: bbox is \[1, 2, 3\]; expected four numbers", COCO_ONE),
    "missing_key.json": ("has no 'categories'", ValueError), "top_level_list.json": ("a file of results", ValueError),
}
YOLO = {
    "empty.txt": [], "crlf_tabs_blank.txt": [[64, 48, 96, 72]],
    "negative_size.txt": ("line 1: box 0.5 0.5 -0.2 0.2 .* has no area", []),
    "bad_class.txt": ("line 1: class 250 is not in 0 … 1", []),
    "four_columns.txt": ("line 1: '0 0.5 0.5 0.2'; expected five numbers", []),
}


def read(folder, name, mend=False):
    path, images = BAD / folder / name, BAD / "images"
    if folder == "voc":
        return data.read_voc_files([path], images, CLASSES, mend=mend)
    if folder == "coco":
        return data.read_coco(path, images, mend=mend)
    return data.read_yolo_files([(images / "ok_reference.jpg", path)], CLASSES, mend=mend)


@pytest.mark.parametrize("folder, table", [("voc", VOC), ("coco", COCO), ("yolo", YOLO)])
def test_no_bad_input_is_left_out(folder, table):
    assert {path.name for path in (BAD / folder).iterdir()} - {"external_secret.txt"} == set(table)


@pytest.mark.parametrize("folder, name", [(f, n) for f, table in (("voc", VOC), ("coco", COCO), ("yolo", YOLO)) for n in table])
def test_bad_inputs(folder, name):
    expected = {"voc": VOC, "coco": COCO, "yolo": YOLO}[folder][name]
    if isinstance(expected, list):
        with pytest.warns(UserWarning, match="320×240, but the image is 160×120") if name == "size_mismatch.xml" else contextlib.nullcontext():
            found = read(folder, name)
        assert found.targets[0].boxes.tolist() == expected
        assert found.targets[0].boxes.shape == (len(expected), 4)
        assert found.sizes == [(120, 160)]
        return
    words, left = expected
    with pytest.raises(FileNotFoundError if "missing" in words else ValueError, match=words) as caught:
        read(folder, name)
    assert name in str(caught.value)
    if left is ValueError:
        with pytest.raises(ValueError, match=words):
            read(folder, name, mend=True)
        return
    with pytest.warns(UserWarning, match=words):
        found = read(folder, name, mend=True)
    assert [t.boxes.tolist() for t in found.targets] == ([] if left is None else [left])
    assert len(found.problems) == 1
    assert name in found.problems[0].file


def test_category_ids_become_labels_and_come_back(tmp_path):
    """The ids 3 and 7 are labels 0 and 1 here, and 3 and 7 again in a file of results."""
    found = read("coco", "ok_reference.json")
    assert found.classes == ("RBC", "WBC")
    assert found.targets[0].labels.tolist() == [0]
    said = [Detections([[1, 2, 11, 22.5], [0, 0, 5, 5]], [1, 0], [0.25, 0.75])]
    path = data.write_coco_results(found, said, tmp_path / "results.json")
    assert json.loads(path.read_text()) == [{"image_id": 1, "category_id": 7, "bbox": [1, 2, 10, 20.5], "score": 0.25},
                                            {"image_id": 1, "category_id": 3, "bbox": [0, 0, 5, 5], "score": 0.75}]
    back = data.read_coco_results(path, found)[0]
    assert (back.boxes.tolist(), back.labels.tolist(), back.scores.tolist()) == (said[0].boxes.tolist(), [1, 0], [0.25, 0.75])
    with pytest.raises(FileExistsError, match="results.json is there already"):
        data.write_coco_results(found, said, path)


@pytest.mark.parametrize("row, words", [
    ({"image_id": 9, "category_id": 3, "bbox": [0, 0, 1, 1], "score": 1}, "result 0 is .*image_id 9 is not in the ground truth"),
    ({"image_id": 1, "category_id": 4, "bbox": [0, 0, 1, 1], "score": 1}, "category_id 4 is not"),
    ({"image_id": [1], "category_id": 3, "bbox": [0, 0, 1, 1], "score": 1}, r"image_id \[1\] is not"),
    ({"image_id": 1, "category_id": 3, "bbox": [0, 0, 1], "score": 1}, "expected bbox: four numbers"),
    ({"image_id": 1, "category_id": 3, "bbox": [0, 0, -1, 1], "score": 1}, "no negative size"),
    ({"image_id": 1, "category_id": 3, "bbox": [0, 0, 1, -1], "score": 1}, "no negative size"),
    ({"image_id": 1, "category_id": 3, "bbox": [1e308, 0, 1e308, 1], "score": 1}, "expected finite numbers"),
    ({"image_id": 1, "category_id": 3, "bbox": "1234", "score": 1}, "expected bbox"),
    ({"image_id": 1, "category_id": 3, "bbox": [0, 0, 1, 1]}, "'score' is missing"),
    ({"image_id": 1, "category_id": 3, "bbox": [0, 0, 1, 1], "score": "high"}, "expected bbox"),
    ({"image_id": 1, "category_id": 3, "bbox": [0, 0, 1, 1], "score": "0.5"}, "expected bbox"),
    ({"image_id": 1, "category_id": 3, "bbox": [0, 0, 1, True], "score": 0.5}, "expected bbox"),
    ({"image_id": True, "category_id": 3, "bbox": [0, 0, 1, 1], "score": 0.5}, "image_id True is not"),
    ({"image_id": 1, "category_id": 3, "bbox": [0, 0, 10 ** 400, 1], "score": 0.5}, "expected bbox"),
    ('{"image_id": 1, "category_id": 3, "bbox": [0, 0, 1e999, 1], "score": 1}', "finite"),
    ('{"image_id": 1, "category_id": 3, "bbox": [0, 0, NaN, 1], "score": 1}', "NaN is not a number of JSON"),
    (7, "expected an object"),
])
def test_bad_results_are_named(row, words, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(f"[{row if isinstance(row, str) else json.dumps(row)}]")
    with pytest.raises(ValueError, match=words) as caught:
        data.read_coco_results(path, read("coco", "ok_reference.json"))
    assert "results.json" in str(caught.value)


def test_annotations_instead_of_results_and_json_that_is_none(tmp_path):
    truth = read("coco", "ok_reference.json")
    with pytest.raises(ValueError, match="annotations; expected results"):
        data.read_coco_results(BAD / "coco" / "ok_reference.json", truth)
    for text, words in (("{", "not readable as JSON"), ("[NaN]", "NaN is not a number"), ("[" * 100_000, "not readable as JSON"),
                        ("\ud800".encode("utf-16", "surrogatepass"), "not readable"), ('"text"', "str")):
        path = tmp_path / "a.json"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ValueError, match=words):
            data.read_coco(path)
    with pytest.raises(FileNotFoundError, match="gone.json: no such file"):
        load(tmp_path / "gone.json")


def annotation(body, name="ok_reference.jpg"):
    return f"<annotation><filename>{name}</filename>{body}</annotation>"


@pytest.mark.parametrize("text, words", [
    ('<!DOCTYPE annotation [<!ENTITY s SYSTEM "external_secret.txt">]>' + annotation("<object><name>&s;</name></object>"), "DTD"),
    ('<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>' + annotation("&b;"), "DTD"),
    ('<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/x.dtd">' + annotation(""), "DTD"),
    (annotation("", "../ok_reference.jpg"), "not inside"), (annotation("", "/etc/passwd"), "not inside"),
    (annotation("", "x\0y".replace("\0", "&#0;")), "not readable"), ("<svg/>", "begins with <svg>"),
    (annotation("<object><name>RBC</name><bndbox><xmin>nan</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object>"), "'nan'"),
    (annotation("<object><name>RBC</name><bndbox><xmin>1_0</xmin><ymin>1</ymin><xmax>50</xmax><ymax>5</ymax></bndbox></object>"), "'1_0'"),
    (annotation("<object><name>RBC</name><difficult>maybe</difficult><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object>"), "<difficult> of RBC is 'maybe'"),
    (annotation("<object><name> </name></object>"), "has no <name>"),
])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_that_is_refused(text, words, encoding, tmp_path):
    path = tmp_path / "a.xml"
    path.write_bytes(text.encode(encoding))
    shutil.copy(BAD / "voc" / "external_secret.txt", tmp_path)
    with pytest.raises(ValueError, match=words) as caught:
        data.read_voc_files([path], BAD / "images", CLASSES)
    assert "a.xml" in str(caught.value)
    assert "XXE_LEAKED" not in str(caught.value)


def coco(images=({"id": 1, "file_name": "ok_reference.jpg"},), annotations=(), categories=({"id": 3, "name": "RBC"},)):
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.mark.parametrize("document, words", [
    (coco(images=[{"id": 1, "file_name": "../ok_reference.jpg"}]), "not inside"),
    (coco(images=[{"id": 1, "file_name": "/etc/passwd"}]), "not inside"), (coco(images=[{"id": 1, "file_name": "C:x.jpg"}]), "not inside"),
    (coco(images=[{"id": 1, "file_name": "a\\..\\..\\x.jpg"}]), "not inside"), (coco(images=[{"id": 1, "file_name": ""}]), "not inside"),
    (coco(annotations=[{"id": 1, "image_id": 1, "category_id": 3, "bbox": ["1", 1, 5, 5]}]), "expected four numbers"),
    (coco(images=[{"id": "1", "file_name": "a.jpg"}]), "image 0 is .*whole number"),
    (coco(images=[{"id": True, "file_name": "a.jpg"}]), "image 0 is"),
    (coco(images=[{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]), "image 1: its id 1 .* used twice"),
    (coco(categories=[{"id": 3, "name": "RBC"}, {"id": 4, "name": "RBC"}]), "category 1: .*'RBC' is used twice"),
    (coco(annotations=[7]), "annotation 0: is 7"),
    (coco(annotations=[{"id": 1, "image_id": 8, "category_id": 3, "bbox": [1, 1, 5, 5]}]), "image_id 8 is not"),
    (coco(annotations=[{"id": 1, "image_id": 1, "category_id": True, "bbox": [1, 1, 5, 5]}]), "category_id True"),
    (coco(annotations=[{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 1, "5", None]}]), "expected four numbers"),
    (coco(annotations=[{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 1, 5, 5], "area": "big"}]), "area is 'big'"),
    (coco(annotations=[{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 1, 5, 5], "iscrowd": 2}]), "iscrowd is 2"),
    (coco(annotations=[{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 1, 5, 5], "area": -3}]), "area is -3; expected a number ≥ 0"),
    (coco(annotations={}), "is not a list: 'annotations'"),
])
def test_coco_that_is_refused(document, words, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    for images in (BAD / "images", None):                           # whether images are looked for or not
        if images is None and "file_name" not in words and "not inside" not in words:
            continue
        with pytest.raises(ValueError, match=words) as caught:
            data.read_coco(path, images)
        assert "a.json" in str(caught.value)


@pytest.mark.parametrize("folder, name", [("voc", "ok_reference.xml"), ("coco", "ok_reference.json"), ("yolo", "crlf_tabs_blank.txt")])
def test_a_file_cut_anywhere_loads_or_is_named(folder, name, tmp_path):
    whole = (BAD / folder / name).read_bytes()
    for at in range(0, len(whole), 3):
        path = tmp_path / name
        path.write_bytes(whole[:at] + (b"\xff" if at % 2 else b""))
        said = name                                     # what a good file says
        try:
            if folder == "voc":
                data.read_voc_files([path], BAD / "images", CLASSES)
            elif folder == "coco":
                data.read_coco(path, BAD / "images")
            else:
                data.read_yolo_files([(BAD / "images" / "ok_reference.jpg", path)], CLASSES)
        except ValueError as error:                     # and no other kind of error
            said = str(error)
        assert name in said


def test_lists_of_voc(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder Annotations"):
        data.read_voc(tmp_path)
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("here 1\n../../etc 1\n")
    (tmp_path / "Annotations" / "here.xml").write_text(annotation(""))
    with pytest.raises(FileNotFoundError, match="there are: train"):
        data.read_voc(tmp_path, "val")
    with pytest.raises(ValueError, match="not inside"):
        data.read_voc(tmp_path, "train")
    with pytest.raises(ValueError, match="expected a plain name"):
        data.read_voc(tmp_path, "../../../x")
    assert listed(tmp_path, "train", Log(True)) == [tmp_path / "Annotations" / "here.xml"]


def test_an_edge_half_a_pixel_outside_is_rounding():
    box = [0, 0, 160.4, 120]
    found = data.annotated.admit(Log(False), "f", "object 0", box, (120, 160), "")
    assert found == ((0, 0, 160, 120), pytest.approx(160 / 160.4))
    with pytest.raises(ValueError, match="sticks out"):
        data.annotated.admit(Log(False), "f", "object 0", [0, 0, 160.6, 120], (120, 160), "")
    assert data.annotated.admit(Log(True), "f", "object 0", [159.2, 0, 170, 120], (120, 160), "") == (None, 0)        # under a pixel is left


def same(a, b, exactly=True):
    """Two data sets with the same images (by name without suffix), objects and classes."""
    assert a.classes == b.classes
    stems = [Path(n).stem for n in b.names]
    assert sorted(stems) == sorted(Path(n).stem for n in a.names)
    for i, name in enumerate(a.names):
        j = stems.index(Path(name).stem)
        assert a.sizes[i] == b.sizes[j]
        s, t = a.targets[i], b.targets[j]
        np.testing.assert_allclose(s.boxes, t.boxes, rtol=0, atol=0 if exactly else 1e-9)
        for field in ("labels", "difficult", "crowd"):
            np.testing.assert_array_equal(getattr(s, field), getattr(t, field))
        np.testing.assert_allclose(s.area, t.area, rtol=0 if exactly else 1e-9)


def through_all_forms(found, folder):
    """VOC, COCO and YOLO: written, checked, read again. YOLO text has no marks and no areas: both are compared without."""
    data.write_voc(found, folder / "voc", "part")
    same(found, data.read_detection(folder / "voc", "part"), exactly=False)
    data.write_coco(found, folder / "coco", "part")
    same(found, data.read_detection(folder / "coco", "part"), exactly=False)
    plain = found.unmarked()
    plain = replace(plain, targets=[Target(t.boxes, t.labels) for t in plain.targets])
    data.write_yolo(plain, folder / "yolo", "part")
    same(plain, data.read_detection(folder / "yolo", "part"), exactly=False)
    for form in ("voc", "coco", "yolo"):
        duplicates = sum(len(near_duplicates(part)) for part in [plain if form == "yolo" else found])
        assert len(data.check(folder / form, progress=False)) == duplicates
        pictures = [p for p in (folder / form).rglob("*") if p.suffix in (".jpg", ".png")]
        assert len(pictures) == len(found)


def test_the_shipped_scenes_load_check_and_go_through_all_forms(tmp_path):
    train, test = (data.load_detection("scenes", split) for split in ("train", "test"))
    assert (len(train), len(test)) == (300, 100)
    assert train.classes == data.scenes(0).classes
    assert sum(train.counts().values()) == 987
    assert data.check(data.sets.shipped("scenes"), progress=False) == []
    for split, found in (("train", train), ("test", test)):
        as_coco = data.read_coco(data.sets.shipped("scenes") / f"instances_{split}.json", data.sets.shipped("scenes"))
        same(found, as_coco)
    through_all_forms(test, tmp_path)


def test_the_shipped_scenes_are_what_the_generator_makes():
    """Annotations to the digit; images but for JPEG's loss. (Another processor may round a pixel at an edge differently.)"""
    for split, seed in (("train", 1), ("test", 2)):
        shipped = data.load_detection("scenes", split)
        again = data.scenes(12, (128, 128), seed, writers=split)
        for i in range(12):
            at = [Path(n).stem for n in shipped.names].index(f"scene_{seed}_{i:05d}")
            np.testing.assert_allclose(shipped.targets[at].boxes, again.targets[i].boxes, atol=1)
            np.testing.assert_array_equal(shipped.targets[at].labels, again.targets[i].labels)
            difference = np.abs(shipped.image(at).astype(int) - again.image(i))
            assert difference.mean() < 5                           # another scene differs by 30 and more


def test_bccd_is_read_checked_and_goes_through_all_forms(shared, tmp_path):
    """The set's known flaws: two boxes without area, eight near-duplicate pairs; 1-based corners."""
    problems = [str(p) for p in data.check(shared / "bccd", progress=False)]
    assert len(problems) == 10
    assert "BloodImage_00338.xml: object 12 (RBC): box 504 337 504 337 has no area" in problems[0]
    assert "BloodImage_00343.xml: object 3 (RBC): box 181 329 181 329 has no area" in problems[1]
    pairs = ["00013", "00020", "00100", "00104", "00251", "00284", "00331", "00403"]
    assert all(number in line and "near-duplicates of RBC" in line for number, line in zip(pairs, problems[2:], strict=True))
    with pytest.raises(ValueError, match="504 337 504 337 has no area; mend=True"):
        data.load_detection(shared / "bccd")
    with pytest.warns(UserWarning, match="mended 2"):
        found = data.load_detection(shared / "bccd", mend=True)
    assert len(found) == 364
    assert found.counts() == {"Platelets": 361, "RBC": 4155 - 2, "WBC": 372}
    boxes = np.concatenate([t.boxes for t in found.targets])
    assert boxes.min() == 0
    assert boxes[:, 2].max() == 640
    assert boxes[:, 3].max() == 480
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [len(data.load_detection(shared / "bccd", s, mend=True)) for s in ("train", "val", "test")] == [205, 87, 72]
    through_all_forms(found, tmp_path)


def test_coco_mini_is_read_checked_and_goes_through_all_forms(shared, tmp_path):
    """C2's data half, on a part of the real set: classes, boxes, crowds, an image without objects."""
    assert data.check(shared / "coco_mini", progress=False) == []
    train, val = (data.load_detection(shared / "coco_mini", s) for s in ("train2017", "val2017"))
    assert (len(train), len(val)) == (26, 27)
    assert sum(train.counts().values()) + sum(val.counts().values()) == 355
    assert sum(int(t.crowd.sum()) for part in (train, val) for t in part.targets) == 3
    assert len(train.targets[train.image_ids.index(508)]) == 0
    assert (len(val.classes), val.classes[0], val.category_ids[-1]) == (80, "person", 90)
    through_all_forms(val, tmp_path / "val")
    through_all_forms(train, tmp_path / "train")


def test_coco_minis_yolo_files_say_the_same(shared):
    """Written by other people from the outlines: fractions of the image, and most rows agree with the boxes of the JSON."""
    from minivision.detection.boxes import iou
    val, yolo = data.load_detection(shared / "coco_mini", "val2017"), data.read_yolo(shared / "coco_mini", "val2017")
    assert [Path(n).stem for n in yolo.names] == sorted(Path(n).stem for n in val.names)
    close = total = 0
    for name, target in zip(yolo.names, yolo.targets):
        other = val.targets[val.names.index(name)]
        alike = iou(target.boxes, other.boxes) * (target.labels[:, None] == other.labels) if len(other) else np.zeros((len(target), 1))
        close, total = close + int((alike.max(axis=1, initial=0) > 0.8).sum()), total + len(target)
    assert close / total > 0.95


@pytest.mark.parametrize("form", ["voc", "coco", "yolo"])
def test_writers_overwrite_nothing_and_an_interrupted_set_has_no_list(form, tmp_path, monkeypatch):
    write, made = {"voc": data.write_voc, "coco": data.write_coco, "yolo": data.write_yolo}[form], data.scenes(3, (48, 40), 5).unmarked()
    for broken, error in ((replace(made, images=[*made.images[:2], "nowhere.png"]), FileNotFoundError),):
        with pytest.raises(error, match="nowhere.png: no such file to copy"):
            write(broken, tmp_path / "checked")
        assert not (tmp_path / "checked").exists()                  # what can be known before is known before
    module, copied = sys.modules[f"minivision.data.{form}"], []

    def stops(*arguments):
        if len(copied) == 2:
            raise KeyboardInterrupt
        copied.append(arguments)
        return copy_image(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "copy_image", stops)
        with pytest.raises(KeyboardInterrupt):
            write(made, tmp_path / "broken")
    assert not [p for p in (tmp_path / "broken").rglob("train.*") if p.is_file()]           # no list of VOC, no JSON of COCO
    assert not list((tmp_path / "broken").rglob("*.partial"))
    folder = tmp_path / "whole"
    write(made, folder)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(FileExistsError, match="is there already; nothing is overwritten"):
        write(made, folder)
    late = replace(made, names=["new.png", *made.names[1:]])
    if form == "voc":                                               # whose splits share a folder: nothing of the new one is left behind
        with pytest.raises(FileExistsError):
            write(late, folder, "val")
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    more = replace(made, names=[f"more_{n}" for n in made.names])
    if form != "coco":
        with pytest.raises(FileExistsError, match="with the classes disc, .*, not "):
            write(replace(more, classes=tuple(f"{c}s" for c in made.classes)), folder, "val")
    write(more, folder, "val")
    assert len(data.read_detection(folder, "val")) == len(data.read_detection(folder, "train")) == 3


def test_what_a_form_cannot_hold_is_refused(tmp_path):
    made = data.scenes(3, (48, 40), 5)
    thin = replace(made, targets=[Target([[3, 3, 4, 9]], [0])] * 3)
    with pytest.raises(ValueError, match=r"scene_5_00000.png: object 0 is \[3.0, 3.0, 4.0, 9.0\]: at most a pixel wide"):
        data.write_voc(thin, tmp_path / "thin")                     # which our own reader would refuse
    assert not (tmp_path / "thin").exists()
    marked = replace(made, targets=[replace(t, difficult=np.ones(len(t), bool)) for t in made.targets])
    with pytest.raises(ValueError, match="objects are difficult or a crowd, and YOLO text cannot say so"):
        data.write_yolo(marked, tmp_path / "yolo")
    data.write_yolo(marked.unmarked(), tmp_path / "yolo")
    assert sum(data.read_yolo(tmp_path / "yolo", "train").counts().values()) == 0


@pytest.mark.parametrize("names", [("a/x.jpg", "b/x.jpg"), ("x.jpg", "x.png"), ("x.png", "X.png"), ("x.png", "x.png")])
def test_two_images_of_one_name_are_refused_before_anything_is_written(names, tmp_path):
    made = replace(data.scenes(2, (40, 40)).unmarked(), names=list(names))
    for write in (data.write_voc, data.write_coco, data.write_yolo):
        with pytest.raises(ValueError, match=f"{names[0]} and {names[1]} would be written under one name"):
            write(made, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("change", [{"classes": (" disc", "star")}, {"classes": ("di\nsc", "star")}, {"classes": ("", "star")},
                                    {"names": ["a\0.png", "b.png"]}, {"names": ["a\n.png", "b.png"]}])
def test_names_that_would_not_come_back_are_refused(change, tmp_path):
    made = replace(data.scenes(2, (40, 40), classes=("disc", "star")).unmarked(), **change)
    for write in (data.write_voc, data.write_coco, data.write_yolo):
        with pytest.raises(ValueError, match="cannot be written"):
            write(made, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("split", ["../x", "/tmp/x", "a/b", "..", "", "a\\b", "C:", " a", "a\nb", 7])
def test_names_of_splits_lead_nowhere(split, tmp_path):
    made = data.scenes(1, (40, 40)).unmarked()
    for write in (data.write_voc, data.write_coco, data.write_yolo):
        with pytest.raises(ValueError, match="expected a plain name"):
            write(made, tmp_path / "out", split)
    assert not (tmp_path / "out").exists()
    data.write_yolo(made, tmp_path / "yolo")
    with pytest.raises(ValueError, match="expected a plain name"):
        data.read_yolo(tmp_path / "yolo", split)


def test_labels_count_the_lines_of_classes_txt(tmp_path):
    data.write_yolo(data.scenes(1, (40, 40)).unmarked(), tmp_path)
    (tmp_path / "classes.txt").write_text("disc\n\nsquare\n\n")
    with pytest.raises(ValueError, match="classes.txt: line 2 is empty"):
        data.read_yolo(tmp_path, "train")


def test_edges_that_rounding_pushed_out_are_counted(tmp_path):
    (tmp_path / "a.txt").write_text("0 0.5 0.5 1.004 1\n0 0.5 0.5 1.00001 1\n")
    with pytest.warns(UserWarning, match=r"1 box\(es\) stuck out of their image by up to 0.5 pixels"):
        found = data.read_yolo_files([(BAD / "images" / "ok_reference.jpg", tmp_path / "a.txt")], CLASSES)
    assert found.targets[0].boxes.tolist() == [[0, 0, 160, 120]] * 2
    document = coco(images=[{"id": 1, "file_name": "x.jpg", "height": 10, "width": 10}],
                    annotations=[{"id": 1, "image_id": 1, "category_id": 3, "bbox": [0, 0, 10.4, 30], "area": 312}])
    (tmp_path / "a.json").write_text(json.dumps(document))
    assert data.read_coco(tmp_path / "a.json").targets[0].boxes.tolist() == [[0, 0, 10.4, 30]]      # to be evaluated: as it is written
    big = coco(annotations=[{"id": 1, "image_id": 1, "category_id": 3, "bbox": [0, 0, 160, 240], "area": 300}])
    (tmp_path / "b.json").write_text(json.dumps(big))
    with pytest.warns(UserWarning, match="sticks out"):
        assert data.read_coco(tmp_path / "b.json", BAD / "images", mend=True).targets[0].area.tolist() == [150]     # half is left


def test_which_file_of_a_coco_folder(tmp_path):
    made = data.scenes(3, (40, 40))
    for n, name in enumerate(("train", "instances_train", "instances_val2017")):
        write_coco_file(made.subset(np.arange(n + 1)), tmp_path / "annotations" / f"{name}.json")
        for i in range(n + 1):
            (tmp_path / "images").mkdir(exist_ok=True)
            Image.fromarray(made.images[i].transpose(1, 2, 0)).save(tmp_path / "images" / made.names[i])
    assert [len(data.read_detection(tmp_path, split)) for split in ("train", "instances_train", "val2017", "val")] == [1, 2, 3, 3]
    for split in ("test", None):
        with pytest.raises(ValueError, match="say which: instances_train, instances_val2017, train"):
            data.read_detection(tmp_path, split)


def test_sizes_that_disagree_with_a_coco_file(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(coco(images=[{"id": 1, "file_name": "ok_reference.jpg", "height": 7, "width": 9}])))
    with pytest.warns(UserWarning, match="said to be 9×7, but .* is 160×120"):
        assert data.read_coco(tmp_path / "a.json", BAD / "images").sizes == [(120, 160)]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_of_a_turned_image_is_that_of_its_pixels(suffix, orientation, tmp_path):
    image = Image.new("RGB", (40, 20))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / f"a.{suffix}", exif=exif)
    expected = data.read_image(tmp_path / f"a.{suffix}").shape[1:]
    assert data.image_size(tmp_path / f"a.{suffix}") == expected == ((40, 20) if orientation > 4 else (20, 40))


def test_check_looks_everywhere(tmp_path):
    """Images that nobody names, a split without labels, files beside the splits, lists that are no text, names given twice."""
    made = data.scenes(2, (40, 40)).unmarked()
    data.write_yolo(made, tmp_path / "yolo")
    for place in ("images/val/b.png", "images/root.png"):
        (tmp_path / "yolo" / place).parent.mkdir(exist_ok=True)
        (tmp_path / "yolo" / place).write_bytes(b"junk")
    said = "\n".join(map(str, data.check(tmp_path / "yolo", progress=False)))
    assert "labels/val: no such folder" in said
    assert "root.png: lies beside the folders of the splits" in said
    data.write_voc(made, tmp_path / "voc")
    main, notes = tmp_path / "voc" / "ImageSets" / "Main", sorted((tmp_path / "voc" / "Annotations").iterdir())
    (main / "bad.txt").write_bytes(b"\xff\xfe\0")
    (main / "twice.txt").write_text(f"{notes[0].stem}\n" * 2)
    (tmp_path / "voc" / "JPEGImages" / "extra.png").write_bytes(b"junk")
    shutil.copy(notes[0], notes[0].with_name("second.xml"))
    said = "\n".join(map(str, data.check(tmp_path / "voc", progress=False)))
    for words in ("bad.txt: not text in UTF-8", f"lists {notes[0].stem} twice", "extra.png: no annotation names this image", "as .*second.xml|second.xml: describes"):
        assert re.search(words, said), words
    data.write_coco(made, tmp_path / "coco")
    assert data.check(tmp_path / "coco", progress=False) == []
    assert "its classes are disc" in str(data.check(tmp_path / "coco", ["zebra"], progress=False)[0])
    shutil.copy(tmp_path / "yolo" / "images" / "train" / made.names[0], tmp_path / "yolo" / "images" / "train" / (Path(made.names[0]).stem + ".jpg"))
    with pytest.raises(ValueError, match="shares .*txt with"):
        data.read_yolo(tmp_path / "yolo", "train")


def test_names_with_blanks_and_letters_of_all_kinds_come_back(tmp_path):
    made = replace(data.scenes(2, (40, 40), classes=("disc", "star")).unmarked(), classes=("红细胞 & <x>", "two words"),
                   names=["my photo 1.png", "my.png"])
    for write, folder in ((data.write_voc, "voc"), (data.write_coco, "coco"), (data.write_yolo, "yolo")):
        write(made, tmp_path / folder, "part")
        same(replace(made, targets=[replace(t, area=None) for t in made.targets]) if folder == "yolo" else made,
             data.read_detection(tmp_path / folder, "part"), exactly=False)


def test_check_finds_what_was_planted(tmp_path):
    made = data.scenes(4, (64, 64), 11, classes=("disc", "star"))
    data.write_voc(made, tmp_path / "set")
    root = tmp_path / "set"
    note = next(p for p in sorted((root / "Annotations").iterdir()) if "<xmax>" in p.read_text())
    note.write_text(note.read_text().replace("<xmax>", "<xmax>9", 1))
    pictures = sorted((root / "JPEGImages").iterdir())
    pictures[1].unlink()
    pictures[2].write_bytes(pictures[2].read_bytes()[:200])
    with (root / "ImageSets" / "Main" / "train.txt").open("a") as file:
        file.write("ghost\n")
    (root / "classes.txt").write_text("disc\nstar\nDisc \n")
    said = "\n".join(map(str, data.check(root, progress=False)))
    for words in ("sticks out", f"{pictures[1].name} is missing", "lists ghost", "'disc', 'Disc' differ only in case", "cannot be decoded"):
        assert words in said
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="neither VOC"):
        data.check(empty)
    with pytest.raises(FileNotFoundError, match="neither a folder nor one of scenes, bccd"):
        data.load_detection(tmp_path / "nothing")


def test_small_liberties_of_files(tmp_path):
    """Blanks around a file name are no part of it; six columns (a score in the middle or at the end) are no truth."""
    path = tmp_path / "a.xml"
    path.write_text(annotation("", "\n  ok_reference.jpg "))
    assert len(data.read_voc_files([path], BAD / "images", CLASSES)) == 1
    path = tmp_path / "a.txt"
    path.write_text("0 0.5 0.5 0.2 0.2 0.9\n")
    with pytest.raises(ValueError, match="line 1: .* expected five numbers"):
        data.read_yolo_files([(BAD / "images" / "ok_reference.jpg", path)], CLASSES)


def test_yolo_folders(tmp_path):
    data.write_yolo(data.scenes(3, (48, 64), 3).unmarked(), tmp_path)
    (tmp_path / "labels" / "train" / "lonely.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(FileNotFoundError, match="lonely.txt: has no image"):
        data.read_yolo(tmp_path, "train")
    (tmp_path / "labels" / "train" / "lonely.txt").unlink()
    first = sorted((tmp_path / "labels" / "train").iterdir())[0]
    first.unlink()                                                  # no text: a picture of background
    assert len(data.read_yolo(tmp_path, "train")) == 3
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(FileNotFoundError, match="classes.txt: missing; put one class name a line there"):
        data.read_yolo(tmp_path, "train")
    assert data.read_yolo(tmp_path, "train", classes=list("abcdefg")).classes == tuple("abcdefg")


def test_a_data_set_checks_itself():
    target = Target([[0, 0, 5, 5]], [1])
    marks = Target([[0, 0, 5, 5]] * 3, [0] * 3, difficult=[1, 0, 0], crowd=[0, 1, 0])
    made = data.DetectionSet([np.zeros((3, 9, 9), np.uint8)], [marks], ("a",), [(9, 9)], ["x.png"])
    assert (made.marked(), len(made.unmarked().targets[0])) == (2, 1)
    for change, words in (({"classes": ("a",)}, "label 1 is not in 0 … 0"), ({"sizes": []}, "1 images and 0 sizes"),
                          ({"classes": ("a", "a")}, "no name twice"), ({"images": [np.zeros((3, 9, 9))]}, "float64 .* expected uint8"),
                          ({"sizes": [(9, 8)]}, "expected uint8")):
        with pytest.raises(ValueError, match=words):
            data.DetectionSet(**{"images": [np.zeros((3, 9, 9), np.uint8)], "targets": [target], "classes": ("a", "b"), "sizes": [(9, 9)],
                                 "names": ["x.png"]} | change)


def test_a_coco_file_alone_is_enough_to_evaluate(tmp_path):
    made = data.scenes(2, (48, 48), 1)
    write_coco_file(made, tmp_path / "truth.json")
    found = data.read_coco(tmp_path / "truth.json")                 # no images asked for, none there
    same(made, found)

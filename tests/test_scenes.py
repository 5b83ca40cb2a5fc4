"""Scenes and transforms: what the annotations say is what the pixels show."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minivision import data
from minivision.data import box_transforms as move
from minivision.data.shapes import SHAPES, disc, polygon
from minivision.detection import Target, boxes

# --- scenes

def test_same_seed_same_scenes_and_each_by_itself():
    few, more = data.scenes(3, (64, 96), 4), data.scenes(6, (64, 96), 4)
    for i in range(3):
        np.testing.assert_array_equal(few.images[i], more.images[i])
        np.testing.assert_array_equal(few.targets[i].boxes, more.targets[i].boxes)
    assert not np.array_equal(few.images[0], few.images[1])
    assert not np.array_equal(few.images[0], data.scenes(1, (64, 96), 5).images[0])


def test_scenes_have_what_a_detector_has_to_cope_with():
    made = data.scenes(200, (96, 128), 0)
    every = [t for t in made.targets if len(t)]
    sides = np.concatenate([t.boxes[:, 2:] - t.boxes[:, :2] for t in every])
    assert 3 <= sum(len(t) == 0 for t in made.targets) <= 30                    # empty images
    assert 5 <= made.marked() <= 0.12 * len(sides)                             # difficult objects
    assert (sides.max(axis=1) < 24).mean() > 0.2                                # small ones
    assert (sides.max(axis=1) > 48).mean() > 0.1                                # large ones
    overlaps = [np.triu(boxes.iou(t.boxes, t.boxes), 1).max() for t in every]
    assert (np.array(overlaps) > 0.05).mean() > 0.15                            # overlap, but never the same place
    assert max(overlaps) <= 0.4
    counts = made.counts()
    assert set(counts) == {*SHAPES, "digit"}
    assert min(counts.values()) > 0.08 * sum(counts.values())
    for image, target in zip(made.images, made.targets):
        assert image.shape == (3, 96, 128)
        assert image.dtype == np.uint8
        assert (boxes.clip(target.boxes, (96, 128)) == target.boxes).all()
        assert (target.area <= boxes.area(target.boxes)).all()
        assert (target.area >= 20).all()


def test_no_object_is_hidden_by_those_above_it():
    """Two layers of 20×20: the upper may cover 60 % of the lower, not 80 %; and no two boxes nearly coincide."""
    from minivision.data.scenes import acceptable
    alpha = lambda x: np.pad(np.ones((20, 20)), ((10, 30), (x, 40 - x)))
    lower = alpha(0), 0, 400
    assert acceptable([lower, (alpha(12), 1, 400)])
    assert not acceptable([lower, (alpha(4), 1, 400)])
    assert acceptable([lower, (alpha(20), 1, 400)])
    assert not acceptable([(alpha(0), 0, 400), (np.where(alpha(0) * (np.arange(60) > 9)[:, None] * (np.arange(60) % 3 > 0), 1.0, 0), 1, 300)])


def test_classes_sizes_and_bad_requests():
    digits = data.scenes(8, (64, 200), 3, classes=("7", "disc"), most=3)
    assert digits.classes == ("7", "disc")
    assert digits.images[0].shape == (3, 64, 200)
    assert max(len(t) for t in digits.targets) <= 3
    for request, words in ((lambda: data.scenes(1, classes=("dog",)), "expected some of disc"), (lambda: data.scenes(1, (16, 64)), "expected 32 … 4096"),
                           (lambda: data.scenes(-1), "-1 scenes"), (lambda: data.scenes(1, seed=-3), "seed"), (lambda: data.scenes(1, writers="me"), "'train' or 'test'")):
        with pytest.raises(ValueError, match=words):
            request()


def test_distances_of_shapes():
    """Inside negative, outside positive, and as far as the ruler says."""
    square = polygon([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    x, y = np.array([0, 0.5, 1, 3, 4]), np.array([0, 0, 0, 0, 5.0])
    np.testing.assert_allclose(square(x, y), [-1, -0.5, 0, 2, 5])
    np.testing.assert_allclose(disc(x, y), [-1, -0.5, 0, 2, 41 ** 0.5 - 1])
    rng = np.random.default_rng(0)
    p, q = rng.uniform(-1.5, 1.5, (2, 2, 500))
    for name, shape in SHAPES.items():
        assert shape(np.array(0.0), np.array(0.0)) < 0 or name == "ring"
        rise = np.abs(shape(*p) - shape(*q))
        assert (rise <= np.hypot(*(p - q)) + 1e-9).all()                        # no distance grows faster than one walks


# --- transforms

def picture(boxes_, size=(60, 80)):
    """Black, with each box (whole pixels) painted in a colour of its own: red, green."""
    image = np.zeros((3, *size), np.uint8)
    for k, (x1, y1, x2, y2) in enumerate(np.asarray(boxes_, int)):
        image[k, y1:y2, x1:x2] = 255
    return image, Target(boxes_, range(len(boxes_)))


def seen(image, label):
    """The box around the pixels of this object; the padding's grey (114) is darker."""
    rows, columns = np.nonzero(image[label] > 127)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


TWO = [[10, 20, 30, 50], [50, 5, 70, 25]]


def boxes_fit_pixels(image, target, slack=1.0, labels=(0, 1)):
    assert target.labels.tolist() == list(labels)
    for box, label in zip(target.boxes, target.labels):
        np.testing.assert_allclose(box, seen(image, label), atol=slack)


@pytest.mark.parametrize("seed", range(25))
def test_boxes_stay_on_their_objects(seed):
    """Whatever the transform, the painted rectangle and its box are in the same place."""
    image, target = picture(TWO)
    rng = np.random.default_rng(seed)
    boxes_fit_pixels(*move.resize(image, target, (int(rng.integers(40, 200)), int(rng.integers(40, 200)))))
    boxes_fit_pixels(*move.letterbox(image, target, (int(rng.integers(40, 150)), int(rng.integers(40, 150)))))
    boxes_fit_pixels(*move.flip(image, target), slack=0)
    boxes_fit_pixels(*move.random_flip(image, target, rng), slack=0)
    moved, found = move.random_crop(image, target, rng)
    assert len(found)
    boxes_fit_pixels(moved, found, slack=0, labels=found.labels)
    moved, found = move.expand(image, target, rng)
    boxes_fit_pixels(moved, found, slack=0)
    assert len(found) == 2
    for turn in (90, 180, -90):
        boxes_fit_pixels(*move.rotate(image[:, :, :60], target.keep([0]), turn), labels=[0])
    moved, found = move.mosaic([image] * 4, [target] * 4, (90, 110), rng)
    assert len(found) >= 3
    assert moved.shape == (3, 90, 110)
    assert (boxes.clip(found.boxes, (90, 110)) == found.boxes).all()
    for (x1, y1, x2, y2), label in zip(found.boxes, found.labels):          # bright at the middle of every box
        assert moved[label, int((y1 + y2) / 2), int((x1 + x2) / 2)] > 200


def test_a_small_turn_keeps_the_object_in_its_box():
    image, target = picture(TWO)
    for degrees in (-15, 7, 20):
        turned, found = move.rotate(image, target, degrees)
        assert found.labels.tolist() == [0, 1]
        for box, label in zip(found.boxes, found.labels):
            x1, y1, x2, y2 = seen(turned, label)
            assert box[0] <= x1 + 1
            assert box[1] <= y1 + 1
            assert box[2] >= x2 - 1
            assert box[3] >= y2 - 1
            assert max(abs(box - [x1, y1, x2, y2])) < 3


@given(st.integers(0, 10 ** 6))
@settings(max_examples=60)
def test_transforms_followed_by_their_inverse(seed):
    rng = np.random.default_rng(seed)
    H, W, P, Q = rng.integers(20, 120, 4)
    corner = rng.uniform(0, 0.5, (3, 2)) * [W, H]
    target = Target(np.concatenate([corner, corner + rng.uniform(0.2, 0.5, (3, 2)) * [W, H]], axis=1), [0, 1, 2])
    image = rng.integers(0, 256, (3, H, W), dtype=np.uint8)
    back = move.flip(*move.flip(image, target))
    np.testing.assert_array_equal(back[0], image)
    np.testing.assert_allclose(back[1].boxes, target.boxes, atol=1e-9)
    resized = move.resize(*move.resize(image, target, (P, Q)), (H, W))[1]
    np.testing.assert_allclose(resized.boxes, target.boxes, atol=1e-9)
    np.testing.assert_allclose(resized.area, target.area, rtol=1e-9)
    fit = move.Letterbox.of((H, W), (P, Q))
    np.testing.assert_allclose(fit.undo(fit.boxes(target.boxes)), target.boxes, atol=1e-9)
    framed, inside = move.letterbox(image, target, (P, Q))
    assert framed.shape == (3, P, Q)
    whole = fit.boxes(np.array([[0, 0, W, H]], float))[0]
    np.testing.assert_allclose(whole, [fit.left, fit.top, fit.left + fit.inner[1], fit.top + fit.inner[0]], atol=1e-9)
    assert len(inside) == sum((fit.boxes(target.boxes)[:, 2:] - fit.boxes(target.boxes)[:, :2]).min(axis=1) >= 1)
    wide, placed = move.expand(image, target, rng)
    x, y = np.rint(placed.boxes[0, :2] - target.boxes[0, :2]).astype(int)
    again, cut = move.crop(wide, placed, (x, y, x + W, y + H))
    np.testing.assert_array_equal(again, image)
    np.testing.assert_allclose(cut.boxes, target.boxes, atol=1e-9)
    turned = image, target
    for _ in range(4):
        square = min(H, W)
        turned = move.rotate(turned[0][:, :square, :square], turned[1], 90) if turned[0] is not image else \
            move.rotate(image[:, :square, :square], target, 90)
    np.testing.assert_array_equal(turned[0], image[:, :square, :square])


def test_crop_keeps_what_has_its_centre_inside():
    """SSD §2.2. The first box's centre is (20, 35), the second's (60, 15)."""
    image, target = picture(TWO)
    patch, found = move.crop(image, target, (15, 30, 60, 60))
    assert patch.shape == (3, 30, 45)
    assert found.labels.tolist() == [0]
    assert found.boxes.tolist() == [[0, 0, 15, 20]]                             # 10…30 less 15, clipped; 20…50 less 30
    assert found.area.tolist() == [15 * 20]
    assert len(move.crop(image, target, (0, 0, 5, 5))[1]) == 0
    with pytest.raises(ValueError, match="not inside"):
        move.crop(image, target, (0, 0, 81, 20))
    with pytest.raises(ValueError, match="four of each"):
        move.mosaic([image], [target], (9, 9), 0)


def test_random_crops_keep_an_object_and_the_overlap_asked_for():
    image, target = picture(TWO)
    shapes = set()
    for seed in range(60):
        patch, found = move.random_crop(image, target, seed)
        assert len(found)
        shapes.add(patch.shape)
        ratio = patch.shape[2] / patch.shape[1]
        assert 0.5 <= ratio <= 2
    assert len(shapes) > 20
    empty = Target(np.zeros((0, 4)), [])
    assert move.random_crop(image, empty, 3)[0] is image


def test_random_crops_overlap_some_object_as_much_as_was_drawn():
    """The image's own coordinates are its colours, so a patch says where it was cut."""
    _, target = picture(TWO)
    image = np.stack([*np.mgrid[:60, :80], np.zeros((60, 80))]).astype(np.uint8)
    cut = 0
    for seed in range(80):
        wanted = [None, 0.1, 0.3, 0.5, 0.7, 0.9, 0.0][np.random.default_rng(seed).integers(7)]
        patch, _ = move.random_crop(image, target, seed)
        if wanted is None or patch.shape == image.shape:
            continue
        cut += 1
        y, x = patch[0, 0, 0], patch[1, 0, 0]
        window = np.array([[x, y, x + patch.shape[2], y + patch.shape[1]]], float)
        assert boxes.iou(window, target.boxes).max() >= wanted
    assert cut > 15


def test_what_is_lost_and_what_is_not():
    """A crop or a turn loses what has its centre outside, or less than a pixel left; a flip and a canvas lose nothing."""
    image, _ = picture([])
    tiny = Target([[3, 3, 3.9, 9], [70, 2, 79, 6]], [0, 1], area=[2.0, 10.0])
    for moved in (move.flip(image, tiny)[1], move.expand(image, tiny, 0)[1], move.colour(image, tiny, 0)[1]):
        assert moved.labels.tolist() == [0, 1]
        np.testing.assert_allclose(moved.area, tiny.area)               # the outline's, not the box's
    assert move.resize(image, tiny, (120, 160))[1].labels.tolist() == [0, 1]
    np.testing.assert_allclose(move.resize(image, tiny, (120, 160))[1].area, [8, 40])
    assert move.resize(image, tiny, (60, 40))[1].labels.tolist() == [1]
    assert move.rotate(image, tiny, 30)[1].labels.tolist() == []           # the corner leaves, the sliver is lost with it
    assert move.rotate(image, Target([[30, 20, 50, 40]], [4]), 30)[1].labels.tolist() == [4]
    single = Target(np.array(TWO, np.float32), [0, 1])
    for moved in (move.resize(image, single, (30, 30))[1], move.crop(image, single, (0, 0, 60, 60))[1], move.rotate(image, single, 5)[1],
                  move.expand(image, single, 1)[1], move.letterbox(image, single, (50, 50))[1], move.mosaic([image] * 4, [single] * 4, (60, 60), 1)[1]):
        assert moved.boxes.dtype == np.float32
    with pytest.raises(ValueError, match="frame of 0×5"):
        move.letterbox(image, single, (0, 5))


def test_colour_moves_no_box_and_grey_stays_grey():
    image, target = picture(TWO)
    for seed in range(20):
        coloured, found = move.colour(image, target, seed)
        assert found is target
        assert coloured.shape == image.shape
        assert coloured.dtype == np.uint8
        np.testing.assert_array_equal(coloured, move.colour(image, target, seed)[0])
    grey = np.broadcast_to(np.array([90], np.uint8), (3, 4, 4))
    turned, _ = move.colour(grey, target, 1, brightness=0, contrast=0)
    np.testing.assert_allclose(turned, 90, atol=1)
    np.testing.assert_allclose(move.hue_rotation(np.pi * 2 / 3) @ [1, 0, 0], [0, 1, 0], atol=1e-12)     # red becomes green
    np.testing.assert_allclose(move.hue_rotation(0.3) @ move.hue_rotation(-0.3), np.eye(3), atol=1e-12)


def test_small_images_do_not_divide_by_zero():
    for size in ((1, 1), (500, 1)):
        image, target = np.zeros((3, *size), np.uint8), Target([[0, 0, size[1], size[0]]], [0])
        framed, kept = move.letterbox(image, target, (32, 32))
        assert framed.shape == (3, 32, 32)
        assert len(kept) == 1                                       # at least a pixel of image and box remains
        for random in (move.random_flip, move.random_crop, move.expand, move.colour):
            random(image, target, 0)
        assert move.rotate(image, target, 10)[0].shape == image.shape
        assert move.mosaic([image] * 4, [target] * 4, (32, 32), 0)[0].shape == (3, 32, 32)

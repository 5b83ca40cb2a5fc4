"""Boxes, anchors, coding, matching, sampling and suppression: worked examples with the arithmetic left visible, and properties."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from minivision.detection import anchors, boxes, coder, default_boxes, matching, priors, sampling, suppression
from minivision.kernels import specification

numbers = st.floats(-100, 100, width=32)
sides = st.floats(0.125, 200, width=32)


@st.composite
def some_boxes(draw, least=0, most=12):
    n = draw(st.integers(least, most))
    corner, size = draw(arrays.arrays(np.float64, (n, 2), elements=numbers)), draw(arrays.arrays(np.float64, (n, 2), elements=sides))
    return np.concatenate([corner, corner + size], axis=1)


@st.composite
def crowded(draw):
    """Boxes on a coarse lattice: many overlaps, and many that are equal."""
    rng, n = np.random.default_rng(draw(st.integers(0, 10 ** 6))), draw(st.integers(0, 40))
    corner = rng.integers(0, 12, (n, 2)).astype(float)
    return np.concatenate([corner, corner + rng.integers(1, 9, (n, 2))], axis=1), rng.integers(0, 6, n) / 5, rng.integers(0, 3, n), rng


# --- boxes

def test_iou_by_hand():
    """Two boxes of 10×10, one shifted by 5 to the right: they share 50, together they cover 150."""
    a, b = np.array([[0, 0, 10, 10]]), np.array([[5, 0, 15, 10], [10, 0, 20, 10], [0, 0, 10, 10], [2, 2, 4, 4], [20, 0, 30, 10]])
    assert boxes.iou(a, b).tolist() == [[50 / 150, 0, 1, 4 / 100, 0]]
    assert boxes.covered(b, a).ravel().tolist() == [0.5, 0, 1, 1, 0]
    assert boxes.intersection(a, b).tolist() == [[50, 0, 100, 4, 0]]
    # the hull of the first and the last is 30×10, a third of it empty
    np.testing.assert_allclose(boxes.giou(a, b), [[1 / 3, 0, 1, 0.04, -100 / 300]])


def test_a_box_of_ten_pixels_is_ten_wide():
    """The "+1" of VOC's code belongs in its reader: here a box is half-open, and touching boxes share nothing."""
    assert boxes.area([[0, 0, 10, 10]]).tolist() == [100]
    assert boxes.iou([[0, 0, 10, 10]], [[10, 10, 20, 20]]).item() == 0


@given(some_boxes(), some_boxes(), numbers, st.floats(0.25, 4))
def test_iou_is_symmetric_bounded_and_ignores_place_and_scale(a, b, shift, scale):
    iou = boxes.iou(a, b)
    assert iou.shape == (len(a), len(b))
    assert ((iou >= 0) & (iou <= 1)).all()
    np.testing.assert_array_equal(iou, boxes.iou(b, a).T)
    np.testing.assert_allclose(np.diag(boxes.iou(a, a)), 1, rtol=1e-12)
    np.testing.assert_allclose(iou, boxes.iou(a + shift, b + shift), atol=1e-9)
    np.testing.assert_allclose(iou, boxes.iou(a * scale, b * scale), atol=1e-9)
    giou = boxes.giou(a, b)
    assert ((giou <= iou + 1e-12) & (giou >= -1)).all()
    covered = boxes.covered(a, b)
    assert ((covered >= iou - 1e-12) & (covered <= 1 + 1e-12)).all()


@given(some_boxes())
def test_forms_of_boxes_there_and_back(a):
    np.testing.assert_allclose(boxes.from_centre(boxes.to_centre(a)), a, atol=1e-9)
    np.testing.assert_allclose(boxes.from_corner_size(boxes.to_corner_size(a)), a, atol=1e-9)
    clipped = boxes.clip(a, (50, 40))
    assert (boxes.area(clipped) <= boxes.area(a) + 1e-9).all()
    assert ((clipped >= 0) & (clipped <= [40, 50, 40, 50])).all()


def test_bad_boxes_are_named():
    for boxes_, words in (([[0, 0, 1]], r"\(1, 3\)"), ([[0, 0, 1, np.inf]], "row 0"), ([["1"] * 4], "numbers"), ([[4, 0, 1, 1]], "x1 ≤ x2")):
        with pytest.raises(ValueError, match=words):
            boxes.iou(boxes_, [[0, 0, 1, 1]])
    assert boxes.iou([], [[0, 0, 1, 1]]).shape == (0, 1)
    assert boxes.iou([[1, 1, 1, 1]], [[1, 1, 1, 1]]).item() == 0         # no area: 0, not NaN
    assert boxes.iou(np.zeros((1, 4), np.float32), np.zeros((1, 4), np.float32)).dtype == np.float32


# --- anchors

def test_anchors_of_faster_rcnn():
    shapes = anchors.shapes([128, 256, 512], [0.5, 1, 2])
    np.testing.assert_allclose(shapes.prod(axis=1), np.repeat([128 ** 2, 256 ** 2, 512 ** 2], 3))
    np.testing.assert_allclose(shapes[:, 1] / shapes[:, 0], [0.5, 1, 2] * 3)
    placed = anchors.grid(shapes, (3, 4), 16)
    assert placed.shape == (3 * 4 * 9, 4)
    centre = boxes.to_centre(placed).reshape(3, 4, 9, 4)
    np.testing.assert_allclose(centre[2, 1, :, :2], [[1.5 * 16, 2.5 * 16]] * 9)                # column 1, row 2
    np.testing.assert_allclose(centre[0, 0, :, 2:], shapes)
    assert anchors.inside([[0, -2, 9, 9], [0, 0, 15, 11], [0, 0, 19, 12]], (12, 20), slack=2).tolist() == [True] * 3
    assert anchors.inside([[0, -3, 9, 9], [0, 0, 15, 13], [0, 0, 21, 9]], (12, 20), slack=0).tolist() == [False] * 3
    assert anchors.grid(np.array([[4, 4]], np.float32), (2, 2), 8).dtype == np.float32
    assert anchors.inside([[0, 0, 9, 9], [-1, 0, 5, 5], [0, 0, 11, 5]], (10, 10)).tolist() == [True, False, False]
    with pytest.raises(ValueError, match="ratio"):
        anchors.shapes([1], [0])


def test_ssd300_has_8732_default_boxes_of_the_papers_scales():
    """F15: s_k of equation 4. Liu et al. 2016, §3.1: conv4_3 0.1, then 0.2 … ; four or six boxes a place."""
    np.testing.assert_allclose(default_boxes.scales(6), [0.2, 0.34, 0.48, 0.62, 0.76, 0.9])
    placed = default_boxes.default_boxes(default_boxes.SSD300)
    assert len(placed) == 38 ** 2 * 4 + 19 ** 2 * 6 + 10 ** 2 * 6 + 5 ** 2 * 6 + 3 ** 2 * 4 + 4 == 8732
    first, last = boxes.to_centre(placed)[:4], boxes.to_centre(placed)[-4:]
    np.testing.assert_allclose(first, [[4, 4, 30, 30], [4, 4, 1800 ** 0.5, 1800 ** 0.5],
                                       [4, 4, 30 * 2 ** 0.5, 30 / 2 ** 0.5], [4, 4, 30 / 2 ** 0.5, 30 * 2 ** 0.5]])
    np.testing.assert_allclose(last[:, :2], 150)
    np.testing.assert_allclose(last[:2, 2], [264, (264 * 315) ** 0.5])


def test_the_authors_whole_percents_are_equation_4_rounded():
    """Their code steps by ⌊(90 − 20)/4⌋ = 17 %; equation 4 with five levels steps by 17.5 %."""
    sizes = [size / 300 for _, _, size, _, _ in default_boxes.SSD300[1:]]
    np.testing.assert_allclose(sizes, 0.2 + 0.17 * np.arange(5))
    np.testing.assert_allclose(default_boxes.scales(5), 0.2 + 0.175 * np.arange(5))


def test_clustered_priors_find_the_shapes_that_were_there(rng):
    true = np.array([[10, 10], [20, 40], [90, 60.0]])
    shapes = np.concatenate([s * np.exp(rng.normal(0, 0.05, (50, 2))) for s in true])
    found = priors.cluster(shapes, 3, rng=1)
    np.testing.assert_allclose(found, true, rtol=0.05)
    assert priors.best_overlap(shapes, found) > 0.9 > priors.best_overlap(shapes, true[:1])
    np.testing.assert_array_equal(found, priors.cluster(shapes, 3, rng=1))
    distinct = [[5.0, 5.0], [10.0, 40.0], [20.0, 20.0], [40.0, 10.0], [60.0, 60.0]]
    for seed in range(5):                                           # starts lie apart: as many clusters as shapes finds each
        assert sorted(priors.cluster(distinct, 5, rng=seed).tolist()) == distinct
    with pytest.raises(ValueError, match="only 1 shapes that differ by more than rounding"):
        priors.cluster([[1, 1], [1, 1 + 1e-13]], 2, rng=0)
    np.testing.assert_allclose(priors.shape_iou([[10, 10]], [[10, 5], [20, 20], [10, 10]]), [[0.5, 0.25, 1]])
    for shapes_, K, words in (([[0, 1]], 1, "all > 0"), ([[2, 1], [2, 1]], 2, "expected 1 … 1")):
        with pytest.raises(ValueError, match=words):
            priors.cluster(shapes_, K, rng=1)


# --- coding

def test_offsets_by_hand():
    """An anchor of 10×10 at (15, 15); a box of 20×10 with its centre at (20, 15): half a width to the right, twice as wide."""
    offsets = coder.encode([[10, 10, 30, 20]], [[10, 10, 20, 20]])
    np.testing.assert_allclose(offsets, [[0.5, 0, np.log(2), 0]])
    np.testing.assert_allclose(coder.encode([[10, 10, 30, 20]], [[10, 10, 20, 20]], (0.1, 0.1, 0.2, 0.2)), [[5, 0, np.log(2) / 0.2, 0]])


@given(st.data())
def test_decode_inverts_encode(data):
    a, b = data.draw(some_boxes(1)), data.draw(some_boxes(1))
    n = min(len(a), len(b))
    deviations = data.draw(st.sampled_from([(1, 1, 1, 1), (0.1, 0.1, 0.2, 0.2)]))
    back = coder.decode(coder.encode(a[:n], b[:n], deviations), b[:n], deviations, limit=50)
    np.testing.assert_allclose(back, a[:n], rtol=1e-9, atol=1e-7)


@given(arrays.arrays(np.float64, (5, 4), elements=st.floats(-3, 3)))
def test_encode_inverts_decode_and_every_offset_is_a_box(offsets):
    placed = anchors.grid([[7.0, 11.0]], (1, 5), 8)
    decoded = coder.decode(offsets, placed)
    assert (boxes.area(decoded) > 0).all()
    np.testing.assert_allclose(coder.encode(decoded, placed), offsets, atol=1e-9)


def test_coding_refuses_what_has_no_logarithm():
    with pytest.raises(ValueError, match=r"box 1 is \[5.0, 5.0, 5.0, 9.0\]: it has no area"):
        coder.encode([[0, 0, 1, 1], [5, 5, 5, 9]], [[0, 0, 1, 1]] * 2)
    with pytest.raises(ValueError, match="1 boxes and 2 anchors"):
        coder.encode([[0, 0, 1, 1]], [[0, 0, 1, 1]] * 2)
    wide = coder.decode([[0, 0, 80, 80]], [[0, 0, 16, 16]])
    np.testing.assert_allclose(boxes.to_centre(wide)[:, 2:], 1000)
    narrow = coder.decode(np.array([[0, 0, -80, -80]], np.float32), np.array([[100, 100, 110, 110]], np.float32))
    assert boxes.area(narrow).item() > 0


def test_a_softmax_cannot_be_an_offset():
    """F3 and E6: softmax outputs are positive and sum to 1. The nearest that they come to (0.2, −0.3, 0.5, −0.4) is 0.543 away."""
    wanted = np.array([0.2, -0.3, 0.5, -0.4])
    best = np.sort(wanted)[::-1]                                    # the nearest point of the simplex, by projection
    shift = max((best[:k].sum() - 1) / k for k in range(1, 5) if best[k - 1] - (best[:k].sum() - 1) / k > 0)
    nearest = np.maximum(wanted - shift, 0)
    np.testing.assert_allclose(nearest.sum(), 1)
    np.testing.assert_allclose(np.linalg.norm(nearest - wanted), 0.543, atol=5e-4)


# --- matching

def test_matching_step_by_step():
    """Rows are anchors, columns objects."""
    overlap = np.array([[0.8, 0.1], [0.5, 0.2], [0.1, 0.4], [0.0, 0.0], [0.1, 0.4]])
    assert matching.by_threshold(overlap, 0.7, 0.3, low_quality=False).tolist() == [0, -2, -2, -1, -2]
    assert matching.by_threshold(overlap, 0.7, 0.3).tolist() == [0, -2, 1, -1, 1]      # both are object 1's best
    assert matching.best_per_object(overlap).tolist() == [0, 2]
    assert matching.bipartite(overlap).tolist() == [0, -1, 1, -1, -1]
    assert matching.ssd(overlap, 0.45).tolist() == [0, 0, 1, -1, -1]
    assert matching.ssd(overlap, 0.5).tolist() == [0, -1, 1, -1, -1]                    # "higher than": 0.5 itself is not
    stolen = np.array([[0.9, 0.8], [0.0, 0.3]])                     # anchor 0 is the best of both objects
    assert matching.bipartite(stolen).tolist() == [0, 1]
    assert matching.best_per_object(stolen).tolist() == [0, 0]


@given(arrays.arrays(np.float64, st.tuples(st.integers(0, 9), st.integers(0, 5)), elements=st.sampled_from([0, 0.1, 0.3, 0.5, 0.7, 0.9])))
def test_the_contract_of_matching(overlap):
    A, G = overlap.shape
    best = overlap.max(axis=1, initial=0)
    for match in (matching.by_threshold(overlap, 0.7, 0.3), matching.bipartite(overlap), matching.ssd(overlap)):
        assert match.shape == (A,)
        assert match.dtype.kind == "i"
        assert ((match >= -2) & (match < G)).all()
        matched = np.flatnonzero(match >= 0)
        assert (overlap[matched, match[matched]] > 0).all()         # nobody is matched to what it does not touch
    strict = matching.by_threshold(overlap, 0.7, 0.3, low_quality=False)
    assert ((strict >= 0) == (best >= 0.7)).all() if G else (strict == -1).all()
    assert ((strict == -1) == (best < 0.3)).all()
    match = matching.by_threshold(overlap, 0.7, 0.3)
    for g in range(G if A else 0):                                  # every object that anything touches has an anchor
        if overlap[:, g].max() > 0:
            assert (match[overlap[:, g] == overlap[:, g].max()] >= 0).all()
    pairs = matching.bipartite(overlap)
    chosen = pairs[pairs >= 0]
    assert len(set(chosen.tolist())) == len(chosen)                 # one anchor each
    free, waiting = pairs < 0, ~np.isin(np.arange(G), chosen)
    assert not (overlap[free][:, waiting] > 0).any()                # whoever is left over touches nobody who is left over
    assert (matching.ssd(overlap)[pairs >= 0] == chosen).all()
    if G and A:
        np.testing.assert_array_equal(matching.best_per_object(overlap), overlap.argmax(axis=0))


def test_matching_refuses_nan_and_objects_without_anchors():
    for f in (matching.by_threshold, matching.bipartite, matching.ssd):
        with pytest.raises(ValueError, match="finite"):
            f(np.array([[np.nan]]))
    with pytest.raises(ValueError, match="2 objects and no anchors"):
        matching.best_per_object(np.zeros((0, 2)))


# --- sampling

@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 10), st.integers(0, 50), st.floats(0, 1))
def test_balanced_samples(P, B, ignored, number, share):
    match = np.array([0] * P + [-1] * B + [-2] * ignored)
    positives, negatives = sampling.balanced(match, number, 3, share)
    assert (match[positives] >= 0).all()
    assert (match[negatives] == -1).all()
    assert len(positives) == min(P, int(number * share))
    assert len(negatives) == min(B, number - len(positives))
    assert len({*positives.tolist(), *negatives.tolist()}) == len(positives) + len(negatives)
    again = sampling.balanced(match, number, 3, share)
    np.testing.assert_array_equal(negatives, again[1])


def test_balanced_samples_are_drawn():
    match = np.repeat([0, -1], 50)
    drawn = [sampling.balanced(match, 20, seed) for seed in range(40)]
    for part in range(2):
        assert len(set(np.concatenate([d[part] for d in drawn]).tolist())) == 50        # everybody's turn comes


def test_hard_negatives_by_hand():
    loss = np.array([[9, 1, 5, 4, 3, 2], [1, 2, 3, 4, 5, 6.0], [3, 3, 3, 3, 3, 3]])
    match = np.array([[0, -1, -1, -1, -1, -1], [-1] * 6, [-1, 2, -1, -1, -2, -1]])
    assert sampling.hard_negatives(loss, match).tolist() == [[False, False, True, True, True, False], [False] * 6,
                                                             [True, False, True, True, False, False]]
    assert sampling.hard_negatives(loss, match, ratio=1).sum(axis=1).tolist() == [1, 0, 1]


# --- suppression

def brute_force(a, scores, threshold):
    left, kept = sorted(range(len(a)), key=lambda i: -scores[i]), []
    while left:
        kept.append(left.pop(0))
        left = [i for i in left if not naive_iou(a[kept[-1]], a[i]) > threshold]
    return kept


def naive_iou(p, q):
    w, h = max(0, min(p[2], q[2]) - max(p[0], q[0])), max(0, min(p[3], q[3]) - max(p[1], q[1]))
    return w * h / ((p[2] - p[0]) * (p[3] - p[1]) + (q[2] - q[0]) * (q[3] - q[1]) - w * h)


@given(crowded(), st.sampled_from([0, 0.3, 0.5, 0.7, 1]))
@settings(max_examples=200)
def test_suppression_equals_brute_force(case, threshold):
    a, scores, labels, rng = case
    kept = suppression.nms(a, scores, threshold)
    assert kept.tolist() == brute_force(a, scores, threshold)
    with specification():
        np.testing.assert_array_equal(kept, suppression.nms(a, scores, threshold))
    together = suppression.by_class(a, scores, labels, threshold)
    apart = [i for k in range(3) for i in np.flatnonzero(labels == k)[brute_force(a[labels == k], scores[labels == k], threshold)]]
    assert together.tolist() == sorted(apart, key=lambda i: (-scores[i], i))
    assert suppression.by_class(a, scores, labels, threshold, limit=0).tolist() == []
    assert suppression.by_class(a, scores, labels, threshold, limit=3).tolist() == together[:3].tolist()
    if threshold:
        hard = suppression.soft_nms(a, scores, lambda overlap: np.where(overlap > threshold, 0, 1), least=1e-9)[0]
        assert hard.tolist() == [i for i in kept if scores[i] > 0]


def test_soft_suppression_by_hand():
    """Two boxes with IoU 1/3: the second keeps exp(−(1/3)²/0.5) of its score, or 1 − 1/3 of it."""
    a, scores = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [50, 50, 60, 60.0]]), np.array([0.9, 0.6, 0.5])
    order, soft = suppression.soft_nms(a, scores, suppression.gaussian(0.5))
    assert order.tolist() == [0, 2, 1]
    np.testing.assert_allclose(soft, [0.9, 0.5, 0.6 * np.exp(-2 / 9)])
    order, soft = suppression.soft_nms(a, scores, suppression.linear(0.3))
    np.testing.assert_allclose(soft, [0.9, 0.5, 0.4])
    assert suppression.soft_nms(a, scores, suppression.gaussian(), least=0.55)[0].tolist() == [0]


@given(crowded())
def test_soft_suppression_only_lowers(case):
    a, scores, _, _ = case
    order, soft = suppression.soft_nms(a, scores, suppression.gaussian(), least=0)
    assume(len(order))
    assert sorted(order.tolist()) == list(range(len(a)))
    assert (soft <= scores[order] + 1e-12).all()
    assert (np.diff(soft) <= 1e-12).all()


def test_suppression_refuses_bad_input():
    a = np.array([[0, 0, 1, 1.0]])
    for arguments, words in (((a, [np.nan], 0.5), "NaN"), ((a, [1, 2], 0.5), r"scores \(2,\)"), ((a, [1.0], 1.5), "threshold is 1.5"),
                             (([[2, 0, 1, 1]], [1.0], 0.5), "x1 ≤ x2")):
        with pytest.raises(ValueError, match=words):
            suppression.nms(*arguments)
    two = np.array([[0, 0, 10, 10], [1, 0, 11, 10.0]])
    assert suppression.nms(two, np.array([0, 255], np.uint8), 0.5).tolist() == [1]       # −0 is 0 and −255 is 1, in uint8
    for bad in (np.array([True, False]), np.array(["a", "b"])):
        with pytest.raises(ValueError, match="expected numbers"):
            suppression.nms(two, bad, 0.5)
    with pytest.raises(ValueError, match="below 0"):
        suppression.soft_nms(a, [-1.0], suppression.gaussian())
    assert suppression.nms([], [], 0.5).tolist() == []


# --- on a GPU

@pytest.mark.gpu
def test_the_same_on_a_gpu(rng):
    """Every function takes CuPy arrays, returns CuPy arrays, and says the same."""
    from minivision import to_device
    from minivision.backend import is_cupy
    corner = rng.uniform(0, 80, (60, 2))
    a, scores, labels = np.concatenate([corner, corner + rng.uniform(2, 40, (60, 2))], axis=1), rng.random(60), rng.integers(0, 3, 60)
    shared = boxes.iou(a, a[:9])
    match = matching.by_threshold(shared, 0.6, 0.3)
    calls = [(boxes.area, a), (boxes.clip, a, (50, 60)), (boxes.iou, a, a), (boxes.giou, a, a), (boxes.covered, a, a), (boxes.to_centre, a),
             (boxes.from_corner_size, a), (anchors.grid, np.array([[8.0, 4.0]]), (3, 4), 8), (anchors.inside, a, (90, 90)),
             (coder.encode, a[:9], a[9:18]), (coder.decode, a[:9] / 100, a[9:18]), (matching.by_threshold, shared), (matching.ssd, shared),
             (matching.bipartite, shared), (matching.best_per_object, shared), (sampling.hard_negatives, scores[None], match[None]),
             (suppression.nms, a, scores, 0.4), (suppression.by_class, a, scores, labels, 0.4),
             (lambda *x: suppression.soft_nms(*x, suppression.gaussian())[1], a, scores),
             (lambda m: sampling.balanced(m, 20, 5)[1], match)]
    for f, *arguments in calls:
        found = f(*(to_device(x, "gpu") if isinstance(x, np.ndarray) else x for x in arguments))
        assert is_cupy(found), f
        np.testing.assert_allclose(to_device(found, "cpu"), f(*arguments), rtol=1e-9, atol=1e-9)

"""Matching (匹配): which object is each anchor to find? Every rule reads overlap (A,G), the IoU of
A anchors with G objects, and returns (A,) the object's index, −1 for background, −2 for "do not
ask"."""


from minivision.backend import array_module

__all__ = ["BACKGROUND", "IGNORED", "best_per_object", "bipartite", "by_threshold", "ssd"]

BACKGROUND, IGNORED = -1, -2


def checked(overlap):
    xp = array_module(overlap)
    if overlap.ndim != 2 or not bool(xp.isfinite(overlap).all()):
        raise ValueError(f"overlap {overlap.shape} must be finite numbers (A,G), anchors by objects")
    return xp, *overlap.shape


def by_threshold(overlap, high=0.7, low=0.3, low_quality=True):
    """Faster R-CNN's rule (Ren et al. 2015, §3.1.2): an anchor takes the object it overlaps most

        at IoU ≥ high       and is background below `low`, ignored between
        low_quality         also where, for some object, no anchor overlaps that object more (all
                            of equals)

    Without the second every object that no anchor fits well would be lost. An anchor that is
    some object's best, and overlaps another still more, takes the other (as the authors' code
    and torchvision do).
    """
    xp, A, G = checked(overlap)
    if not 0 <= low <= high:
        raise ValueError(f"thresholds {low} and {high}; expected 0 ≤ low ≤ high")
    if G == 0:
        return xp.full(A, BACKGROUND)
    best = overlap.argmax(axis=1)
    most = overlap.max(axis=1)
    match = xp.where(most >= high, best, xp.where(most >= low, IGNORED, BACKGROUND))
    if low_quality and A:
        top = overlap.max(axis=0)
        match = xp.where(((overlap == top) & (top > 0)).any(axis=1), best, match)
    return match


def best_per_object(overlap):
    """(G,) each object's anchor of the largest overlap, the first of equals: YOLO's
    "responsible" predictor. One anchor may serve several objects. ValueError if there are
    objects and no anchors."""
    xp, A, G = checked(overlap)
    if G and not A:
        raise ValueError(f"{G} objects and no anchors")
    return overlap.argmax(axis=0) if G else xp.zeros(0, int)


def bipartite(overlap):
    """Each object gets one anchor of its own: the largest overlap of all makes a pair and both
    leave, until no objects or anchors are left (greedy, as in SSD's code). Pairs that do not
    touch are not made."""
    xp, A, G = checked(overlap)
    match, left = xp.full(A, BACKGROUND), overlap.copy()
    for _ in range(min(A, G)):
        a, g = divmod(int(left.argmax()), G)
        if not left[a, g] > 0:
            break
        match[a] = g
        left[a], left[:, g] = -1, -1
    return match


def ssd(overlap, threshold=0.5):
    """SSD's rule (Liu et al. 2016, §2.2): `bipartite`, and then every other anchor takes its best object at IoU > threshold."""
    xp, A, G = checked(overlap)
    match = bipartite(overlap)
    if G == 0:
        return match
    return xp.where((match < 0) & (overlap.max(axis=1) > threshold), overlap.argmax(axis=1), match)

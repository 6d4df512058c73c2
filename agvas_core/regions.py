"""Connected parts of a mask: box, area, centroid, and where it lies, in words; and the Predictions made of them."""

# H, W: the image's own size. R: number of connected parts.

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from agvas_core.structures import Prediction, Region, Verdict

GAP_SHARE = 0.05  # of the longer side: parts nearer than this are one finding
SPECK_SHARE = 1e-4  # of the image
CLOSE_SPECK_SHARE = 0.5 * SPECK_SHARE  # of an image that was seen in tiles (LOG.md)
_GROUPING_PX = 512

PLACES: tuple[str, ...] = (
    "upper left", "top", "upper right", "left", "center", "right", "lower left", "bottom", "lower right",
)  # fmt: skip

_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)
_HALF, _BELOW_HALF = 0.5, 0.499
_FAINT = 0.1
_ROUNDING = 1e-4  # probabilities may leave [0, 1] by this much through interpolation


def place_of(y: float, x: float, height: int, width: int) -> str:
    """Return the word for a point (px) in an image: thirds of the height and of the width."""
    row = min(2, max(0, int(3 * y / max(1, height))))
    col = min(2, max(0, int(3 * x / max(1, width))))
    return PLACES[3 * row + col]


def group_labels(mask: ArrayLike, gap_share: float = GAP_SHARE) -> NDArray[np.int32]:
    """Return the findings in a mask, int32 (H, W): 0 outside, then 1 for the largest; near parts are one finding.

    A cluster of pits or a crack that is broken into pieces is one defect to a person.

    Args:
        mask: bool (H, W).
        gap_share: parts nearer than this share of the longer side belong together.
    """
    pixels = np.asarray(mask, dtype=bool)
    if not pixels.any():
        return np.zeros(pixels.shape, dtype=np.int32)
    height, width = pixels.shape
    # distances on a coarse grid, and only as far from the mask as they count: a large image would take seconds
    cell = -(-max(height, width) // _GROUPING_PX)
    reach = max(1.0, gap_share * -(-max(height, width) // cell) / 2)
    rows, cols = bounding_box(pixels, cell, int(reach))
    part = pixels[rows, cols]
    coarse = np.pad(part, ((0, -part.shape[0] % cell), (0, -part.shape[1] % cell)))
    coarse = np.asarray(coarse.reshape(coarse.shape[0] // cell, cell, -1, cell).any(axis=(1, 3)))
    near = ndimage.distance_transform_edt(~coarse) <= reach
    labels, count = ndimage.label(near, structure=_EIGHT_CONNECTED)
    fine = np.where(part, labels.repeat(cell, 0).repeat(cell, 1)[: part.shape[0], : part.shape[1]], 0)
    areas = np.bincount(fine.ravel(), minlength=count + 1)[1:]
    rank = np.zeros(count + 1, dtype=np.int32)
    rank[np.argsort(-areas, kind="stable") + 1] = np.arange(1, count + 1)
    out = np.zeros((height, width), dtype=np.int32)
    out[rows, cols] = rank[fine]
    return out


def bounding_box(mask: NDArray[np.bool_], cell: int = 1, margin: int = 0) -> tuple[slice, slice]:
    """Return rows and columns, px, of the cells that the mask (not empty) touches and of `margin` cells around them."""
    found = []
    for axis, length in ((1, mask.shape[0]), (0, mask.shape[1])):
        places = np.flatnonzero(mask.any(axis=axis)) // cell
        start, stop = int(places[0]) - margin, int(places[-1]) + 1 + margin
        found.append(slice(max(0, start) * cell, min(length, stop * cell)))
    return found[0], found[1]


def speck_px(size_hw: tuple[int, int], *, close: bool = False) -> int:
    """Return the area in px below which a part is a speck: a ten-thousandth of the image, finer than the model sees.

    close: the image was looked at in tiles, too, and half of that counts.
    """
    return math.ceil((CLOSE_SPECK_SHARE if close else SPECK_SHARE) * size_hw[0] * size_hw[1])


def smallest_px(min_area_px: int | None, size_hw: tuple[int, int], *, close: bool = False) -> int:
    """Return the area in px below which parts are dropped, from what a request says: None the specks, 0 nothing.

    Paper differs: there every pixel above the threshold is in the mask, as with 0 here. close: as in speck_px.
    """
    return 0 if min_area_px == 0 else max(min_area_px or 0, speck_px(size_hw, close=close))


def make_prediction(
    *,
    image_id: str,
    p_seg: ArrayLike,
    p_nor: ArrayLike,
    p_ano: ArrayLike,
    threshold: float = 0.5,
    alpha: float = 0.5,
    min_area_px: int = 0,
    roi_xyxy: tuple[int, int, int, int] | None = None,
) -> Prediction:
    """Fuse the three maps into a mask: anomaly_map = alpha * p_seg + (1 - alpha) * p_ano, paper Eq. 8.

    Args:
        image_id: which image.
        p_seg: (H, W) in [0, 1], the absolute anchor's map.
        p_nor: (H, W) in [0, 1], the normal anchor's map.
        p_ano: (H, W) in [0, 1], the anomaly anchor's map.
        threshold: pred_mask = anomaly_map > threshold, 0 to 1.
        alpha: weight of p_seg, 0 to 1.
        min_area_px: connected parts below it are removed from the mask.
        roi_xyxy: region of interest in px (right and bottom exclusive), cut to the image; the mask is empty outside.

    Raises:
        ValueError: when a map has another shape, a value outside [0, 1] or NaN, or a number is out of its range.
    """
    maps = [_probability_map(name, value) for name, value in (("p_seg", p_seg), ("p_nor", p_nor), ("p_ano", p_ano))]
    if len({m.shape for m in maps}) != 1:
        raise ValueError(f"p_seg, p_nor and p_ano must have one shape; got {[m.shape for m in maps]}.")
    _check_unit("threshold", threshold)
    _check_unit("alpha", alpha)
    _check_area(min_area_px)
    height, width = maps[0].shape
    return _fuse(
        image_id=image_id,
        maps=(maps[0], maps[1], maps[2]),
        anomaly_map=None,
        threshold=float(threshold),
        alpha=float(alpha),
        min_area_px=int(min_area_px),
        roi_xyxy=None if roi_xyxy is None else clip_roi(roi_xyxy, height, width),
    )


def rethreshold(
    prediction: Prediction,
    *,
    threshold: float | None = None,
    alpha: float | None = None,
    min_area_px: int | None = None,
) -> Prediction:
    """Return the same maps under another threshold, alpha or smallest area; None keeps the value. No model run.

    A region keeps the kind of defect of the old region that it shares the most pixels with; candidates and image_score
    stay, and so does the verdict "other" while nothing is marked.

    Raises:
        ValueError: when a number is out of its range.
    """
    new_threshold = prediction.threshold if threshold is None else threshold
    new_alpha = prediction.alpha if alpha is None else alpha
    new_area = prediction.min_area_px if min_area_px is None else min_area_px
    _check_unit("threshold", new_threshold)
    _check_unit("alpha", new_alpha)
    _check_area(new_area)
    moved = _fuse(
        image_id=prediction.image_id,
        maps=(prediction.p_seg, prediction.p_nor, prediction.p_ano),
        anomaly_map=prediction.anomaly_map if new_alpha == prediction.alpha else None,
        threshold=float(new_threshold),
        alpha=float(new_alpha),
        min_area_px=int(new_area),
        roi_xyxy=prediction.roi_xyxy,
    )
    verdict: Verdict = "other" if prediction.verdict == "other" and not moved.regions else moved.verdict
    moved = _keep_kinds(prediction, moved)
    kept, score = prediction.candidates, prediction.image_score
    return replace(moved, candidates=kept, verdict=verdict, image_score=score)


def region_labels(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return (H, W) with each pixel's region index as in Prediction.regions, 0 outside the mask (bool, H, W)."""
    out = np.zeros(mask.shape, dtype=np.int64)
    if mask.any():
        box = bounding_box(mask)
        labels, count = ndimage.label(mask[box], structure=_EIGHT_CONNECTED)  # 0 .. R, in reading order
        order = np.argsort(-np.bincount(labels.ravel(), minlength=count + 1)[1:], kind="stable")
        index = np.zeros(count + 1, dtype=np.int64)
        index[order + 1] = np.arange(1, count + 1)
        out[box] = index[labels]
    return out


def keep_regions(prediction: Prediction, kept: Collection[int]) -> Prediction:
    """Return the prediction with these regions only, by their index; they are numbered anew.

    The others get the probability 0, with what fades out around them, so that the mask stays without them under other
    sliders too.
    """
    labels = region_labels(prediction.pred_mask)  # (H, W)
    stays = np.isin(labels, list(kept)) & (labels > 0)
    gone = _with_halo((labels > 0) & ~stays, stays, prediction.anomaly_map)
    made = make_prediction(
        image_id=prediction.image_id,
        p_seg=np.where(gone, np.float32(0), prediction.p_seg),
        p_nor=prediction.p_nor,
        p_ano=np.where(gone, np.float32(0), prediction.p_ano),
        threshold=prediction.threshold,
        alpha=prediction.alpha,
        min_area_px=prediction.min_area_px,
        roi_xyxy=prediction.roi_xyxy,
    )
    kinds = [(r.kind, r.kind_score) for r in prediction.regions if r.index in kept]  # both are largest first
    return with_kinds(made, kinds)


def _with_halo(
    gone: NDArray[np.bool_], stays: NDArray[np.bool_], anomaly_map: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Return regions (H, W) with the fainter pixels that surround them, as far as no region that stays is nearer."""
    if not gone.any():
        return gone
    faint = anomaly_map > min(_FAINT, float(anomaly_map[gone].min()) / 2)
    labels, _ = ndimage.label(faint, structure=_EIGHT_CONNECTED)
    halo = np.isin(labels, np.unique(labels[gone]))
    if (halo & stays).any():
        box = bounding_box(halo)
        nearer = ndimage.distance_transform_edt(~gone[box]) <= ndimage.distance_transform_edt(~stays[box])
        halo[box] &= nearer
    return halo & ~stays


def emptied(prediction: Prediction) -> Prediction:
    """Return the prediction without its regions, all of which someone left out: not normal, but "other"."""
    return replace(keep_regions(prediction, ()), verdict="other")


def with_kinds(prediction: Prediction, kinds: Sequence[tuple[str, float]]) -> Prediction:
    """Return the prediction with (kind, probability) for its first, largest regions; the others have none."""
    named = [replace(r, kind=k, kind_score=p) for r, (k, p) in zip(prediction.regions, kinds, strict=False)]
    return replace(prediction, regions=(*named, *prediction.regions[len(named) :]))


def without_weak_parts(maps: NDArray[np.float32], peak: float) -> NDArray[np.float32]:
    """Return maps (2, H, W), p_seg and p_ano, without the parts that nowhere are sure.

    A part is where their mean lies above one half; where it nowhere reaches `peak`, it is taken down to just below one
    half, in both maps alike. So a defect is outlined at one half, and shown only when some of it is clearer (hysteresis
    thresholding, Canny 1986). peak: 0.5 to 1; 0.5 leaves all as it is.
    """
    fused = maps.mean(axis=0)  # (H, W)
    above = fused > _HALF
    if peak <= _HALF or not above.any():
        return maps
    box = bounding_box(above)
    labels, count = ndimage.label(above[box], structure=_EIGHT_CONNECTED)
    highest = ndimage.maximum(fused[box], labels, np.arange(1, count + 1))  # (R,)
    scale = np.ones(count + 1, dtype=np.float32)
    scale[1:] = np.where(highest < peak, _BELOW_HALF / highest, 1.0)
    out = maps.copy()
    out[:, box[0], box[1]] *= scale[labels]
    return out


def _keep_kinds(old: Prediction, new: Prediction) -> Prediction:
    named = [region for region in old.regions if region.kind]
    if not named or not new.regions:
        return new
    known = np.zeros(len(old.regions) + 1, dtype=np.int64)  # old index -> place in named, from 1
    known[[region.index for region in named]] = np.arange(1, len(named) + 1)
    shared = np.zeros((len(new.regions) + 1, len(named) + 1), dtype=np.int64)  # pixels by new and by old region
    both = old.pred_mask & new.pred_mask
    np.add.at(shared, (region_labels(new.pred_mask)[both], known[region_labels(old.pred_mask)[both]]), 1)
    best = 1 + shared[:, 1:].argmax(axis=1)  # (R + 1,)
    regions = []
    for region in new.regions:
        source = named[best[region.index] - 1] if shared[region.index, best[region.index]] else None
        regions.append(region if source is None else replace(region, kind=source.kind, kind_score=source.kind_score))
    return replace(new, regions=tuple(regions))


def _fuse(
    *,
    image_id: str,
    maps: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]],
    anomaly_map: NDArray[np.float32] | None,
    threshold: float,
    alpha: float,
    min_area_px: int,
    roi_xyxy: tuple[int, int, int, int] | None,
) -> Prediction:
    p_seg, p_nor, p_ano = maps  # (H, W) each
    if anomaly_map is None:
        anomaly_map = np.float32(alpha) * p_seg + np.float32(1.0 - alpha) * p_ano  # (H, W)
    height, width = anomaly_map.shape
    x0, y0, x1, y1 = roi_xyxy or (0, 0, width, height)
    mask = np.zeros((height, width), dtype=bool)  # (H, W)
    mask[y0:y1, x0:x1] = anomaly_map[y0:y1, x0:x1] > threshold
    regions, mask = _regions_and_mask(mask, anomaly_map, min_area_px)
    return Prediction(
        image_id=image_id,
        size_hw=(height, width),
        p_seg=p_seg,
        p_nor=p_nor,
        p_ano=p_ano,
        anomaly_map=_read_only(anomaly_map),
        pred_mask=_read_only(mask),
        threshold=threshold,
        alpha=alpha,
        min_area_px=min_area_px,
        pred_score=float(min(1.0, anomaly_map[y0:y1, x0:x1].max())),
        regions=regions,
        verdict="anomaly" if regions else "normal",
        roi_xyxy=roi_xyxy,
    )


def _regions_and_mask(
    mask: NDArray[np.bool_], score_map: NDArray[np.float32], min_area_px: int
) -> tuple[tuple[Region, ...], NDArray[np.bool_]]:
    """Return the parts that are large enough, and the mask of them; a few passes whatever the number of specks."""
    height, width = mask.shape
    if not mask.any():
        return (), mask
    rows, cols = bounding_box(mask)  # a defect is small, the image may be large
    top, left = rows.start, cols.start
    labels, count = ndimage.label(mask[rows, cols], structure=_EIGHT_CONNECTED)  # 0 .. R
    ys, xs = np.nonzero(labels)
    part = labels[ys, xs]
    area = np.bincount(part, minlength=count + 1)  # (R + 1,), index 0 unused
    divisor = np.maximum(area, 1)
    center_y = np.bincount(part, weights=ys + top, minlength=count + 1) / divisor
    center_x = np.bincount(part, weights=xs + left, minlength=count + 1) / divisor
    score = np.zeros(count + 1, dtype=np.float32)
    np.maximum.at(score, part, score_map[ys + top, xs + left])
    boxes = ndimage.find_objects(labels)

    keep = area >= max(1, min_area_px)
    keep[0] = False
    if not keep[1:].all():
        mask = mask.copy()
        mask[rows, cols] = keep[labels]
    finding = np.zeros(count + 1, dtype=np.int64)
    finding[part] = group_labels(mask)[ys + top, xs + left]  # a region lies in one finding
    order = np.flatnonzero(keep)
    order = order[np.argsort(-area[order], kind="stable")]  # equal areas stay in reading order
    regions = []
    for index, r in enumerate(order.tolist(), start=1):
        y, x = boxes[r - 1]
        regions.append(
            Region(
                index=index,
                box_xyxy=(left + x.start, top + y.start, left + x.stop, top + y.stop),
                area_px=int(area[r]),
                area_percent=100.0 * int(area[r]) / (height * width),
                centroid_yx=(float(center_y[r]), float(center_x[r])),
                place=place_of(float(center_y[r]), float(center_x[r]), height, width),
                score=float(min(np.float32(1.0), score[r])),
                finding=int(finding[r]),
            )
        )
    return tuple(regions), mask


def _probability_map(name: str, value: ArrayLike) -> NDArray[np.float32]:
    array = np.asarray(value, dtype=np.float32)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} must be a map of shape (H, W); got {array.shape}.")
    low, high = float(array.min()), float(array.max())
    if math.isnan(low) or low < -_ROUNDING or high > 1.0 + _ROUNDING:
        raise ValueError(f"{name} must hold probabilities in [0, 1]; got values from {low:g} to {high:g}.")
    if low < 0.0 or high > 1.0:
        array = np.clip(array, 0.0, 1.0)
    return _read_only(array)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def _check_unit(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:  # also refuses NaN
        raise ValueError(f"{name} must lie between 0 and 1; got {value}.")


def _check_area(min_area_px: int) -> None:
    if min_area_px < 0:
        raise ValueError(f"min_area_px must be 0 or more; got {min_area_px}.")


def clip_roi(roi_xyxy: tuple[int, int, int, int], height: int, width: int) -> tuple[int, int, int, int]:
    """Return a region of interest (left, top, right, bottom in px) cut to an image; ValueError when nothing is left."""
    if len(roi_xyxy) != 4:
        raise ValueError(f"roi_xyxy must be left, top, right, bottom; got {roi_xyxy}.")
    x0, y0, x1, y1 = (int(round(v)) for v in roi_xyxy)
    clipped = (max(0, x0), max(0, y0), min(width, x1), min(height, y1))
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        raise ValueError(f"The region of interest {roi_xyxy} has no pixel inside the {width} x {height} image.")
    return clipped

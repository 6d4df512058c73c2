"""What is there several times is normal: inlays all over a body, copies in rows; and parts that break open."""

from __future__ import annotations

import torch
from scipy import ndimage

from agvas_core.synthesis.defects_form import _broken
from agvas_core.synthesis.repeats import inlays, several

SIZE = 128


def _disc(radius: float, at: tuple[float, float] = (0.0, 0.0), b: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a soft disc (b, H, W), radius and place in half frames, and its colours (b, 3, H, W): a dark left half."""
    t = (torch.arange(SIZE) + 0.5) * (2 / SIZE) - 1
    y, x = t.view(1, SIZE, 1), t.view(1, 1, SIZE)
    alpha = torch.sigmoid((radius - torch.hypot(y - at[0], x - at[1])) * 60).expand(b, -1, -1)
    rgb = torch.where(x < at[1], 0.2, 0.9).expand(b, 3, SIZE, SIZE)
    return alpha, rgb


def test_copies_lie_whole_in_rows_and_look_alike():
    alpha, rgb = several(*_disc(0.6, (0.2, -0.1)), torch.Generator().manual_seed(1))
    assert alpha.shape == (3, SIZE, SIZE) and rgb.shape == (3, 3, SIZE, SIZE)
    for copies, colors in zip(alpha > 0.5, rgb[:, 0], strict=True):
        labels, count = ndimage.label(copies.numpy())
        areas = ndimage.sum_labels(copies.numpy(), labels, range(1, count + 1))
        assert count >= 2 and areas.min() > 0.8 * areas.max()  # none is cut off
        assert not copies[[0, -1]].any() and not copies[:, [0, -1]].any()
        dark = ndimage.mean((colors < 0.5).numpy(), labels, range(1, count + 1))
        assert (abs(dark - 0.5) < 0.2).all()  # each has the dark half


def test_an_object_at_the_border_stays_one():
    alpha, rgb = _disc(0.6, (0.0, 0.8))
    same, colors = several(alpha, rgb, torch.Generator().manual_seed(1))
    assert torch.equal(same, alpha) and torch.equal(colors, rgb)


def test_inlays_are_spread_over_the_whole_body():
    plain = torch.full((4, 3, SIZE, SIZE), 0.5)
    inlaid = inlays(plain, torch.Generator().manual_seed(0))
    assert inlaid.min() >= 0 and inlaid.max() <= 1
    changed = (inlaid - plain).abs().amax(1) > 0.03
    for quarter in changed.unfold(1, SIZE // 2, SIZE // 2).unfold(2, SIZE // 2, SIZE // 2).flatten(1, 2).unbind(0):
        assert (quarter.float().mean((1, 2)) > 0.01).all()
    assert (changed.float().mean((1, 2)) < 0.95).all()


def test_a_part_breaks_open_from_its_edge_and_the_ground_is_seen():
    alpha, _ = _disc(0.7, b=8)
    allowed = alpha > 0.5
    images = torch.where(allowed[:, None], 0.8, 0.1).expand(8, 3, SIZE, SIZE)
    out, soft = _broken(images, allowed, torch.Generator().manual_seed(2))
    gap = soft > 0.5
    assert not (gap & ~allowed).any()
    outside = ndimage.binary_dilation((~allowed).numpy(), iterations=3, axes=(1, 2))
    opened = gap.flatten(1).any(1)
    assert opened.sum() >= 6
    for i in opened.nonzero()[:, 0].tolist():
        assert (gap[i].numpy() & outside[i]).any()  # it begins at the edge
        assert out[i, :, gap[i]].mean() < 0.3  # as dark as the ground, not as the part

"""Region reader: a token that says what lies under a mask, from f_p inside it, around it, and in a close-up of it.

Paper differs: the paper's LLM sees a mask only through its anchors. A small language model names a defect far more
surely when it reads one token of the region itself, as region-level LMMs do.
"""

# R regions, C width, K kinds, H x W canvas px, S side of a close-up in cells

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, affine_grid, grid_sample, max_pool2d

from agvas_core.modeling.pixel_encoder import PixelFeatures, ResidualBlock

CLOSE_UP_CELLS = 14
CLOSE_UP_MARGIN = 1.5  # the close-up shows so many times the region's longer side
CLOSE_UP_MIN = 0.1  # and at least this share of the canvas
LENS_CELLS = 32  # fine enough to tell the jags of a crack from a scratch; 14 cells step over them
LENS_MARGIN = 2.0  # more around it, for the mask in use is seldom the true one
LOUPE_PX = 64  # side of the picture of a whole region, with as much around it as the lens shows
SPOT_PX = 32  # side of the pictures at full resolution
SPOTS = (1 / 6, 1 / 2, 5 / 6)  # of the region's pixels, row by row, lie before the middle of each of them
GEOMETRY = 4  # log height, log width, log area, share of its box that it fills


class RegionReader(nn.Module):
    """Give each region a token and, if kinds are known, logits over them.

    lens: a second, finer close-up of the features is looked at; loupe: the region's own pixels are, too. Each starts
    as if it were not there.
    """

    def __init__(
        self, *, pixel_width: int, high_res_widths: tuple[int, int], width: int, kinds: int, lens: bool = False,
        loupe: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        fine = [c for c in high_res_widths if c] or [pixel_width]
        pooled = pixel_width + (sum(fine) if high_res_widths[0] else 0)
        middle = max(16, width // 2)
        self.close_up = nn.Sequential(
            nn.Conv2d(sum(fine) + 1, middle, 1), ResidualBlock(middle), nn.MaxPool2d(2), ResidualBlock(middle)
        )
        self.mlp = nn.Sequential(
            nn.LayerNorm(3 * pooled + 2 * middle + GEOMETRY),
            nn.Linear(3 * pooled + 2 * middle + GEOMETRY, width),
            nn.GELU(),
            nn.Linear(width, width),
        )
        self.kind_head = nn.Linear(width, kinds) if kinds else None
        self.lens = Lens(fine[0], width) if lens else None
        self.loupe = Loupe(width) if loupe else None

    def forward(self, features: PixelFeatures, masks: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return tokens (R, C) and kind logits (R, K) from masks (R, H, W) in [0, 1] and features.

        The features are of batch R, or of batch 1 when all the masks are of one image.
        """
        masks = masks.to(features.embedding.dtype)
        parts = [part for f in (features.embedding, *features.high_res) for part in self._pool(f, masks)]
        center, extent, geometry = _geometry(masks)
        fine = features.high_res or (features.embedding,)
        seen = self.close_up(_zoom(fine, masks, center, _side(extent, CLOSE_UP_MARGIN), CLOSE_UP_CELLS))
        parts += [seen.mean((2, 3)), seen.amax((2, 3)), geometry]
        norm, enter, act, leave = self.mlp
        hidden = enter(norm(torch.cat([p.float() for p in parts], dim=1)))  # (R, C)
        if self.lens is not None:
            hidden = hidden + self.lens(_zoom(fine[:1], masks, center, _side(extent, LENS_MARGIN), LENS_CELLS))
        if self.loupe is not None:
            hidden = hidden + self.loupe(*_pictures(features, masks, center, extent))
        tokens = leave(act(hidden))
        return tokens, self.kind_head(tokens) if self.kind_head is not None else None

    @staticmethod
    def _pool(feature: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the means of a feature (R or 1, c, h, w) inside the masks, in a ring around them, and everywhere."""
        inside = adaptive_avg_pool2d(masks[:, None], (feature.shape[-2], feature.shape[-1]))  # (R, 1, h, w)
        ring = (max_pool2d(inside, 5, stride=1, padding=2) - inside).clamp_min(0)
        means = [_sums(feature, w) / w.sum((2, 3)).clamp_min(1e-4) for w in (inside, ring)]
        return means[0], means[1], feature.mean((2, 3)).expand(len(masks), -1)


class Lens(nn.Module):
    """Look at a fine close-up of the finest features and of the mask: the shape of an edge, the course of a line."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        first, second = width // 5 // 16 * 16 or 8, width // 3 // 16 * 16 or 8
        self.look = nn.Sequential(
            nn.Conv2d(channels + 1, first, 1), ResidualBlock(first), nn.MaxPool2d(2), ResidualBlock(first),
            nn.Conv2d(first, second, 1), nn.MaxPool2d(2), ResidualBlock(second),
        )  # fmt: skip
        self.out = nn.Linear(2 * second, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, close_up: Tensor) -> Tensor:
        """(R, c + 1, S, S) -> (R, C)."""
        seen = self.look(close_up)
        return self.out(torch.cat([seen.mean((2, 3)), seen.amax((2, 3))], dim=1).float())


class Loupe(nn.Module):
    """Look at a region's own pixels: all of it, and at full resolution around some of its points.

    What the features have smoothed away is there: the jags of a crack, the fray of a fiber, the grain inside a patch.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = 5  # red, green, blue, light against the picture's own, mask
        a, b, c = (max(8, share * width // 8 // 16 * 16) for share in (1, 2, 3))
        self.whole = nn.Sequential(
            nn.Conv2d(channels, a, 3, stride=2, padding=1), ResidualBlock(a), nn.Conv2d(a, b, 2, stride=2),
            ResidualBlock(b), nn.Conv2d(b, c, 2, stride=2), ResidualBlock(c),
        )  # fmt: skip
        self.spot = nn.Sequential(
            nn.Conv2d(channels, a, 3, padding=1), nn.ReLU(), nn.Conv2d(a, a, 2, stride=2), ResidualBlock(a),
            nn.Conv2d(a, b, 2, stride=2), ResidualBlock(b),
        )  # fmt: skip
        self.out = nn.Linear(2 * c + 2 * b, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, whole: Tensor, spots: Tensor) -> Tensor:
        """(R, 4, S, S) of the whole regions, (R * spots, 4, S', S') of the points, each RGB and mask -> (R, C)."""
        seen = self.whole(_with_contrast(whole))  # (R, c, s, s)
        near = self.spot(_with_contrast(spots)).unflatten(0, (len(whole), -1))  # (R, spots, b, s', s')
        parts = [seen.mean((2, 3)), seen.amax((2, 3)), near.mean((1, 3, 4)), near.amax((1, 3, 4))]
        return self.out(torch.cat(parts, dim=1).float())


def _with_contrast(pictures: Tensor) -> Tensor:
    """Insert the light of each picture (N, 4, S, S) against its own mean, in its own deviations: (N, 5, S, S)."""
    rgb, mask = pictures[:, :3], pictures[:, 3:]
    light = rgb.mean(1, keepdim=True)
    deviation = light.std((2, 3), keepdim=True, correction=0)
    against = (light - light.mean((2, 3), keepdim=True)) / (deviation + 0.02)
    return torch.cat([2 * rgb - 1, 0.5 * against, mask], dim=1)


def _pictures(features: PixelFeatures, masks: Tensor, center: Tensor, extent: Tensor) -> tuple[Tensor, Tensor]:
    """Return the regions' pixels and mask, of all of each and around its SPOTS, for the loupe."""
    assert features.image is not None, "a loupe needs the image itself"
    image = (features.image,)
    whole = _zoom(image, masks, center, _side(extent, LENS_MARGIN), LOUPE_PX)
    r, h, w = masks.shape
    inside = masks.flatten(1).float() + 1e-6  # an empty mask is everywhere
    before = inside.cumsum(1) / inside.sum(1, keepdim=True)  # (R, H * W), rising
    at = torch.stack([(before >= share).float().argmax(1) for share in SPOTS], dim=1)  # (R, spots)
    middle = torch.stack([at % w / w, at // w / h], dim=-1).flatten(0, 1)  # (R * spots, 2) as (x, y)
    side = torch.full((len(middle),), SPOT_PX / max(h, w), device=masks.device)
    again = torch.arange(r, device=masks.device).repeat_interleave(len(SPOTS))
    image = image if len(features.image) == 1 else (features.image[again],)
    return whole, _zoom(image, masks[again], middle, side, SPOT_PX)


def _zoom(fine: tuple[Tensor, ...], masks: Tensor, center: Tensor, side: Tensor, cells: int) -> Tensor:
    """Return the close-up (R, c + 1, S, S) of the fine features and of the mask, around center with that side."""
    theta = torch.zeros(len(masks), 2, 3, device=masks.device)
    theta[:, 0, 0] = theta[:, 1, 1] = side
    theta[:, :, 2] = 2 * center - 1
    grid = affine_grid(theta, [len(masks), 1, cells, cells], align_corners=False)
    each = [f.float().expand(len(masks), -1, -1, -1) for f in fine]
    maps = [grid_sample(f, grid, padding_mode="border", align_corners=False) for f in each]
    return torch.cat([*maps, grid_sample(masks[:, None].float(), grid, align_corners=False)], dim=1)


def _side(extent: Tensor, margin: float) -> Tensor:
    """Return a close-up's side (R,) as a share of the canvas from the regions' extent (R, 2)."""
    return (margin * extent.amax(1)).clamp(CLOSE_UP_MIN, 1.0)


def _sums(feature: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sums (R, c) of a feature (R or 1, c, h, w) under weights (R, 1, h, w)."""
    if feature.shape[0] == 1:
        return weights.flatten(1) @ feature[0].flatten(1).T
    return (feature * weights).sum((2, 3))


def _geometry(masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return centers (R, 2) and extents (R, 2) as (x, y) in shares of the canvas, and the geometry (R, 4)."""
    inside = masks > 0.5
    # a mask thinner than half a pixel has its highest one
    inside = inside | (masks >= masks.amax((1, 2), keepdim=True))
    low, high = [], []
    for dim in (1, 2):  # columns (x), then rows (y)
        hit = inside.any(dim).float()
        size = hit.shape[1]
        low.append(hit.argmax(1) / size)
        high.append(1 - hit.flip(1).argmax(1) / size)
    begin, end = torch.stack(low, 1), torch.stack(high, 1)  # (R, 2) as (x, y)
    extent = (end - begin).clamp_min(1e-3)
    area = inside.float().mean((1, 2)).clamp_min(1e-6)
    geometry = torch.cat([extent.flip(1).log(), area.log()[:, None], (area / extent.prod(1))[:, None]], dim=1)
    return (begin + end) / 2, extent, geometry

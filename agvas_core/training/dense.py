"""Dense stage: pixel encoder, AGMD and region reader, with learned anchors in the LLM's place (no language yet).

Paper differs: it has a pretrained pixel encoder and trains once, all together; this stage makes up for the encoder.
"""

# B images, A queries (image, what to segment), R defects

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d, binary_cross_entropy_with_logits, cross_entropy, interpolate

from agvas_core.modeling.agmd import MaskLogits
from agvas_core.modeling.agvas import AGVAS
from agvas_core.modeling.pixel_encoder import PixelFeatures
from agvas_core.regions import PLACES, group_labels
from agvas_core.synthesis.facts import DEFECT_KINDS, SceneFacts, SyntheticBatch
from agvas_core.training.losses import SegLossWeights, dice_loss, seg_losses

QUERY_ALL = 0
QUERIES: tuple[str, ...] = ("all", *DEFECT_KINDS, *PLACES)
FOUND_SHARE = 0.6  # of the defects that the model marks: their kind is learned under its own mask of them
FOUND_LEAST, FOUND_MOST = 0.2, 6.0  # so much of the true mask has to be in the model's, which may be so much larger
FOUND_IMAGES = 24  # looked through for it at each step, for findings are told apart on the host


@dataclass(frozen=True, eq=False)
class DenseBatch:
    """One step of the dense stage.

    Attributes:
        images: uint8 (B, 3, H, W).
        labels: uint8 (B, H, W), the defects' numbers.
        query: int64 (A,), places in QUERIES.
        query_image: int64 (A,), whose image.
        query_mask: bool (A, H, W), what the query asks for.
        defect_image: int64 (R,); defect_number: int64 (R,), its value in labels; defect_kind: int64 (R,).
    """

    images: Tensor
    labels: Tensor
    query: Tensor
    query_image: Tensor
    query_mask: Tensor
    defect_image: Tensor
    defect_number: Tensor
    defect_kind: Tensor


def make_dense_batch(batch: SyntheticBatch, draw: random.Random) -> DenseBatch:
    """Ask for all defects of every image, and of some images also for one kind or one place."""
    query, where, masks = [], [], []
    defects: list[tuple[int, int, int]] = []
    for b, scene in enumerate(batch.facts):
        defects += [(b, i + 1, DEFECT_KINDS.index(d.kind)) for i, d in enumerate(scene.defects)]
        for name, numbers in _queries(scene, draw):
            query.append(QUERIES.index(name))
            where.append(b)
            masks.append(torch.isin(batch.labels[b], torch.tensor(numbers, dtype=torch.uint8)))
    columns = torch.tensor(defects, dtype=torch.int64).reshape(-1, 3)
    return DenseBatch(
        images=batch.images,
        labels=batch.labels,
        query=torch.tensor(query),
        query_image=torch.tensor(where),
        query_mask=torch.stack(masks),
        defect_image=columns[:, 0],
        defect_number=columns[:, 1],
        defect_kind=columns[:, 2],
    )


def _queries(scene: SceneFacts, draw: random.Random) -> list[tuple[str, list[int]]]:
    """Return (query name, numbers of the defects it asks for)."""
    out = [("all", list(range(1, len(scene.defects) + 1)))]
    kinds = {d.kind for d in scene.defects}
    places = {d.place for d in scene.defects}
    if len(kinds) > 1 and draw.random() < 0.6:
        kind = draw.choice(sorted(kinds))
        out.append((kind, [i + 1 for i, d in enumerate(scene.defects) if d.kind == kind]))
    if len(places) > 1 and draw.random() < 0.4:
        place = draw.choice(sorted(places))
        out.append((place, [i + 1 for i, d in enumerate(scene.defects) if d.place == place]))
    if scene.defects and draw.random() < 0.05:  # a kind that is not there
        absent = draw.choice([k for k in DEFECT_KINDS if k not in kinds])
        out.append((absent, []))
    return out


def shared_pixels(labels: NDArray[np.uint8], findings: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return how many pixels have a label and a finding, (labels, findings), 0 being none of them; both are (H, W)."""
    rows, columns = int(labels.max()) + 1, int(findings.max()) + 1
    both = labels.astype(np.int64) * columns + findings
    return np.bincount(both.ravel(), minlength=rows * columns).reshape(rows, columns)


@torch.no_grad()
def as_found(batch: DenseBatch, logits: MaskLogits) -> Tensor:
    """Return the defects' masks, bool (R, H, W): true ones, and a share of the model's own findings that mark them.

    In use the kind is read under a finding of the model's own mask, which is never the true one. Where a finding marks
    several defects, it is the one's of which it holds the most.
    """
    masks = batch.labels[batch.defect_image] == batch.defect_number[:, None, None]
    p_seg, _, p_ano = logits.probabilities()
    whole = (batch.query == QUERY_ALL).nonzero()[:, 0]  # of each image one, in their order
    fused = 0.5 * (p_seg + p_ano)[whole].float()  # (B, h, w)
    marked = interpolate(fused[:, None], (masks.shape[1], masks.shape[2]), mode="bilinear")[:, 0] > 0.5
    tried = (torch.rand(len(masks)) < FOUND_SHARE).nonzero()[:, 0].tolist()
    image_of, number_of = batch.defect_image.tolist(), batch.defect_number.tolist()  # in the images' order
    rows_of = [(b, list(rows)) for b, rows in islice(groupby(tried, key=image_of.__getitem__), FOUND_IMAGES)]
    looked_at = torch.tensor([b for b, _ in rows_of], dtype=torch.int64, device=masks.device)
    own_marks, own_labels = (x[looked_at].cpu().numpy() for x in (marked, batch.labels))  # on the host at once
    taken: list[int] = []
    found: list[Tensor] = []
    for i, (_, rows) in enumerate(rows_of):
        findings = group_labels(own_marks[i])  # (H, W)
        table = shared_pixels(own_labels[i], findings)
        for r in rows:
            own = number_of[r]
            marks, area = table[own, 1:], table[own].sum()
            if not len(marks) or marks.max() < max(1, FOUND_LEAST * area):
                continue
            finding = 1 + int(marks.argmax())
            if 1 + int(table[1:, finding].argmax()) == own and table[:, finding].sum() <= FOUND_MOST * area:
                taken.append(r)
                found.append(torch.from_numpy(findings == finding))
    if taken:
        masks[torch.tensor(taken, device=masks.device)] = torch.stack(found).to(masks.device)
    return masks


class AnchorBank(nn.Module):
    """Learned h_nor, h_ano, h_seg for each query: what the LLM's anchors will have to say later."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.base = nn.Parameter(torch.randn(3, width) * 0.5)
        self.offset = nn.Embedding(len(QUERIES), 3 * width)
        nn.init.normal_(self.offset.weight, std=0.3)

    def forward(self, query: Tensor) -> Tensor:
        """(A,) -> (A, 3, C)."""
        offset = self.offset(query).unflatten(-1, self.base.shape)
        return self.base + offset * (query != QUERY_ALL)[:, None, None]


class DenseTask(nn.Module):
    """Losses of the dense stage; holds what it trains."""

    def __init__(self, model: AGVAS, weights: SegLossWeights, kind_weight: float = 0.5) -> None:
        super().__init__()
        pixel = model.config.pixel
        # Paper differs: deep supervision. Side heads ask each stage of the encoder directly where the anomalies are;
        # they are dropped at export
        widths = [c for c in (pixel.width, *pixel.widths_high_res) if c]
        self.side_heads = nn.ModuleList(nn.Conv2d(c, 1, 1) for c in widths)
        self.pixel_encoder, self.agmd, self.region_reader = model.pixel_encoder, model.agmd, model.region_reader
        self.bank = AnchorBank(model.config.decoder.width)
        self.weights, self.kind_weight = weights, kind_weight

    def forward(self, batch: DenseBatch) -> dict[str, Tensor]:
        """Return the named losses of a batch."""
        pixels = (batch.images.float() / 255).contiguous(memory_format=torch.channels_last)
        features = self.pixel_encoder(pixels)
        logits = self.agmd(self.bank(batch.query), features.select(batch.query_image))
        losses = seg_losses(logits, batch.query_mask, self.weights)
        if self.weights.side:
            losses["side"] = self.weights.side * self._side_loss(features, batch.labels > 0)
        if self.region_reader is not None and len(batch.defect_image):
            masks = as_found(batch, logits)
            _, kind_logits = self.region_reader(features.select(batch.defect_image), masks)
            if kind_logits is not None:
                losses["kind"] = self.kind_weight * cross_entropy(kind_logits, batch.defect_kind)
        return losses

    def _side_loss(self, features: PixelFeatures, gt_mask: Tensor) -> Tensor:
        """Return BCE + Dice of the side heads against gt_mask (B, H, W), at each stage's own resolution."""
        total = features.embedding.new_zeros((), dtype=torch.float32)
        present = gt_mask.flatten(1).any(1)
        for head, feature in zip(self.side_heads, (features.embedding, *features.high_res), strict=True):
            side = head(feature)[:, 0].float()
            target = adaptive_max_pool2d(gt_mask.float()[:, None], side.shape[-2:])[:, 0]
            total = total + binary_cross_entropy_with_logits(side, target)
            if bool(present.any()):
                total = total + dice_loss(side.sigmoid()[present], target[present]).mean()
        return total

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Return the fused map (B, H / 2, W / 2) at alpha 0.5 of uint8 images (B, 3, H, W)."""
        features = self.pixel_encoder((images.float() / 255).contiguous(memory_format=torch.channels_last))
        query = torch.zeros(images.shape[0], dtype=torch.int64, device=images.device)
        p_seg, _, p_ano = self.agmd(self.bank(query), features).probabilities()
        return 0.5 * p_seg + 0.5 * p_ano

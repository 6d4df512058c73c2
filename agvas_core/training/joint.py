"""Joint stage: all of AG-VAS on talks; the anchors come from the LLM, several question-answer turns per image.

Paper differs: the semantic eye, the projector and all of the LLM are trained, not LoRA alone; and the refined anchors
are drawn towards those that the dense stage has learned (the loss "bank").
"""

# B images (one talk each), L tokens, A anchor triples, R region placeholders

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from transformers import PreTrainedTokenizerBase

from agvas_core.anchors import find_anchors, gather_anchor_states
from agvas_core.config import AGVASConfig
from agvas_core.modeling.agvas import AGVAS, TokenIds
from agvas_core.prompts import MEASURED_SLOT, ChatTurn, Exchange, exchange_turns, listed_regions, measured_line
from agvas_core.synthesis.facts import SceneFacts, SyntheticBatch
from agvas_core.synthesis.words import measured_kinds, measured_regions, talk
from agvas_core.tokenizer import encode_chat
from agvas_core.training.dense import QUERIES, QUERY_ALL, AnchorBank
from agvas_core.training.losses import SegLossWeights, seg_losses, words_loss
from agvas_core.training.regions_alike import UNKNOWN_KIND, read_regions

UNKNOWN_QUERY = -1
MAX_TALK_TOKENS = 200  # a step is as long as its longest talk
BANK_NEAR = 0.3  # of the bank's variance: the anchors' distance to it below which masks are trained too
BLIND_SHARE = 0.1  # talks without measured lines, so that the words also learn to rest on the pixels alone


@dataclass(frozen=True, eq=False)
class JointBatch:
    """One step of the joint stage.

    Attributes:
        images: uint8 (B, 3, H, W); labels: uint8 (B, H, W), the defects' numbers.
        input_ids, attention_mask, targets: int64 (B, L); targets is -100 where nothing is to be said.
        anchors: int64 (A, 4), rows of find_anchors.
        anchor_mask: bool (A, H, W), what each triple has to show.
        anchor_query: int64 (A,), place in QUERIES, or UNKNOWN_QUERY.
        region_image, region_number: int64 (R,), whose defect each region placeholder stands for, in reading order.
        defect_image, defect_number, defect_kind: as in DenseBatch.
    """

    images: Tensor
    labels: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    targets: Tensor
    anchors: Tensor
    anchor_mask: Tensor
    anchor_query: Tensor
    region_image: Tensor
    region_number: Tensor
    defect_image: Tensor
    defect_number: Tensor
    defect_kind: Tensor


def query_of(scene: SceneFacts, target: tuple[int, ...]) -> int:
    """Return the anchor bank's query that asks for exactly these defects, or UNKNOWN_QUERY."""
    everything = tuple(range(len(scene.defects)))
    if target == everything:
        return QUERY_ALL
    for name in dict.fromkeys([scene.defects[i].kind for i in target] + [scene.defects[i].place for i in target]):
        same = tuple(i for i in everything if name in (scene.defects[i].kind, scene.defects[i].place))
        if target == same and name in QUERIES:  # labelled images have kinds of their own
            return QUERIES.index(name)
    return UNKNOWN_QUERY


def kind_number(kind: str, kinds: tuple[str, ...]) -> int:
    """Return a kind's place among those that the region reader tells apart, or UNKNOWN_KIND."""
    return kinds.index(kind) if kind in kinds else UNKNOWN_KIND


def measured_of(scene: SceneFacts, shown: tuple[int, ...], *, kinds: bool) -> tuple[str, list[int]]:
    """Return the measured line of defects, and the numbers of those that it lists, as serving makes it from a mask."""
    line = measured_line(measured_regions(scene, shown), kinds=measured_kinds(scene, shown) if kinds else None)
    return line, [i + 1 for i in shown][: listed_regions(len(shown))]


def render_talk(
    scene: SceneFacts, exchanges: list[Exchange], *, blind: bool, kinds: bool
) -> tuple[list[ChatTurn], list[int], list[tuple[tuple[int, ...], int]]]:
    """Return the turns, the defect number of every region placeholder, and (target, query) of every anchor triple."""
    turns: list[ChatTurn] = []
    region_numbers: list[int] = []
    targets = []
    for exchange in exchanges:
        line = ""
        slot = MEASURED_SLOT[exchange.mode]
        if slot is not None and not blind:
            own = exchange.target if slot == "assistant" and exchange.target is not None else None
            shown = own if own is not None else tuple(range(len(scene.defects)))
            line, numbers = measured_of(scene, shown, kinds=kinds)
            region_numbers += numbers
        turns += exchange_turns(exchange, line)
        if exchange.target is not None:
            targets.append((exchange.target, query_of(scene, exchange.target)))
    return turns, region_numbers, targets


class JointMaker:
    """Turns synthetic images into talks, tokens and masks.

    Attributes:
        blind: talks never have measured lines.
    """

    blind: bool = False

    def __init__(self, tokenizer: PreTrainedTokenizerBase, config: AGVASConfig, token_ids: TokenIds) -> None:
        self.tokenizer, self.config, self.token_ids = tokenizer, config, token_ids

    def __call__(self, batch: SyntheticBatch, draw: random.Random) -> JointBatch:
        """Return the training batch of a batch of images."""
        rows: list[tuple[list[int], list[int]]] = []
        masks, queries = [], []
        regions: list[tuple[int, int]] = []
        defects: list[tuple[int, int, int]] = []
        decoder = self.config.decoder
        for b, scene in enumerate(batch.facts):
            exchanges, blind = self.exchanges(batch, b, draw), self.blind or draw.random() < BLIND_SHARE
            while True:  # a talk that is too long loses its last exchanges
                turns, numbers, targets = render_talk(scene, exchanges, blind=blind, kinds=decoder.measured_kinds)
                row = self.encode(turns)
                if len(row[0]) <= self.config.image_tokens + MAX_TALK_TOKENS or len(exchanges) == 1:
                    break
                exchanges = exchanges[:-1]
            rows.append(row)
            regions += [(b, n) for n in numbers]
            defects += [(b, i + 1, kind_number(d.kind, decoder.region_kinds)) for i, d in enumerate(scene.defects)]
            for target, query in targets:
                wanted = torch.tensor([i + 1 for i in target], dtype=torch.uint8)
                masks.append(torch.isin(batch.labels[b], wanted))
                queries.append(query)
        input_ids, attention_mask, targets_ids = self.pad(rows)
        anchors = find_anchors(input_ids, self.token_ids.anchors)
        assert len(anchors) == len(masks), "every target has one anchor triple"
        region_rows = torch.tensor(regions, dtype=torch.int64).reshape(-1, 2)
        defect_rows = torch.tensor(defects, dtype=torch.int64).reshape(-1, 3)
        empty = batch.labels.new_zeros((0, *batch.labels.shape[1:]), dtype=torch.bool)
        return JointBatch(
            images=batch.images,
            labels=batch.labels,
            input_ids=input_ids,
            attention_mask=attention_mask,
            targets=targets_ids,
            anchors=anchors,
            anchor_mask=torch.stack(masks) if masks else empty,
            anchor_query=torch.tensor(queries, dtype=torch.int64),
            region_image=region_rows[:, 0],
            region_number=region_rows[:, 1],
            defect_image=defect_rows[:, 0],
            defect_number=defect_rows[:, 1],
            defect_kind=defect_rows[:, 2],
        )

    def exchanges(self, batch: SyntheticBatch, b: int, draw: random.Random) -> list[Exchange]:
        """Return the talk about image b of a batch."""
        return talk(batch.facts[b], draw)

    def encode(self, turns: list[ChatTurn]) -> tuple[list[int], list[int]]:
        """Return ids with the placeholders expanded, and labels."""
        chat = encode_chat(self.tokenizer, turns)
        expanded = {self.token_ids.image: self.config.image_tokens, self.token_ids.region: self.config.region_tokens}
        ids, labels = [], []
        for token, label in zip(chat.input_ids, chat.labels(), strict=True):
            repeats = expanded.get(token, 1)
            ids += [token] * repeats
            labels += [label] * repeats
        return ids, labels

    def pad(self, rows: list[tuple[list[int], list[int]]]) -> tuple[Tensor, Tensor, Tensor]:
        """Return (ids, attention mask, labels), each int64 (B, L), of rows from encode."""
        length = max(len(ids) for ids, _ in rows)
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([i + [pad] * (length - len(i)) for i, _ in rows])
        mask = torch.tensor([[1] * len(i) + [0] * (length - len(i)) for i, _ in rows])
        targets = torch.tensor([t + [-100] * (length - len(t)) for _, t in rows])
        return ids, mask, targets


class JointTask(nn.Module):
    """Losses of the joint stage."""

    fact_ids: Tensor | None

    def __init__(
        self,
        model: AGVAS,
        bank: AnchorBank | None,
        weights: SegLossWeights,
        *,
        freeze_pixel: bool,
        text_weight: float = 1.0,
        kind_weight: float = 0.5,
        bank_weight: float = 0.5,
        max_decoded: int = 20,
        fact_ids: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("fact_ids", fact_ids, persistent=False)
        self.model, self.weights = model, weights
        self.bank = None if bank is None else bank.requires_grad_(False)
        self.freeze_pixel, self.max_decoded = freeze_pixel, max_decoded
        self.text_weight, self.kind_weight, self.bank_weight = text_weight, kind_weight, bank_weight
        model.pixel_encoder.requires_grad_(not freeze_pixel)

    def forward(self, batch: JointBatch) -> dict[str, Tensor]:
        """Return the named losses of a batch."""
        model = self.model
        pixel_values = self.pixel_values(batch.images)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_pixel):
            pixel = model.pixel_encoder(pixel_values)
        f_s = model.encode_semantic(model.semantic_input(pixel_values))
        features = model.align(f_s, pixel)
        losses: dict[str, Tensor] = {}
        regions = read_regions(model, batch, pixel)
        losses["kind"] = self.kind_weight * regions.kind
        hidden = model.language(model.embed(batch.input_ids, features.visual, regions.tokens), batch.attention_mask)
        said = batch.targets[:, 1:] != -100
        logits = model.word_logits(hidden[:, :-1][said])
        losses["text"] = self.text_weight * words_loss(logits, batch.targets[:, 1:][said], self.fact_ids)
        if len(batch.anchors):
            h_anchors = model.token_refiner(gather_anchor_states(hidden, batch.anchors))  # (A, 3, C)
            known = batch.anchor_query != UNKNOWN_QUERY
            if self.bank is not None and bool(known.any()) and self.bank_weight:
                taught = self.bank(batch.anchor_query[known]).float()
                distance = mse_loss(h_anchors[known].float(), taught)
                losses["bank"] = self.bank_weight * distance
                if float(distance.detach()) > BANK_NEAR * float(taught.var()):
                    return losses  # anchors that still say nothing would spoil the decoder, and masks cost time
            # masks cost more than words: at most max_decoded triples a step, chosen anew each time
            chosen = torch.randperm(len(batch.anchors))[: self.max_decoded].to(h_anchors.device)
            mask_logits = model.agmd(h_anchors[chosen], pixel.select(batch.anchors[chosen, 0]))
            losses |= seg_losses(mask_logits, batch.anchor_mask[chosen], self.weights)
        return losses

    def pixel_values(self, images: Tensor) -> Tensor:
        """Return the pixel eye's input (B, 3, H, W) in [0, 1] from uint8 images."""
        return (images.float() / 255).contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def predict(self, images: Tensor, direct_ids: list[int]) -> Tensor:
        """Return the direct mode's fused map (B, H / 2, W / 2) at alpha 0.5 of uint8 images (B, 3, H, W)."""
        model = self.model
        pixel_values = self.pixel_values(images)
        features = model.encode_image(model.semantic_input(pixel_values), pixel_values)
        ids = torch.tensor([direct_ids] * len(images), device=images.device)
        anchors = find_anchors(ids, model.token_ids.anchors)
        _, logits = model(ids, torch.ones_like(ids), features, anchors, anchors[:, 0])
        p_seg, _, p_ano = logits.probabilities()
        return 0.5 * p_seg + 0.5 * p_ano

"""Adapt stage: LoRA, anchor rows, SPAM, refiner and AGMD on a frozen base, from labelled images and synthesis."""

# B images, H x W px

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import DistributedType
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.functional import interpolate
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agvas_core.adapter import (
    AdapterRecord,
    add_adapter,
    base_folder,
    file_name,
    load_base_of,
    part_of,
    record_of,
    save_adapter,
)
from agvas_core.anchors import gather_anchor_states
from agvas_core.checkpoint import CONFIG_FILE, checkpoint_hash, refuse_misfits
from agvas_core.config import AGVASConfig, get_preset, with_anyres
from agvas_core.modeling.agmd import MaskLogits
from agvas_core.modeling.agvas import AGVAS
from agvas_core.modeling.anyres import TiledImages
from agvas_core.training.adapt_batches import AdaptBatch, AdaptMaker, MixedSource
from agvas_core.training.adapt_options import AdaptOptions
from agvas_core.training.joint import JointTask
from agvas_core.training.losses import SegLossWeights, seg_losses, words_loss
from agvas_core.training.regions_alike import read_regions
from agvas_core.training.run import BatchMaker
from agvas_core.training.trainer import Trainer

ADAPT = "adapt"
MAX_DECODED = 4  # anchor triples of a batch whose masks are decoded: at 1024 px each takes some 100 MB


# --- what is trained -------------------------------------------------------------------------------------------------


class AdaptTask(JointTask):
    """The paper's losses on a model with an adapter: text, BCE and Dice; both eyes and the base are frozen."""

    def __init__(self, model: AGVAS, weights: SegLossWeights) -> None:
        super().__init__(model, None, weights, freeze_pixel=True, max_decoded=MAX_DECODED)
        # FSDP's units: the layers of the base's transformers
        kinds = {name for m in model.modules() if isinstance(m, PreTrainedModel) for name in m._no_split_modules or ()}
        self._no_split_modules = sorted(kinds & {type(m).__name__ for m in model.modules()})

    def forward(self, batch: AdaptBatch) -> dict[str, Tensor]:  # type: ignore[override]
        """Return the named losses of a batch: the text's, the regions' kinds', and the masks' on the images alone."""
        model = self.model
        pixel_values = self.pixel_values(batch.images)
        seen: Tensor | TiledImages
        seen = model.semantic_input(pixel_values) if batch.tiles is None else TiledImages(batch.tiles, batch.sizes_hw)
        features = model.encode_image(seen, pixel_values, batch.content_hw)
        regions = read_regions(model, batch, features.pixel)
        embeds = model.embed(batch.input_ids, features.visual, regions.tokens) + regions.zero
        hidden = model.language(embeds, batch.attention_mask)
        said = batch.targets[:, 1:] != -100
        text = self.text_weight * words_loss(model.word_logits(hidden[:, :-1][said]), batch.targets[:, 1:][said])
        h_anchors = model.token_refiner(gather_anchor_states(hidden, batch.anchors))  # (A, 3, C)
        chosen = torch.randperm(len(batch.anchors))[: self.max_decoded].to(h_anchors.device)
        image = batch.anchors[chosen, 0]  # (A,)
        logits = model.agmd(h_anchors[chosen], features.pixel.select(image))
        gt_mask, weights = batch.anchor_mask[chosen], self.weights
        if batch.content_hw is None:
            masks = seg_losses(logits, gt_mask, weights)
        else:
            masks = content_losses(logits, gt_mask, [batch.content_hw[i] for i in image.tolist()], weights)
        losses = {"kind": self.kind_weight * regions.kind, "text": text, **masks}
        # ZeRO-3 counts the losses that have a gradient: all of them, also where no defect makes a dice or a kind
        return {name: loss + 0.0 * text for name, loss in losses.items()}

    def pixel_values(self, images: Tensor) -> Tensor:
        """Return the pixel eye's input: as the images are, or at the encoder's own canvas."""
        values, pixel = super().pixel_values(images), self.model.config.pixel
        if pixel.kind == "conv":
            return values
        side = (pixel.image_px, pixel.image_px)
        if values.shape[-2:] == side:
            return values
        return interpolate(values, side, mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)


def content_losses(
    logits: MaskLogits, gt_mask: Tensor, content_hw: Sequence[tuple[int, int]], weights: SegLossWeights
) -> dict[str, Tensor]:
    """Return seg_losses on the cells (A, H, W) that lie in the images: what is beyond them is no one's mask.

    content_hw: of each mask's image, height and width in the upper left corner of gt_mask (A, H0, W0), px.
    """
    branches = (logits.seg, logits.nor, logits.ano)
    cell = gt_mask.shape[-1] // next(branch.shape[-1] for branch in branches if branch is not None)  # px of gt_mask
    total: dict[str, Tensor] = {}
    for a, (height, width) in enumerate(content_hw):
        rows, columns = max(1, height // cell), max(1, width // cell)
        own = (None if branch is None else branch[a : a + 1, :rows, :columns] for branch in branches)
        inside = gt_mask[a : a + 1, : rows * cell, : columns * cell]
        for name, value in seg_losses(MaskLogits(*own), inside, weights).items():
            total[name] = total.get(name, 0.0) + value / len(content_hw)
    return total


class AdaptTrainer(Trainer):
    """Trains an adapter; its state holds the adapter alone, whole, however the processes share it."""

    zero_3 = True

    def trained(self) -> dict[str, nn.Parameter]:
        """Return the trained parameters by the names that they have in an adapter's file."""
        names = ((n.removeprefix("model."), p) for n, p in self.module.named_parameters())
        return {file_name(n): p for n, p in names if part_of(n) is not None}

    def adapter_state(self) -> dict[str, Tensor]:
        """Return the trained weights, whole and on the CPU. Every process calls it."""
        return {n: _whole(p).to("cpu", copy=True).contiguous() for n, p in self.trained().items()}

    def save(self) -> None:
        """Write the state; DeepSpeed's moments go to a folder of its own, which the state's step names."""
        if self._deepspeed:
            self.accelerator.save_state(str(self._moments(self.step)), exclude_frozen_parameters=True)
        super().save()
        if self._deepspeed and self.accelerator.is_main_process:
            for old in set(self.run_dir.glob("deepspeed-*")) - {self._moments(self.step)}:
                shutil.rmtree(old)

    def learned(self) -> dict[str, Any]:
        """Return weights and moments."""
        if self._deepspeed:
            return {"task": self.adapter_state(), "optimizer": {}}
        whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
        moments = get_optimizer_state_dict(self.task, self._torch_optimizer(), options=whole)
        return {"task": self.adapter_state(), "optimizer": moments}

    @torch.no_grad()
    def take(self, state: dict[str, Any]) -> None:
        """Go on from what `learned` returned."""
        if self._deepspeed:
            self.accelerator.load_state(str(self._moments(state["step"])), load_module_strict=False)
            return
        trained = self.trained()
        refuse_misfits({n: tuple(p.shape) for n, p in trained.items()}, state["task"])
        for name, parameter in trained.items():
            value = state["task"][name].to(parameter.device)
            if isinstance(parameter, DTensor):
                value = distribute_tensor(value, parameter.device_mesh, parameter.placements)
            parameter.copy_(value)
        whole = StateDictOptions(full_state_dict=True)
        with torch.enable_grad():
            set_optimizer_state_dict(self.task, self._torch_optimizer(), state["optimizer"], options=whole)

    @property
    def _deepspeed(self) -> bool:
        return self.accelerator.distributed_type == DistributedType.DEEPSPEED

    def _moments(self, step: int) -> Path:
        return self.run_dir / f"deepspeed-{step}"

    def _torch_optimizer(self) -> torch.optim.Optimizer:
        return getattr(self.optimizer, "optimizer", self.optimizer)


def _whole(parameter: Tensor) -> Tensor:
    """Return all of a parameter of which each process may hold a part (FSDP, ZeRO-3)."""
    if hasattr(parameter, "ds_id"):
        import deepspeed

        with deepspeed.zero.GatheredParameters([parameter]):
            return parameter.detach().clone()
    value = parameter.detach()
    return value.full_tensor() if isinstance(value, DTensor) else value


# --- the run ---------------------------------------------------------------------------------------------------------


def adapt_config(options: AdaptOptions) -> AGVASConfig:
    """Return the config of the adapter: the preset's or the AG-VAS checkpoint's, on the base that was asked for.

    Raises ValueError when there is neither a preset with a base nor a base.
    """
    folder = base_folder(options.base)
    if folder is not None:
        if options.revision or options.anyres:
            raise ValueError(
                f"{options.base} is an AG-VAS checkpoint: --revision and --anyres are for bases of the hub."
            )
        return replace(AGVASConfig.load(folder / CONFIG_FILE), base=options.base)
    config = get_preset(options.preset, options.pixel)
    base = options.base or config.base
    if not base:
        raise ValueError(
            f"The preset {options.preset!r} has no pretrained base to adapt: name one with --base, "
            "for example --base agvas-nano."
        )
    config = replace(config, base=base, base_revision=options.revision)
    return with_anyres(config) if options.anyres else config


def adapt_model(options: AdaptOptions) -> tuple[AGVAS, PreTrainedTokenizerBase, AdapterRecord]:
    """Return the base with a new adapter in float32, its tokenizer, and the adapter's record."""
    config = adapt_config(options)
    torch.manual_seed(options.seed)
    on_gpu = torch.cuda.is_available()
    half = torch.bfloat16 if options.train.half and on_gpu else torch.float32
    quantised = {"quantization": options.quantization, "device": "cuda"} if options.quantization else {}
    model, tokenizer = load_base_of(config, dtype=half, **quantised)
    add_adapter(model, options.lora, dtype=torch.float32)
    checkpointing(model)
    folder = base_folder(config.base)
    revision = checkpoint_hash(folder) if folder else model.config.base_revision
    return model, tokenizer, record_of(model, options.lora, revision=revision, training={})


def checkpointing(model: AGVAS) -> None:
    """Let the language model keep each layer's input only, and compute the rest again in the backward pass."""
    language = model.lmm.model.language_model
    # the name changed within transformers 5
    enable = getattr(language, "activation_checkpointing_enable", None) or language.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def train_adapter(options: AdaptOptions, out: Path | None = None) -> AdaptTrainer:
    """Run (or resume) the adapt stage and write the adapter to out, by default the run's folder `adapter`."""
    model, tokenizer, record = adapt_model(options)
    maker = AdaptMaker(tokenizer, model.config, model.token_ids)
    batches = BatchMaker(MixedSource(options, model.config), options.batch, maker)
    task = AdaptTask(model, options.losses).train()
    trainer = AdaptTrainer(task, batches, replace(options.train, ema=0.0, eval_steps=0), options.run_dir / ADAPT)
    trainer.run()
    state = trainer.adapter_state()  # every process takes part
    if trainer.accelerator.is_main_process:
        record = replace(record, training=training_record(options, trainer))
        save_adapter(out or options.run_dir / "adapter", config=model.config, record=record, state=state)
    trainer.accelerator.wait_for_everyone()
    return trainer


def training_record(options: AdaptOptions, trainer: Trainer) -> dict[str, Any]:
    """Return what an adapter's card says about its training."""
    own = f"labelled images ({options.data.name})" if options.data else ""
    photos = "synthetic defects on photographs of normal surfaces" if options.textures else "synthetic defects"
    return {
        "summary": f"trained on {trainer.images_seen:,} images: {', '.join(filter(None, (own, photos)))}",
        "stages": {
            ADAPT: {
                "steps": trainer.step,
                "images": trainer.images_seen,
                "hours": round(trainer.seconds / 3600, 2),
            }
        },
    }

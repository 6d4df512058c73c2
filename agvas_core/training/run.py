"""`agvas train`: the stages of a preset, each resumable, from nothing to a bundled checkpoint."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from agvas_core.checkpoint import CARD_FILE, load_checkpoint, save_checkpoint, token_ids_of
from agvas_core.config import AGVASConfig, get_preset
from agvas_core.evaluation.held_out import HELD_OUT_SEED, held_out_batches
from agvas_core.evaluation.metrics import PixelCurve
from agvas_core.modeling.agvas import AGVAS, TokenIds, build_agvas
from agvas_core.predictor import AnomalyPredictor
from agvas_core.prompts import DEFAULT_INSTRUCTIONS, DIRECT_ANSWER, ChatTurn
from agvas_core.synthesis.facts import DEFECT_KINDS, SyntheticBatch
from agvas_core.tokenizer import build_tokenizer
from agvas_core.training.calibration import (
    best_threshold,
    clear_peak,
    scored,
    served_maps,
    shift_logits,
    shifted,
)
from agvas_core.training.dense import AnchorBank, DenseTask, make_dense_batch
from agvas_core.training.joint import JointMaker, JointTask
from agvas_core.training.losses import SegLossWeights
from agvas_core.training.sources import ImageSource, Source, SourceOptions
from agvas_core.training.trainer import STATE_FILE, Trainer, TrainOptions, move
from agvas_core.training.words import WordsMaker, WordsTask, fact_token_ids, part_facts

DENSE, WORDS, JOINT = "dense", "words", "joint"
BANK_FILE = "anchor_bank.safetensors"
MIXED_FILE = "mixed_with.txt"  # in the joint stage's folder: the checkpoint that went into its eyes
CALIBRATION_STEP = 900_000  # far beyond the longest run's last step
CALIBRATION_IMAGES = 1024  # by 277 the best threshold was 0.47, 0.59 or 0.66, as the seed fell


@dataclass(frozen=True)
class RunOptions:
    """What `agvas train` was asked for.

    Attributes:
        preset: name in config.PRESETS.
        run_dir: where states and logs go, a folder for each stage.
        batch: images of a step at 256 px.
        seed: of the images and the weights.
        source: what the images are made of.
        train: length, rate and precision.
        losses: weights of the segmentation loss's parts.
        start_from: checkpoint folder whose weights a stage begins with (not when it resumes its own state), or None.
    """

    preset: str
    run_dir: Path
    batch: int
    seed: int
    source: SourceOptions
    train: TrainOptions
    start_from: Path | None = None
    losses: SegLossWeights = SegLossWeights()


def training_config(preset: str) -> AGVASConfig:
    """Return the preset with the names of the defects that synthesis makes."""
    config = get_preset(preset)
    return replace(config, decoder=replace(config.decoder, region_kinds=DEFECT_KINDS))


def score_maps(maps: list[Tensor], gt_masks: list[Tensor]) -> dict[str, float]:
    """Return AP, F1-max, IoU_ano and IoU_nor (0 to 100) of maps (H, W) and masks (H, W)."""
    curve = PixelCurve()
    iou, empty = [], []
    for anomaly_map, gt_mask in zip(maps, gt_masks, strict=True):
        curve.update(anomaly_map.numpy(), gt_mask.numpy())
        pred = anomaly_map > 0.5
        if bool(gt_mask.any()):
            iou.append(float((pred & gt_mask).sum() / (pred | gt_mask).sum()))
        else:
            empty.append(float(not bool(pred.any())))
    percent = {
        "AP": curve.ap,
        "F1_max": curve.f1_max,
        "IoU_ano": sum(iou) / max(1, len(iou)),
        "IoU_nor": sum(empty) / max(1, len(empty)),
    }
    return {name: round(100 * value, 2) for name, value in percent.items()}


def _device_of(task: nn.Module) -> torch.device:
    return next(task.parameters()).device


def _whole(fused: Tensor, batch: SyntheticBatch) -> list[Tensor]:
    """Return the maps (H, W) on the CPU, at the images' own size, of fused maps (B, h, w)."""
    size = tuple(batch.images.shape[-2:])
    large = nn.functional.interpolate(fused[:, None].float(), size, mode="bilinear", align_corners=False)
    return list(large[:, 0].cpu())


def dense_evaluation(count: int) -> Callable[[nn.Module], dict[str, float]]:
    """Return a function that scores a DenseTask on held-out synthesis: masks, and kinds under the true masks."""
    batches = list(held_out_batches(count))

    @torch.inference_mode()
    def evaluate(task: nn.Module) -> dict[str, float]:
        assert isinstance(task, DenseTask)
        maps, masks = [], []
        right = total = 0
        for batch in batches:
            maps += _whole(task.predict(batch.images.to(_device_of(task))), batch)
            masks += list(batch.gt_mask)
            dense = move(make_dense_batch(batch, random.Random(0)), _device_of(task))
            if task.region_reader is not None and len(dense.defect_image):
                pixel = task.pixel_encoder(dense.images.float() / 255).select(dense.defect_image)
                under = dense.labels[dense.defect_image] == dense.defect_number[:, None, None]
                _, kind_logits = task.region_reader(pixel, under)
                assert kind_logits is not None
                right += int((kind_logits.argmax(1) == dense.defect_kind).sum())
                total += len(dense.defect_kind)
        return score_maps(maps, masks) | {"kind": round(100 * right / max(1, total), 2)}

    return evaluate


def grown(model: AGVAS, preset: str) -> AGVAS:
    """Return a model with the preset's depth over the pixel encoder's stride-16 cells and the region reader's looks.

    It answers as the given one: added layers start as the identity. Raises ValueError when more than that differs.
    """
    pixel, wanted = model.config.pixel, get_preset(preset).pixel
    own, looks = model.config.decoder, get_preset(preset).decoder
    lens, loupe = own.region_lens or looks.region_lens, own.region_loupe or looks.region_loupe
    decoder = replace(own, region_lens=lens, region_loupe=loupe)
    if pixel == wanted and decoder == own:
        return model
    deeper = replace(pixel, attention_layers=wanted.attention_layers, attention_convs=wanted.attention_convs)
    lost = pixel.attention_layers > wanted.attention_layers or pixel.attention_convs > wanted.attention_convs
    if deeper != wanted or lost:
        raise ValueError(f"The weights' pixel encoder ({pixel}) cannot grow to that of {preset!r} ({wanted}).")
    larger = build_agvas(replace(model.config, pixel=wanted, decoder=decoder), model.token_ids)
    added = larger.load_state_dict(model.state_dict(), strict=False)
    new = ("pixel_encoder.attention.", "pixel_encoder.neighbours.", "region_reader.lens.", "region_reader.loupe.")
    assert not added.unexpected_keys and all(key.startswith(new) for key in added.missing_keys)
    return larger


def dense_task(options: RunOptions) -> DenseTask:
    """Make the dense stage's task, with random weights or those of options.start_from."""
    torch.manual_seed(options.seed)
    if options.start_from is None:
        task = DenseTask(build_agvas(training_config(options.preset), TokenIds(0, 0, (0, 0, 0))), options.losses)
    else:
        task = DenseTask(grown(load_checkpoint(options.start_from)[0], options.preset), options.losses)
        task.bank = load_bank(options.start_from, task.bank.base.shape[1])
    task.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # in place
    return task


class BatchMaker:
    """Makes the batch of a step; a class, so that worker processes can receive it."""

    def __init__(self, source: Source, count: int, prepare: Callable[[SyntheticBatch, random.Random], Any]) -> None:
        self.source, self.count, self.prepare = source, count, prepare

    def __call__(self, step: int) -> Any:
        """Return the prepared batch of a step."""
        return self.prepare(self.source.batch(step, self.count), random.Random(step))


def train_dense(options: RunOptions, eval_images: int = 192) -> Trainer:
    """Run (or resume) the dense stage."""
    maker = BatchMaker(ImageSource(options.source, seed=options.seed), options.batch, make_dense_batch)
    evaluation = dense_evaluation(eval_images)
    trainer = Trainer(dense_task(options), maker, options.train, options.run_dir / DENSE, evaluation)
    trainer.run()
    return trainer


def train_words(options: RunOptions, eval_talks: int = 64) -> Trainer:
    """Run (or resume) the words stage: the language model on talks, without images."""
    model, tokenizer, _ = _begin(options)
    prepare = JointMaker(tokenizer, model.config, model.token_ids)
    task = WordsTask(model, fact_token_ids(tokenizer)).train()
    part_facts(task.language_model.get_input_embeddings().weight, task.fact_ids)
    held_out = WordsMaker(prepare, eval_talks, seed=HELD_OUT_SEED)(0)

    @torch.inference_mode()
    def evaluate(task: nn.Module) -> dict[str, float]:
        return {"text": round(float(task(move(held_out, _device_of(task)))["text"]), 4)}

    maker = WordsMaker(prepare, options.batch, seed=options.seed)
    trainer = Trainer(task, maker, options.train, options.run_dir / WORDS, evaluate)
    trainer.run()
    return trainer


def _begin(options: RunOptions) -> tuple[AGVAS, PreTrainedTokenizerFast, AnchorBank]:
    """Return the model that a stage with words begins with: options.start_from's, or random weights."""
    torch.manual_seed(options.seed + 1)
    if options.start_from is not None:
        model, tokenizer, _ = load_checkpoint(options.start_from)
        model = grown(model, options.preset)
        bank = load_bank(options.start_from, model.config.decoder.width)
        # how it serves and what the words read is the preset's choice; no weight depends on it
        preset = get_preset(options.preset)
        decoder = replace(model.config.decoder, measured_kinds=preset.decoder.measured_kinds)
        served = {name: getattr(preset, name) for name in ("serving_px", "serving_also", "serving_outline")}
        model.config = replace(model.config, decoder=decoder, **served)
    else:
        tokenizer = build_tokenizer()
        model = build_agvas(training_config(options.preset), token_ids_of(tokenizer))
        bank = AnchorBank(model.config.decoder.width)
    model.lmm.set_attn_implementation({"text_config": "eager", "vision_config": "eager"})  # faster backwards on CPUs
    return model, tokenizer, bank


def joint_task(
    options: RunOptions, *, freeze_pixel: bool, mix: Path | None = None
) -> tuple[JointTask, PreTrainedTokenizerFast]:
    """Make the joint stage's task: options.start_from or random weights, then what the run's earlier stages learned.

    With freeze_pixel the decoder and the region reader stay, too, as the dense stage left them: it has seen far more
    images, and a decoder that learns on with the words' few marks less than before (LOG.md).

    mix: a checkpoint whose weights go in by half before the words are learned, so that these rest on the eyes that
    will be served; see mix_in.
    """
    model, tokenizer, bank = _begin(options)
    take_dense(model, bank, options.run_dir)
    if mix is not None:
        mix_in(model, bank, mix, options.preset)
    words = {"language_model": model.lmm.model.language_model, "lm_head": model.lmm.lm_head}
    _take(options.run_dir / WORDS / STATE_FILE, words)
    facts = fact_token_ids(tokenizer)
    task = JointTask(model, bank, options.losses, freeze_pixel=freeze_pixel, fact_ids=facts)
    if freeze_pixel:
        for part in (model.agmd, model.region_reader):
            if part is not None:
                part.requires_grad_(False)
    task.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # in place
    return task, tokenizer


def load_bank(folder: Path, width: int) -> AnchorBank:
    """Return the learned anchors of a decoder's width that lie beside a checkpoint's weights."""
    bank = AnchorBank(width)
    bank.load_state_dict(load_file(folder / BANK_FILE))
    return bank


def take_dense(model: AGVAS, bank: AnchorBank, run_dir: Path) -> None:
    """Copy into a model and its learned anchors what a run's dense stage learned, when it has run."""
    parts = {
        "pixel_encoder": model.pixel_encoder,
        "agmd": model.agmd,
        "region_reader": model.region_reader,
        "bank": bank,
    }
    _take(run_dir / DENSE / STATE_FILE, parts)


def _take(state_path: Path, parts: Mapping[str, nn.Module | None]) -> None:
    """Copy what a stage learned of these parts, when it has run."""
    if not state_path.is_file():
        return
    average = torch.load(state_path, map_location="cpu", weights_only=True)["average"]
    for name, module in parts.items():
        if module is not None:
            own = {k.removeprefix(f"{name}."): v for k, v in average.items() if k.startswith(f"{name}.")}
            module.load_state_dict(own)


def joint_evaluation(maker: JointMaker, count: int) -> Callable[[nn.Module], dict[str, float]]:
    """Return a function that scores a JointTask on held-out synthesis: the direct mode's masks, and the words' loss."""
    batches = list(held_out_batches(count))
    prepared = [maker(batch, random.Random(i)) for i, batch in enumerate(batches)]
    direct = direct_ids(maker)

    @torch.inference_mode()
    def evaluate(task: nn.Module) -> dict[str, float]:
        assert isinstance(task, JointTask)
        maps, masks, losses = [], [], []
        for batch, joint in zip(batches, prepared, strict=True):
            device = _device_of(task)
            losses.append(task(move(joint, device))["text"])
            maps += _whole(task.predict(batch.images.to(device), direct), batch)
            masks += list(batch.gt_mask)
        return score_maps(maps, masks) | {"text": round(float(torch.stack(losses).mean()), 4)}

    return evaluate


def train_joint(options: RunOptions, *, freeze_pixel: bool, eval_images: int = 64, mix: Path | None = None) -> Trainer:
    """Run (or resume) the joint stage; freeze_pixel and mix as in joint_task."""
    task, tokenizer = joint_task(options, freeze_pixel=freeze_pixel, mix=mix)
    prepare = JointMaker(tokenizer, task.model.config, task.model.token_ids)
    maker = BatchMaker(ImageSource(options.source, seed=options.seed + 1), options.batch, prepare)
    trainer = Trainer(task, maker, options.train, options.run_dir / JOINT, joint_evaluation(prepare, eval_images))
    if mix is not None:
        (options.run_dir / JOINT / MIXED_FILE).write_text(f"{mix}\n", encoding="utf-8")
    trainer.run()
    return trainer


def _calibrate(task: JointTask, tokenizer: PreTrainedTokenizerFast, options: RunOptions) -> float:
    """Move the masks' borders, and set how clear a part must be, by images that no stage has seen.

    Returns the logits' shift; the model's config takes serving_peak.

    They are of the training's own kind, but all synthetic, for photographs' masks are rough, and with defects as
    seldom and as few as on a line: crowded ones, with few normal images between them, make the threshold too bold.
    """
    natural = SourceOptions()
    own = replace(options.source, passes=1, real=None, crowded=natural.crowded, normal_share=natural.normal_share)
    source = ImageSource(own, seed=options.seed)
    batches = at_least(CALIBRATION_IMAGES, (source.batch(CALIBRATION_STEP + i, options.batch) for i in count()))
    task.model.config = replace(task.model.config, serving_peak=0.5)
    images = scored(served_maps(AnomalyPredictor(task.model, tokenizer)), batches)
    threshold = best_threshold(images)
    shift = shift_logits(task.model.agmd, threshold)
    peak = round(shifted(clear_peak(images, threshold), shift), 3)
    task.model.config = replace(task.model.config, serving_peak=peak)
    return round(shift, 3)


def at_least(images: int, batches: Iterable[SyntheticBatch]) -> Iterator[SyntheticBatch]:
    """Yield whole batches until there are so many images."""
    seen = 0
    for batch in batches:
        yield batch
        seen += len(batch.images)
        if seen >= images:
            return


def direct_ids(maker: JointMaker) -> list[int]:
    """Return the tokens of the direct mode's question and answer."""
    turns = [ChatTurn("user", DEFAULT_INSTRUCTIONS["direct"]), ChatTurn("assistant", DIRECT_ANSWER)]
    return maker.encode(turns)[0]


def images_of(training: Mapping[str, Any]) -> int:
    """Return how many images a checkpoint's record counts, with those of what it began from."""
    own = sum(stage["images"] for stage in training.get("stages", {}).values())
    return own + (images_of(training["before"]) if training.get("before") else 0)


def mix_in(model: AGVAS, bank: AnchorBank, folder: Path, preset: str) -> None:
    """Make weights the mean of themselves and a checkpoint's, from which they came by training.

    What two ends of one training err in differs, and half way between them both err less. A layer that the checkpoint
    lacks stays as it is, but for what it begins with at zero, which counts as zero there.
    """
    before = load_checkpoint(folder)[0]
    known, other = set(before.state_dict()), grown(before, preset).state_dict()
    differ = [name for name, value in model.state_dict().items() if other[name].shape != value.shape]
    if differ:
        raise ValueError(f"{folder} has other sizes than the run: {', '.join(differ[:3])}.")
    kept = {name for name, value in other.items() if name not in known and bool(value.any())}
    done: set[int] = set()  # tied weights have two names and are mixed once
    for mine, theirs in ((model.state_dict(), other), (bank.state_dict(), load_file(folder / BANK_FILE))):
        for name, value in mine.items():
            if value.is_floating_point() and name not in kept and value.data_ptr() not in done:
                done.add(value.data_ptr())
                value.lerp_(theirs[name].to(value), 0.5)  # a state_dict shares its memory with the module


def export(options: RunOptions, folder: Path, card: str, mix: Path | None = None) -> None:
    """Write the joint stage's averaged weights as a checkpoint in fp16, with the record of their training.

    mix: a checkpoint whose weights go in by half; see mix_in.
    options.source says what the runs were given (textures, real); an empty card leaves the folder's own as it is.

    Raises:
        FileNotFoundError: when the joint stage has not begun.
    """
    joint_state = options.run_dir / JOINT / STATE_FILE
    if not joint_state.is_file():
        raise FileNotFoundError(f"{options.run_dir} has no joint stage to export: train it first by --stage joint.")
    if not card and (folder / CARD_FILE).is_file():
        card = (folder / CARD_FILE).read_text(encoding="utf-8")
    task, tokenizer = joint_task(options, freeze_pixel=True)
    state = torch.load(joint_state, map_location="cpu", weights_only=True)
    task.load_state_dict(state["average"])
    assert task.bank is not None
    if mix is not None:
        mix_in(task.model, task.bank, mix, options.preset)
    shift = _calibrate(task, tokenizer, options)
    stages = {}
    for stage in (DENSE, WORDS, JOINT):
        path = options.run_dir / stage / STATE_FILE
        if path.is_file():
            s = torch.load(path, map_location="cpu", weights_only=True)
            stages[stage] = {"steps": s["step"], "images": s["images_seen"], "hours": round(s["seconds"] / 3600, 2)}
    before = load_checkpoint(options.start_from)[2] if options.start_from is not None else {}
    images = sum(s["images"] for s in stages.values()) + images_of(before)
    own = options.source
    mixed = ["photographs of normal surfaces"] * bool(own.textures) + ["a few real labelled defects"] * bool(own.real)
    summary = f"trained on {images:,} inspection images: synthetic defects" + "".join(f", {name}" for name in mixed)
    halved = mix is not None or (options.run_dir / JOINT / MIXED_FILE).is_file()
    training: dict[str, Any] = {"summary": summary, "stages": stages, "logit_shift": shift, "mixed": halved}
    if before:
        training["before"] = before
    save_checkpoint(task.model, tokenizer, folder, card=card, training=training, dtype=torch.float16)
    save_file(task.bank.state_dict(), folder / BANK_FILE)  # so that training can begin again from what is published

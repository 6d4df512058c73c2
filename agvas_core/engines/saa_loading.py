"""SAA engines by name: "saa+" over the bundled model, "saa+:grounding-dino-tiny:sam-vit-huge:code" over hub weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agvas_core.engines.saa import MODES, SAAEngine
from agvas_core.engines.shared_weights import shared_predictor
from agvas_core.saa.bundled import BundledProposer
from agvas_core.saa.prompts import Variant
from agvas_core.structures import EngineCard

if TYPE_CHECKING:
    from agvas_core.saa.detector import DetectorProposer
    from agvas_core.saa.wide_resnet import WideResNet50

DETECTORS = {
    "grounding-dino-tiny": "IDEA-Research/grounding-dino-tiny",
    "grounding-dino-base": "IDEA-Research/grounding-dino-base",
}
SAMS = {name: f"facebook/{name}" for name in ("sam-vit-base", "sam-vit-large", "sam-vit-huge")}
DEFAULT_SAM = "sam-vit-base"  # the paper's is sam-vit-huge, 2.6 GB
_PAPER = "After *Segment Any Anomaly without Training via Hybrid Prompt Regularization* (Cao et al. 2023)."


@dataclass(frozen=True)
class SAAName:
    """What an engine's name says.

    Attributes:
        plus: SAA+, not SAA.
        detector: hub name of GroundingDINO, "" for the bundled model.
        sam: hub name of SAM, "" without a detector.
        variant: whose arithmetic.
    """

    plus: bool
    detector: str
    sam: str
    variant: Variant


def is_saa(name: str) -> bool:
    """Whether a name is one of these engines, with or without options."""
    return name.split(":")[0] in ("saa", "saa+")


def parse_saa_name(name: str) -> SAAName:
    """Read "saa" or "saa+" and the options after colons, in any order.

    Options: a detector (grounding-dino-tiny, grounding-dino-base), a SAM (sam-vit-base, -large, -huge; only with a
    detector), and "code" for the public code's arithmetic.

    Raises:
        ValueError: on an unknown option, with the known ones.
    """
    head, *options = name.split(":")
    known = [*DETECTORS, *SAMS, "code"]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise ValueError(f"{head} has no option {unknown[0]!r}; choose among {', '.join(known)}.")
    detectors, sams = [o for o in options if o in DETECTORS], [o for o in options if o in SAMS]
    if len(detectors) > 1 or len(sams) > 1 or (sams and not detectors):
        raise ValueError(f"{name!r}: give one detector, and at most one SAM with it.")
    detector = DETECTORS[detectors[0]] if detectors else ""
    sam = SAMS[sams[0] if sams else DEFAULT_SAM] if detectors else ""
    return SAAName(head == "saa+", detector, sam, "code" if "code" in options else "paper")


def load_saa(name: str, bundled: Path, device: str) -> SAAEngine:
    """Load an engine by its name; see parse_saa_name.

    Args:
        name: "saa+", "saa+:grounding-dino-tiny:sam-vit-huge", ...
        bundled: the bundled model's folder, used without a detector.
        device: "cpu" or "cuda".

    Raises:
        ValueError: on an unknown option.
        OSError: when weights are not on this machine and cannot be fetched.
    """
    said = parse_saa_name(name)
    if said.detector:
        return _hub_engine(name, said.detector, said.sam, said.plus, said.variant, device)
    return _bundled_engine(name, bundled, said.plus, said.variant, device)


def title(plus: bool, variant: Variant) -> str:
    """Return the engine's short name."""
    return ("SAA+" if plus else "SAA") + (" (code)" if variant == "code" else "")


def _bundled_engine(name: str, folder: Path, plus: bool, variant: Variant, device: str) -> SAAEngine:
    predictor, training = shared_predictor(folder, device)
    summary = str(training.get("summary", ""))
    proposer = BundledProposer(predictor)
    card = EngineCard(
        name=title(plus, variant),
        engine_id=name,
        description=_description(plus) + " Candidates and features come from the bundled AG-VAS model.",
        licence="Apache-2.0",
        weights=f"AG-VAS nano: {summary}" if summary else "UNTRAINED (random weights)",
        trained=bool(summary),
        modes=MODES,
        device=device,
        memory_mb=_megabytes(predictor.model),
        markdown=_markdown(
            plus,
            variant,
            "**Not the paper's detectors.** No detector's weights come with this program, so the candidates are the "
            "parts of the bundled AG-VAS model's mask, and the saliency is taken from its pixel encoder. The paper's "
            "numbers do not apply. The bundled model marks the same pixels whatever kind of defect is asked for: words "
            "only weigh the candidates, by the kind that the model sees in each. The object is what stands out from an "
            "even background; otherwise sizes are of the whole image. Over these candidates SAA+ is no better than the "
            "model's own mask (LOG.md); what it adds is rules that can be said and checked.\n\n"
            "With the paper's kind of detectors (weights "
            "from the hub): `saa+:grounding-dino-tiny`, or as in the paper `saa+:grounding-dino-tiny:sam-vit-huge`.",
        ),
    )
    return SAAEngine(proposer, proposer.features, card, plus=plus, variant=variant)


def _hub_engine(name: str, detector: str, sam: str, plus: bool, variant: Variant, device: str) -> SAAEngine:
    from agvas_core.saa.detector import wide_resnet_features
    from agvas_core.saa.wide_resnet import HUB_NAME

    proposer = load_detectors(detector, sam, device)
    network = _load_features(device) if plus else None
    parts = [proposer.detector, proposer.sam, *([network] if network else [])]
    sources = ", ".join([detector, sam, *([HUB_NAME] if network else [])])
    card = EngineCard(
        name=f"{title(plus, variant)} {detector.split('/')[-1]}",
        engine_id=name,
        description=_description(plus) + f" Candidates come from {detector}, masks from {sam}.",
        licence="Apache-2.0 (code, GroundingDINO, SAM), BSD-3-Clause (Wide ResNet-50-2)",
        weights=f"{sources}; trained by their authors, nothing here was trained on anomalies",
        trained=True,
        modes=MODES,
        device=device,
        memory_mb=round(sum(_megabytes(part) for part in parts), 1),
        markdown=_markdown(plus, variant, f"Weights: {sources}. The paper's SAM is sam-vit-huge."),
    )
    features: Callable[[Any], Any] = _no_features if network is None else partial(wide_resnet_features, network)
    return SAAEngine(proposer, features, card, plus=plus, variant=variant)


def load_detectors(detector: str, sam: str, device: str) -> DetectorProposer:
    """Load GroundingDINO and SAM by hub names or folders.

    Raises:
        OSError: when they are not on this machine and cannot be fetched.
        ValueError: when the weights do not fill the model.
    """
    from transformers import (
        AutoTokenizer,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessorPil,
        SamImageProcessorPil,
        SamModel,
    )

    from agvas_core.saa.detector import DetectorProposer

    return DetectorProposer(
        _whole(GroundingDinoForObjectDetection, detector),
        _fetched(AutoTokenizer.from_pretrained, detector),
        _fetched(GroundingDinoImageProcessorPil.from_pretrained, detector),
        _whole(SamModel, sam),
        _fetched(SamImageProcessorPil.from_pretrained, sam),
        device=device,
    )


def _whole(model_class: Any, source: str) -> Any:
    """Return a model with all of its weights; ValueError that names what is missing."""
    load = partial(model_class.from_pretrained, use_safetensors=True, output_loading_info=True)
    model, info = _fetched(load, source)
    missing = sorted([*info["missing_keys"], *(str(key) for key in info.get("mismatched_keys", ()))])
    if missing:
        raise ValueError(f"{source} does not fill {model_class.__name__}: {', '.join(missing[:3])} are missing.")
    return model


def _load_features(device: str) -> WideResNet50:
    from huggingface_hub import hf_hub_download

    from agvas_core.saa.wide_resnet import HUB_NAME, load_wide_resnet

    path = _fetched(partial(hf_hub_download, filename="model.safetensors"), HUB_NAME)
    return load_wide_resnet(path).to(device)


def _fetched(load: Callable[..., Any], source: str) -> Any:
    try:
        return load(source)
    except OSError as error:
        raise OSError(
            f"The weights of {source} are not on this machine and could not be fetched from the Hugging Face hub; "
            "connect to the network once, or choose `saa+`, which needs no download."
        ) from error


def _no_features(image: Any) -> Any:
    raise AssertionError("SAA has no saliency prompt")


def _description(plus: bool) -> str:
    if plus:
        return "SAA+: candidates regularised by hybrid prompts, which your sentence sets; no training."
    return "SAA: candidates by one naive word, without rules; no training."


def _markdown(plus: bool, variant: Variant, source: str) -> str:
    arithmetic = "the paper's" if variant == "paper" else "the public code's"
    how = (
        "Language, property, saliency and confidence prompts regularise the candidates. A sentence sets them: *look "
        "for blow holes and cracks on the tile, at most three, smaller than 5 % of the part; ignore dust*. It says "
        "which rule kept or dropped each candidate; a later sentence changes only what it speaks of, *start over* "
        "forgets all rules."
        if plus
        else "The vanilla assembly: what is found by one word, averaged. SAA+ adds the rules."
    )
    return f"# {title(plus, variant)}\n\n{_PAPER}\n\n{how}\n\nArithmetic: {arithmetic}.\n\n{source}\n"


def _megabytes(model: Any) -> float:
    return round(sum(p.numel() * p.element_size() for p in model.parameters()) / 1e6, 1)

"""The speaker: any image-text-to-text model of transformers, which reads pictures and words and streams its answer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.generation.streamers import BaseStreamer
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from agvas_core.backbones import commit_of
from agvas_core.engines.foreign_text import GrowingText, Harmless

POLL_S = 0.05


@dataclass(frozen=True, eq=False)
class Message:
    """One message to the speaker: words, and the pictures that come before them."""

    role: Literal["user", "assistant"]
    text: str
    pictures: tuple[Image.Image, ...] = ()


class Speaker:
    """A model that talks about pictures; holds no conversation."""

    def __init__(self, name_or_folder: str, *, device: str = "cpu") -> None:
        """Load model and processor; FileNotFoundError or ValueError with one sentence when that cannot be."""
        self.source = name_or_folder
        self.name = Path(name_or_folder).name or name_or_folder
        self.model, self.processor = _load(name_or_folder, device)
        self.commit = commit_of(name_or_folder)
        self.device = torch.device(device)
        self.harmless = Harmless(self.processor, self._template_text())
        self._lock = threading.Lock()  # some models keep the positions of the prompt that they read last

    @property
    def memory_mb(self) -> float:
        """Memory of the weights, MB."""
        return round(sum(p.numel() * p.element_size() for p in self.model.parameters()) / 1e6, 1)

    @property
    def weights_hash(self) -> str:
        """What tells its weights from others: name and commit on the hub, or the folder's place."""
        return f"{self.source}@{self.commit or 'local'}"

    @property
    def max_positions(self) -> int | None:
        """How many tokens it reads and writes in all, or None where its config does not say."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", None)

    def read(self, messages: Sequence[Message]) -> Any:
        """Return the model's inputs for a conversation that the speaker is to go on with."""
        batch = self.processor.apply_chat_template(
            [_as_dict(m) for m in messages], add_generation_prompt=True, tokenize=True, return_dict=True,
            return_tensors="pt",
        )  # fmt: skip
        return batch.to(self.device, dtype=self.model.dtype)

    def speak(self, inputs: Any, max_new_tokens: int, stop: threading.Event) -> Iterator[tuple[int, str]]:
        """Yield (tokens, new text) as it comes, greedily; ends within two tokens after stop is set.

        Raises:
            RuntimeError and the like: what the model itself raises.
        """
        left = threading.Event()  # the listener is gone
        hand = _Hand(left)
        failed: list[BaseException] = []

        def generate() -> None:
            try:
                with self._lock:
                    self.model.generate(
                        **inputs, max_new_tokens=max_new_tokens, do_sample=False, temperature=None, top_p=None,
                        top_k=None, streamer=hand, stopping_criteria=StoppingCriteriaList([_Stop(stop, left)]),
                    )  # fmt: skip
            except BaseException as error:  # told to the listener, in his thread
                failed.append(error)
            finally:
                hand.end()

        thread = threading.Thread(target=generate, name="agvas-speaker", daemon=True)
        thread.start()
        text = GrowingText(self.processor.tokenizer)
        try:
            while (ids := hand.take()) is not None:
                if stop.is_set():
                    break
                yield len(ids), text.push(ids)
            yield 0, text.finish()
        finally:
            left.set()
            thread.join()
        if failed:
            raise failed[0]

    def _template_text(self) -> str:
        """Return a short conversation as the model's template renders it."""
        talk = [_as_dict(Message(role, "x")) for role in ("user", "assistant", "user")]
        talk[0]["content"].insert(0, {"type": "image"})
        try:
            return self.processor.apply_chat_template(talk, add_generation_prompt=True, tokenize=False)
        except Exception as error:  # templates raise what they like
            raise ValueError(
                f"{self.source} cannot be the explainer: its template takes no conversation ({_short(error)})."
            ) from error


class _Hand(BaseStreamer):
    """Hands tokens over one by one: the model waits until each is taken, so that a stop is felt at once."""

    def __init__(self, left: threading.Event) -> None:
        self._left = left
        self._queue: queue.Queue[list[int] | None] = queue.Queue(maxsize=1)
        self._prompt_seen = self._ended = False

    def put(self, value: torch.Tensor) -> None:
        """Take the prompt, which nobody wants back, and then each token."""
        if self._prompt_seen:
            self._hand_over([int(i) for i in value.flatten()])
        self._prompt_seen = True

    def end(self) -> None:
        """Say that no more will come."""
        if not self._ended:
            self._ended = True
            self._hand_over(None)

    def take(self) -> list[int] | None:
        """Wait for the next tokens; None at the end."""
        return self._queue.get()

    def _hand_over(self, ids: list[int] | None) -> None:
        while not self._left.is_set():
            try:
                return self._queue.put(ids, timeout=POLL_S)
            except queue.Full:
                continue


class _Stop(StoppingCriteria):
    """Ends generation when any of the events is set."""

    def __init__(self, *events: threading.Event) -> None:
        self.events = events

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        """Return (B,) whether each answer is to end."""
        ends = any(event.is_set() for event in self.events)
        return torch.full((input_ids.shape[0],), ends, device=input_ids.device, dtype=torch.bool)


def _as_dict(message: Message) -> dict[str, Any]:
    pictures: list[dict[str, Any]] = [{"type": "image", "image": picture} for picture in message.pictures]
    return {"role": message.role, "content": [*pictures, {"type": "text", "text": message.text}]}


def _short(error: Exception) -> str:
    """Return the first line of an error without its full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip()[:200].rstrip(".: ")


def _load(name: str, device: str) -> tuple[Any, Any]:
    """Return model and processor of a hub name or folder."""
    here = Path(name).is_dir()
    try:
        config = AutoConfig.from_pretrained(name)
        if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
            raise ValueError(f"a {config.model_type} model does not answer in words about images")
        processor = _load_processor(name, config)
        dtype = "auto" if device.startswith("cuda") else torch.float32
        model, report = AutoModelForImageTextToText.from_pretrained(
            name, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
    except (ImportError, ValueError, KeyError) as error:
        raise ValueError(f"{name} cannot be the explainer: {_short(error)}.") from error
    except OSError as error:
        if here:
            raise FileNotFoundError(f"The folder {name} does not hold a whole model ({_short(error)}).") from error
        raise FileNotFoundError(
            f"The explainer {name} is not on this machine and could not be fetched ({_short(error)}). Get it once with "
            f"`hf download {name}` where there is a connection, or give the folder of a downloaded model."
        ) from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ValueError(f"{name} cannot be the explainer: {len(missing)} of its weights are missing, as {missing[0]}.")
    if not getattr(processor, "chat_template", None):
        raise ValueError(f"{name} cannot be the explainer: it has no chat template, so it holds no conversations.")
    return model.to(device).eval(), processor


def _load_processor(name: str, config: Any) -> Any:
    """Return the processor; one that also wants a video processor, which needs torchvision, is made without it."""
    try:
        return AutoProcessor.from_pretrained(name)
    except ImportError:
        kind = PROCESSOR_MAPPING.get(type(config), None)
        if kind is None or "video_processor" not in kind.get_attributes():
            raise

    class ImagesOnly(kind):  # type: ignore[misc, valid-type]
        """The processor without videos."""

        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            if argument is None and argument_name == "video_processor":
                return None
            return super().check_argument_for_proper_class(argument_name, argument)

    makers: dict[str, Any] = {"tokenizer": AutoTokenizer, "image_processor": AutoImageProcessor}
    settings, _ = kind.get_processor_dict(name)
    parts = [None if a == "video_processor" else makers[a].from_pretrained(name) for a in kind.get_attributes()]
    return ImagesOnly.from_args_and_dict(parts, settings)

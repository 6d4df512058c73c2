"""Several conversations at one model: one thread does all its work, and what came in meanwhile is done together.

Every conversation has at most one job in the queue: an image to encode, a chat to read, a mask to decode, a word to
say. A round takes what waits of each kind as one batch, so that words of several replies go on side by side, and a
direct turn waits for a round, never for a whole explanation. Nothing waits for a batch to fill.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from agvas_core.encoded import EncodedImage, Look, Prefix, Reading, Step
from agvas_core.modeling.agvas import AGVAS
from agvas_core.predictor import AnomalyPredictor
from agvas_core.processing import Letterbox
from agvas_core.structures import InspectionImage

CONVERSATIONS = 16
# of one batch: images and masks bind the memory, chats and words hardly
AT_MOST = {"image": 4, "chat": 8, "mask": 8, "word": 16, "other": 4}


@dataclass(eq=False)
class _Job:
    kind: str
    what: Any
    done: threading.Event = field(default_factory=threading.Event)
    result: Any = None
    error: Exception | None = None


class WorkQueue:
    """One thread that does jobs, those of a kind together.

    together: for each kind, a function from jobs to results in their order. It must change nothing when it fails.
    at_most: how many jobs of a kind are done together.
    """

    def __init__(
        self, together: Mapping[str, Callable[[list[Any]], Sequence[Any]]], at_most: Mapping[str, int]
    ) -> None:
        self._together, self._at_most = dict(together), dict(at_most)
        self._waiting: list[_Job] = []
        self._changed = threading.Condition()
        self._worker: threading.Thread | None = None
        self._closed = False

    def do(self, kind: str, what: Any) -> Any:
        """Wait until a job is done and return its result; what the work raises is raised here, and only here.

        Raises:
            RuntimeError: when the queue is closed before the job has begun.
        """
        if threading.current_thread() is self._worker:  # a job that needs another one
            return self._together[kind]([what])[0]
        job = _Job(kind, what)
        with self._changed:
            if self._closed:
                raise RuntimeError("This engine has been closed.")
            if self._worker is None or not self._worker.is_alive():  # threads do not survive a fork
                self._worker = threading.Thread(target=self._work, name="agvas-queue", daemon=True)
                self._worker.start()
            self._waiting.append(job)
            self._changed.notify()
        job.done.wait()
        if job.error is not None:
            raise job.error
        return job.result

    def close(self) -> None:
        """End the thread after the round that runs; who still waits gets a RuntimeError."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    for job in self._waiting:
                        job.error = RuntimeError("This engine has been closed.")
                        job.done.set()
                    self._waiting.clear()
                    return
                batches = self._round()
            for batch in batches:
                self._run(batch)

    def _round(self) -> list[list[_Job]]:
        """Take from the queue what is done next: of each kind the oldest jobs, as many as go together."""
        batches = []
        for kind, limit in self._at_most.items():
            batch = [job for job in self._waiting if job.kind == kind][:limit]
            if batch:
                batches.append(batch)
        taken = {id(job) for batch in batches for job in batch}
        self._waiting = [job for job in self._waiting if id(job) not in taken]
        return batches

    def _run(self, jobs: list[_Job]) -> None:
        """Do jobs together; when that fails each by itself, so that nobody pays for another's job."""
        try:
            results = self._together[jobs[0].kind]([job.what for job in jobs])
            assert len(results) == len(jobs)
        except Exception as error:
            if len(jobs) > 1:
                for job in jobs:
                    self._run([job])
                return
            jobs[0].error = error
            jobs[0].done.set()
            return
        for job, result in zip(jobs, results, strict=True):
            job.result = result
            job.done.set()


class QueuedPredictor(AnomalyPredictor):
    """An AnomalyPredictor for several threads: the same masks and words, its model's work in one queue.

    conversations: for how many of them images and read chats are kept.
    """

    def __init__(
        self,
        model: AGVAS,
        tokenizer: PreTrainedTokenizerBase,
        *,
        device: str = "cpu",
        says_anchors: bool = True,
        conversations: int = CONVERSATIONS,
    ) -> None:
        super().__init__(
            model,
            tokenizer,
            device=device,
            says_anchors=says_anchors,
            images_kept=conversations,
            prefixes_kept=2 * conversations,  # the chat up to the mask, and with what the mask measured
        )
        self.queue = WorkQueue(
            {
                "image": self._encode_waiting,
                "chat": super()._read,
                "mask": self._look_waiting,
                "word": super()._speak,
                "other": lambda calls: [call() for call in calls],
            },
            AT_MOST,
        )

    def set_image(self, image: InspectionImage, *, close: bool = False) -> EncodedImage:
        """See AnomalyPredictor; the image is brought to its canvas in the thread that asks."""
        if close:
            return self.queue.do("other", lambda: super(QueuedPredictor, self).set_image(image, close=True))
        return self.kept(image.image_id) or self.queue.do("image", (image, *self._fit(image)))

    def _encode_waiting(
        self, fitted: Sequence[tuple[InspectionImage, NDArray[np.uint8], Letterbox]]
    ) -> list[EncodedImage]:
        """Encode images, the same one of two conversations once."""
        fresh = {image.image_id: (image, *rest) for image, *rest in fitted if self.kept(image.image_id) is None}
        encoded = self._grouped(list(fresh.values()), lambda one: one[1].shape, super()._encode)
        known = dict(zip(fresh, encoded, strict=True))
        return [known.get(image.image_id) or super(QueuedPredictor, self).set_image(image) for image, *_ in fitted]

    def _look_waiting(self, looks: Sequence[Look]) -> list[NDArray[np.float32]]:
        return self._grouped(looks, lambda look: look.features.embedding.shape, super()._look)

    @staticmethod
    def _grouped(items: Sequence[Any], key: Callable[[Any], Any], work: Callable[[list[Any]], list[Any]]) -> list[Any]:
        """Return the results of work on items, those with equal keys together, in the items' order."""
        places: dict[Any, list[int]] = {}
        for i, item in enumerate(items):
            places.setdefault(key(item), []).append(i)
        results: dict[int, Any] = {}
        for group in places.values():
            results |= zip(group, work([items[i] for i in group]), strict=True)
        return [results[i] for i in range(len(items))]

    def _read(self, readings: Sequence[Reading]) -> list[Prefix]:
        return [self.queue.do("chat", reading) for reading in readings]

    def _look(self, looks: Sequence[Look]) -> list[NDArray[np.float32]]:
        return [self.queue.do("mask", look) for look in looks]

    def _speak(self, steps: Sequence[Step]) -> list[tuple[int, Tensor | None]]:
        return [self.queue.do("word", step) for step in steps]

    def region_kinds(self, encoded: EncodedImage, masks: Tensor) -> list[tuple[str, float]]:
        """See AnomalyPredictor."""
        return self.queue.do("other", lambda: super(QueuedPredictor, self).region_kinds(encoded, masks))

"""AnomalyPredictor: an image is encoded once; masks and words about it come from what is kept of it, within bounds."""

# C canvas side, L tokens, D width of the LLM

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache, PreTrainedTokenizerBase

from agvas_core.anchors import find_anchors, gather_anchor_states
from agvas_core.encoded import EncodedImage, Glimpse, Look, Prefix, Reading, Step, common, digest, keep
from agvas_core.findings import masks_to_canvas
from agvas_core.good_parts import evenly
from agvas_core.memory_bank import MemoryBank, build_bank, peak_among, weigh
from agvas_core.modeling.agvas import AGVAS
from agvas_core.modeling.anyres import TiledImages, cut
from agvas_core.modeling.pixel_features import PixelFeatures, join_features
from agvas_core.modeling.static_words import static_words
from agvas_core.modeling.together import read_together
from agvas_core.outlines import outline
from agvas_core.processing import Letterbox, fit, limit_canvas, restore
from agvas_core.prompts import DEFAULT_INSTRUCTIONS, DIRECT_ANSWER, ChatTurn
from agvas_core.regions import make_prediction, without_weak_parts
from agvas_core.structures import InspectionImage, Prediction
from agvas_core.tokenizer import encode_chat, end_of_turn_id
from agvas_core.views import View, blend, joined_by_size, parts_along, raise_contrast, tiles, whole_views

IMAGES_KEPT = 6
BYTES_KEPT = 400_000_000  # of encoded images, and of glances: a long image, or the maps of a large one, takes 100 MB
CLOSE_LOOKS_KEPT = 1  # an image in tiles takes some 100 MB
WHOLE_SHARE, LONG_WHOLE_SHARE = 0.4, 0.6  # of the map of the whole image, where tiles or parts along it are seen, too
PREFIXES_KEPT = 4
BANKS_KEPT = 8  # of good examples: 12 MB each at most
PEAKS_PX = 1024  # longer side at which the maps of good examples are searched for their highest value
KINDS_KEPT = 256  # of regions: a later question about an image mostly shows the same ones


class AnomalyPredictor:
    """Masks and words from one model, for many users: holds no state of a conversation but bounded caches.

    says_anchors: replies may ask for a mask by themselves; not where the mask decoder is untrained.
    images_kept, prefixes_kept: how many images' features and how many read beginnings of chats are kept.
    bytes_kept: memory of the kept images' features, and of their glances, above which fewer are kept, at least one.
    """

    def __init__(
        self,
        model: AGVAS,
        tokenizer: PreTrainedTokenizerBase,
        *,
        device: str = "cpu",
        says_anchors: bool = True,
        images_kept: int = IMAGES_KEPT,
        prefixes_kept: int = PREFIXES_KEPT,
        bytes_kept: int = BYTES_KEPT,
    ) -> None:
        placed = getattr(model.lmm, "hf_device_map", None) is not None  # by backbones.load_backbones
        self.model = (model if placed else model.to(device)).eval()
        self.tokenizer, self.device = tokenizer, torch.device(device)
        self.images_kept, self.prefixes_kept, self.bytes_kept = images_kept, prefixes_kept, bytes_kept
        if self.device.type == "cpu" and model.config.pixel.kind == "conv":  # 5 to 10 % faster there
            model.pixel_encoder.serve()  # type: ignore[operator]
            model.agmd.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.static_words = static_words(model, self.device)
        self.ids = model.token_ids
        self.end_id = end_of_turn_id(tokenizer)
        self._images: OrderedDict[str, EncodedImage] = OrderedDict()
        self._close_looks: OrderedDict[str, EncodedImage] = OrderedDict()
        self._glances: OrderedDict[tuple[str, bool, tuple[str, ...]], Prediction] = OrderedDict()
        self._banks: OrderedDict[tuple[str, ...], MemoryBank] = OrderedDict()
        self._prefixes: OrderedDict[object, Prefix] = OrderedDict()
        self._kinds: OrderedDict[tuple[str, bytes], tuple[str, float]] = OrderedDict()
        self._never_said = self._unsayable(says_anchors)
        self._lock = threading.RLock()

    # --- images ------------------------------------------------------------------------------------------------------

    def set_image(self, image: InspectionImage, *, close: bool = False) -> EncodedImage:
        """Encode an image with both eyes, or return what is kept of it.

        close: look at it in tiles, too, at its own resolution; only where the pixel encoder serves any size.
        """
        with self._lock:
            if close and self.model.config.pixel.kind == "conv":
                return self._look_closely(image)
            return self.kept(image.image_id) or self._encode([(image, *self._fit(image))])[0]

    def kept(self, image_id: str) -> EncodedImage | None:
        """Return what is kept of an image, or None."""
        with self._lock:
            if image_id in self._images:
                self._images.move_to_end(image_id)
            return self._images.get(image_id)

    def _fit(self, image: InspectionImage) -> tuple[NDArray[np.uint8], Letterbox]:
        """Return an image on the pixel encoder's canvas, uint8 (C, C, 3), and how to come back."""
        config = self.model.config
        # the bundled encoder serves any size; pretrained ones their own, with nothing beyond the image
        own = config.pixel.kind == "conv"
        canvas = limit_canvas(image.size_hw, config.serving_px) if own else config.pixel.image_px
        return fit(image.rgb, canvas, bilinear=not own)

    @torch.inference_mode()
    def _encode(self, fitted: Sequence[tuple[InspectionImage, NDArray[np.uint8], Letterbox]]) -> list[EncodedImage]:
        """Encode images whose canvases are of one size, and keep them."""
        pixels = self._pixels([rgb for _, rgb, _ in fitted])  # (I, 3, C, C)
        seen: Tensor | TiledImages = self.model.semantic_input(pixels)
        if self.model.config.anyres:
            seen = cut(self.model.config, [image.rgb for image, _, _ in fitted], self.device)
        features = self.model.encode_image(seen, pixels, [letterbox.content_hw for _, _, letterbox in fitted])
        out = []
        for i, (image, rgb, letterbox) in enumerate(fitted):
            own = features if len(fitted) == 1 else features.alone(i)
            canvas_hw = (rgb.shape[0], rgb.shape[1])
            again, along = self._look_again(image), self._look_along(image)
            encoded = EncodedImage(image.image_id, own, letterbox, canvas_hw, image.rgb, again, along, LONG_WHOLE_SHARE)
            with self._lock:
                keep(self._images, image.image_id, encoded, self.images_kept, self.bytes_kept)
            out.append(encoded)
        return out

    def _pixels(self, canvases: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Return canvases as (I, 3, C, C) in [0, 1], on the device; they go there as bytes."""
        rgb = torch.stack([torch.from_numpy(canvas) for canvas in canvases]).to(self.device)
        return rgb.permute(0, 3, 1, 2).float() / 255

    def _look_again(self, image: InspectionImage) -> tuple[Glimpse, ...]:
        """Return further looks at the whole image: mirrored, and smaller."""
        config = self.model.config
        if config.pixel.kind != "conv" or not config.serving_also:
            return ()
        first = limit_canvas(image.size_hw, config.serving_px)
        _, *again = whole_views(image.size_hw, first, config.serving_also)
        return tuple(self._glimpse(image, view, canvas) for view, canvas in again)

    def _look_along(self, image: InspectionImage) -> tuple[Glimpse, ...]:
        """Return looks at the parts of a long image; none at others, and by other pixel encoders."""
        config = self.model.config
        if config.pixel.kind != "conv" or not config.serving_also:
            return ()
        return tuple(self._glimpse(image, part, config.serving_px) for part in parts_along(image.size_hw))

    def _look_closely(self, image: InspectionImage) -> EncodedImage:
        """Return the image's features with those of its tiles."""
        known = self._close_looks.get(image.image_id)
        if known is not None:
            return known
        serving_px = self.model.config.serving_px
        parts = tiles(image.size_hw, serving_px)
        if not parts:  # it is seen at its own resolution already
            return self.set_image(image)
        close = tuple(self._glimpse(image, view, serving_px) for view in parts)
        encoded = replace(self.set_image(image), tiles=close, whole_share=WHOLE_SHARE)
        keep(self._close_looks, image.image_id, encoded, CLOSE_LOOKS_KEPT)
        return encoded

    @torch.inference_mode()
    def _glimpse(self, image: InspectionImage, view: View, serving_px: int) -> Glimpse:
        part = view.crop(image.rgb)
        rgb, letterbox = fit(part, limit_canvas((part.shape[0], part.shape[1]), serving_px))
        if view.contrasted:
            rgb = raise_contrast(rgb)
        features = self.model.pixel_encoder(self._pixels([rgb]), [letterbox.content_hw])
        half = PixelFeatures(features.embedding.half(), tuple(f.half() for f in features.high_res))
        return Glimpse(view, half, letterbox)

    def has_image(self, image_id: str) -> bool:
        """Whether an image's features are at hand."""
        return image_id in self._images

    @torch.inference_mode()
    def memory_bank(self, good: Sequence[InspectionImage]) -> MemoryBank | None:
        """Return what images are compared with that are to be judged beside good ones, or None without any.

        Of more than MOST_EXAMPLES some are left out, evenly.
        """
        good = evenly(good)
        key = tuple(image.image_id for image in good)
        with self._lock:
            known = self._banks.get(key)
        if known is not None or not good:
            return known
        seen, maps = [], []
        for image in good:
            encoded = self.set_image(image)
            states = self._states(self.read(self._first_ids(encoded), encoded, anchors=True))
            step = -(-max(image.size_hw) // PEAKS_PX)  # its highest value is all that is wanted of a map
            maps.append(self._joined(states, encoded)[:, ::step, ::step])
            small_hw = (maps[-1].shape[1], maps[-1].shape[2])
            seen.append((encoded.features.pixel, Letterbox(small_hw, encoded.letterbox.canvas)))
        bank, rarities = build_bank(seen)
        bank = replace(bank, peak=peak_among(maps, rarities))
        with self._lock:
            keep(self._banks, key, bank, BANKS_KEPT)
        return bank

    # --- reading tokens ----------------------------------------------------------------------------------------------

    def read(
        self, ids: list[int], encoded: EncodedImage, region_masks: Tensor | None = None, *, anchors: bool = False
    ) -> Prefix:
        """Return a prefix that has read exactly ids (with image placeholders expanded), reusing the longest kept one.

        region_masks: bool (R, H, W) of the image, for the region placeholders in ids, in reading order.
        The states of all newly read tokens are in the prefix's hidden; with `anchors`, those of the last triple too.
        """
        return self._read([Reading(ids, encoded, region_masks, anchors)])[0]

    @torch.inference_mode()
    def _read(self, readings: Sequence[Reading]) -> list[Prefix]:
        """Read several chats in one pass."""
        keys, embeds, caches = [], [], []
        for r in readings:
            keys.append(() if r.region_masks is None else tuple(digest(mask) for mask in r.region_masks))
            limit = len(r.ids) - 1  # at least one token is left to read
            if r.anchors:
                limit = len(r.ids) - 1 - r.ids[::-1].index(self.ids.anchors[0])
            with self._lock:
                start, cache = self._reuse(r.ids, limit, r.encoded, keys[-1])
            embeds.append(self._embed(r.ids, start, r.encoded, r.region_masks))  # (1, L, D)
            caches.append(cache)
        out = []
        for r, key, cache, hidden in zip(
            readings, keys, caches, read_together(self.model, embeds, caches), strict=True
        ):
            prefix = Prefix(list(r.ids), cache, hidden, r.encoded.image_id, key)
            with self._lock:
                keep(self._prefixes, (r.encoded.image_id, key, tuple(r.ids)), prefix, self.prefixes_kept)
            out.append(prefix)
        return out

    def _reuse(
        self, ids: list[int], limit: int, encoded: EncodedImage, region_key: tuple[bytes, ...]
    ) -> tuple[int, DynamicCache]:
        """Return how many tokens a kept prefix saves, at most limit, and a copy of its cache cut to them."""
        best, found = 0, None
        first_region = ids.index(self.ids.region) if self.ids.region in ids else len(ids)
        for prefix in self._prefixes.values():
            if prefix.image_id != encoded.image_id:
                continue
            same = common(prefix.ids, ids)
            if prefix.region_key != region_key:
                same = min(same, first_region)
            if same > best:
                best, found = same, prefix
        best = min(best, limit)
        cache = DynamicCache(config=self.model.lmm.config.text_config)
        if found is None or best <= encoded.tokens:
            return 0, cache
        if self.static_words is not None:
            self.static_words.settle(found.cache)
        for i, layer in enumerate(found.cache.layers):
            cache.update(layer.keys[:, :, :best].clone(), layer.values[:, :, :best].clone(), i)
        return best, cache

    def _embed(self, ids: list[int], start: int, encoded: EncodedImage, region_masks: Tensor | None) -> Tensor:
        fresh = torch.tensor([ids[start:]])  # counted on the host: nothing waits for the device
        has_image = self.ids.image in ids[start:]
        assert not has_image or start <= ids.index(self.ids.image), "a cut inside the image's tokens"
        regions = None
        skipped, wanted = ids[:start].count(self.ids.region), ids[start:].count(self.ids.region)
        if wanted:
            assert region_masks is not None
            regions = self._region_tokens(encoded, region_masks[skipped : skipped + wanted])
        visual = encoded.features.visual if has_image else None
        return self.model.embed(fresh, visual, regions, device=self.device)

    def _region_tokens(self, encoded: EncodedImage, masks: Tensor) -> Tensor:
        """Return region tokens (R, D) of masks (R, H, W) in the image's own pixels."""
        on_canvas = masks_to_canvas(masks, encoded.letterbox).to(self.device)
        return self.model.region_tokens(encoded.features.pixel, on_canvas)[0]

    @torch.inference_mode()
    def region_kinds(self, encoded: EncodedImage, masks: Tensor) -> list[tuple[str, float]]:
        """Return for each mask (R, H, W) the likeliest kind of defect and its probability; [] without a kind head."""
        if self.model.region_reader is None or self.model.region_reader.kind_head is None or not len(masks):
            return []
        keys = [(encoded.image_id, digest(mask)) for mask in masks]
        with self._lock:
            known = {key: self._kinds[key] for key in keys if key in self._kinds}
        fresh = [i for i, key in enumerate(keys) if key not in known]
        if fresh:
            known |= dict(zip((keys[i] for i in fresh), self._read_kinds(encoded, masks[fresh]), strict=True))
            with self._lock:
                for key, kind in known.items():
                    keep(self._kinds, key, kind, KINDS_KEPT)
        return [known[key] for key in keys]

    def _read_kinds(self, encoded: EncodedImage, masks: Tensor) -> list[tuple[str, float]]:
        on_canvas = masks_to_canvas(masks, encoded.letterbox).to(self.device)
        _, logits = self.model.region_tokens(encoded.features.pixel, on_canvas)
        assert logits is not None
        best = logits.softmax(1).max(1)
        names = self.model.config.decoder.region_kinds
        return [(names[int(k)], float(p)) for k, p in zip(best.indices, best.values, strict=True)]

    # --- masks -------------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def decode(
        self, prefix: Prefix, encoded: EncodedImage, bank: MemoryBank | None = None, **options: object
    ) -> Prediction:
        """Return the mask of the last anchor triple among the prefix's newest tokens; see decode_states."""
        return self.decode_states(self._states(prefix), encoded, bank=bank, **options)

    def _states(self, prefix: Prefix) -> Tensor:
        """Return the states (1, 3, D) of the last anchor triple among a prefix's newest tokens."""
        newest = torch.tensor([prefix.ids[-prefix.hidden.shape[1] :]])
        rows = find_anchors(newest, self.ids.anchors)  # on the host: nothing waits for the device
        assert len(rows), "no anchors among the newest tokens"
        return gather_anchor_states(prefix.hidden, rows[-1:].to(prefix.hidden.device, non_blocking=True))

    @torch.inference_mode()
    def decode_states(
        self, states: Tensor, encoded: EncodedImage, bank: MemoryBank | None = None, **options: object
    ) -> Prediction:
        """Return the mask of anchor states (1, 3, D).

        bank: of good examples, with which the map is weighed; options: as in make_prediction.
        """
        maps, peak = self._joined(states, encoded), self.model.config.serving_peak
        if bank is not None:  # what the good examples themselves would show is no defect
            maps = weigh(maps, bank.rarity(encoded.features.pixel, encoded.letterbox))
            peak = max(peak, bank.peak)
        # Paper differs: P > 0.5 is the mask there; here a part of it must somewhere be clearer than that
        p_seg, p_ano = without_weak_parts(maps, peak)
        probabilities = {"p_seg": p_seg, "p_nor": 1 - p_ano, "p_ano": p_ano}  # a softmax of two: only one is carried
        return make_prediction(image_id=encoded.image_id, **probabilities, **options)  # type: ignore[arg-type]

    def _joined(self, states: Tensor, encoded: EncodedImage) -> NDArray[np.float32]:
        """Return p_seg and p_ano (2, H, W) of all looks: the root mean square of the views' maps, see views.py.

        Their outlines follow the image, see outlines.py.
        """
        size_hw = encoded.letterbox.size_hw
        first = self._maps(states, encoded.features.pixel, encoded.letterbox)  # (2, H, W)
        # Paper differs: it looks once; here the maps of several looks are joined, and those of tiles
        again = ((glimpse.letterbox.canvas, self._maps_of(states, glimpse)) for glimpse in encoded.again)
        maps = joined_by_size(chain([(encoded.letterbox.canvas, first)], again))
        if encoded.tiles:
            parts = ((glimpse.view, self._maps_of(states, glimpse)) for glimpse in encoded.tiles)
            left, _, right, _ = encoded.tiles[0].view.box_xyxy
            close = blend(parts, size_hw, right - left)
            maps = encoded.whole_share * maps + (1 - encoded.whole_share) * close
        np.clip(maps, 0, 1, out=maps)
        return outline(maps, encoded.rgb, self.model.config.serving_outline, encoded.seen_px)

    def _maps(self, states: Tensor, features: PixelFeatures, letterbox: Letterbox) -> NDArray[np.float32]:
        """Return p_seg and p_ano (2, H, W) of one view of H x W px."""
        return self._look([Look(states, features, letterbox)])[0]

    @torch.inference_mode()
    def _look(self, looks: Sequence[Look]) -> list[NDArray[np.float32]]:
        """Return p_seg and p_ano (2, H, W) of views whose canvases are of one size, decoded in one pass."""
        features = join_features([look.features for look in looks])
        logits = self.model.decode_masks(torch.cat([look.states for look in looks]), features)
        p_seg, _, p_ano = logits.probabilities()
        maps = torch.stack((p_seg, p_ano), dim=1)  # (A, 2, h, w)
        return [restore(own, look.letterbox) for own, look in zip(maps, looks, strict=True)]

    def _maps_of(self, states: Tensor, glimpse: Glimpse) -> NDArray[np.float32]:
        full = PixelFeatures(glimpse.features.embedding.float(), tuple(f.float() for f in glimpse.features.high_res))
        return glimpse.view.back(self._maps(states, full, glimpse.letterbox))

    def expand(self, ids: list[int], encoded: EncodedImage | None = None) -> list[int]:
        """Return ids with each placeholder as often as the model has tokens for it; encoded: of an image in tiles."""
        config = self.model.config
        of_image = config.image_tokens if encoded is None else encoded.tokens
        repeats = {self.ids.image: of_image, self.ids.region: config.region_tokens}
        return [t for token in ids for t in [token] * repeats.get(token, 1)]

    def direct_ids(self, instruction: str, encoded: EncodedImage | None = None) -> list[int]:
        """Return the tokens of a first question and its fixed direct answer; encoded: as in expand."""
        turns = [ChatTurn("user", instruction), ChatTurn("assistant", DIRECT_ANSWER)]
        return self.expand(encode_chat(self.tokenizer, turns).input_ids, encoded)

    def _first_ids(self, encoded: EncodedImage) -> list[int]:
        return self.direct_ids(DEFAULT_INSTRUCTIONS["direct"], encoded)

    def glance(
        self, image: InspectionImage, *, close: bool = False, good: Sequence[InspectionImage] = ()
    ) -> Prediction:
        """Return the direct mode's mask of an image by the default instruction, kept per image: words measure by it.

        good: images that it is compared with.
        """
        key = (image.image_id, close, tuple(example.image_id for example in good))
        with self._lock:
            known = self._glances.get(key)
        if known is not None:
            return known
        bank = self.memory_bank(good)
        encoded = self.set_image(image, close=close)
        prediction = self.decode(self.read(self._first_ids(encoded), encoded, anchors=True), encoded, bank=bank)
        with self._lock:
            keep(self._glances, key, prediction, self.images_kept, self.bytes_kept)
        return prediction

    # --- words -------------------------------------------------------------------------------------------------------

    def generate(
        self, prefix: Prefix, encoded: EncodedImage, max_new_tokens: int, stop: threading.Event | None = None
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield (token id, state (D,) at that token's own position), greedily, until <|im_end|>, the bound or stop.

        After [NOR] the other two anchors follow always, and they never come otherwise: a lone anchor has no meaning.
        Placeholders and the other control tokens, which nobody but the renderer may write, are never chosen.
        """
        nor, ano, seg = self.ids.anchors
        forced: list[int] = []
        hidden = prefix.hidden[:, -1]
        for _ in range(max_new_tokens):
            if stop is not None and stop.is_set():
                return
            token, state = self._say(Step(hidden, prefix.cache, forced.pop(0) if forced else None))
            if state is None:
                return
            if token == nor:
                forced = [ano, seg]
            hidden = state
            prefix.ids.append(token)
            yield token, hidden[0]

    def _say(self, step: Step) -> tuple[int, Tensor | None]:
        """Return the next word of a reply and the state (1, D) at its own position, None when it ends the reply."""
        return self._speak([step])[0]

    @torch.inference_mode()
    def _speak(self, steps: Sequence[Step]) -> list[tuple[int, Tensor | None]]:
        """Say the next word of several replies in one pass."""
        free = [step.hidden for step in steps if step.forced is None]
        chosen = iter(self._next_words(torch.cat(free)) if free else ())
        words = [next(chosen) if step.forced is None else step.forced for step in steps]
        going = [i for i, word in enumerate(words) if word != self.end_id]
        states: list[Tensor | None] = [None] * len(steps)
        if going:
            said = torch.tensor([[words[i]] for i in going]).to(self.device, non_blocking=True)  # (B, 1)
            embeds = self.model.lmm.get_input_embeddings()(said).split(1)  # B times (1, 1, D)
            caches = [steps[i].cache for i in going]
            read = self.static_words.read if self.static_words is not None else partial(read_together, self.model)
            for i, hidden in zip(going, read(embeds, caches), strict=True):
                states[i] = hidden[:, -1]
        return list(zip(words, states, strict=True))

    def _next_words(self, hidden: Tensor) -> list[int]:
        """Return the likeliest tokens after states (B, D) among those that a reply may hold."""
        logits = self.model.word_logits(hidden).float()  # (B, V)
        return logits.index_fill(1, self._never_said.to(logits.device), float("-inf")).argmax(1).tolist()

    def _unsayable(self, says_anchors: bool) -> Tensor:
        """Return the ids that no reply may choose: control tokens but [NOR] and the end, and rows without a token."""
        sayable = {self.end_id} | ({self.ids.anchors[0]} if says_anchors else set())
        control = {i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        rows = range(len(self.tokenizer), self.model.config.llm.vocab_size)
        return torch.tensor(sorted((control - sayable) | set(rows)), dtype=torch.int64, device=self.device)

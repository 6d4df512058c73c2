"""The bundled model's tokenizer (byte-level BPE over the chat's words), and chats turned into any model's ids."""

# Control tokens become ids only where the renderer puts them; no text, whoever wrote it, can spell one.

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from agvas_core.prompts import (
    CONTROL_TOKENS,
    END_OF_TEXT,
    IM_END,
    MEASURED_OPEN,
    VICUNA_END,
    ChatTurn,
    Piece,
    chat_pieces,
    vicuna_pieces,
)

CORPUS_TALKS = 6000
CORPUS_SEED = 20
MAX_LENGTH = 4096


@dataclass(frozen=True)
class EncodedChat:
    """A chat as the language model reads it.

    Attributes:
        input_ids: token ids.
        answer_mask: for each id, True when the model itself is to say it (anchors and <|im_end|> included, the measured
            line not): where it is False, a label is -100.
    """

    input_ids: list[int]
    answer_mask: list[bool]

    def labels(self) -> list[int]:
        """Return the ids with -100 wherever the model is not to learn them."""
        return [i if said else -100 for i, said in zip(self.input_ids, self.answer_mask, strict=True)]


def corpus(talks: int = CORPUS_TALKS, seed: int = CORPUS_SEED) -> Iterator[str]:
    """Yield the plain text of made-up talks, always the same."""
    # synthesis is needed to build a tokenizer, never to use one
    from agvas_core.synthesis.words import random_scene, talk, talk_turns

    rng = random.Random(seed)
    for _ in range(talks):
        scene = random_scene(rng)
        for piece in chat_pieces(talk_turns(scene, talk(scene, rng, slip_share=0.0))):
            if not piece.special:
                yield piece.text


def build_tokenizer(vocab_size: int = 1280, talks: int = CORPUS_TALKS) -> PreTrainedTokenizerFast:
    """Train the tokenizer, always the same: control tokens first (ids in their order), digits one by one.

    Every byte is an entry, so that any Unicode can be encoded and decoded.
    """
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\d"), "isolated"),
            pre_tokenizers.Split(
                Regex("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]"), "isolated"
            ),  # one Chinese sign at a time
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(corpus(talks), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=END_OF_TEXT,
        eos_token=IM_END,
        extra_special_tokens=[t for t in CONTROL_TOKENS if t not in (END_OF_TEXT, IM_END)],
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
    )


def encode_chat(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[ChatTurn], add_generation_prompt: bool = False
) -> EncodedChat:
    """Return the ids of a chat and which of them are the model's own words.

    A base's tokenizer has no tokens for the measured line: there it is left out, and words come from the image alone.
    """
    if not _knows(tokenizer, MEASURED_OPEN):
        turns = [replace(turn, measured="") for turn in turns]
    pieces = chat_pieces if _knows(tokenizer, IM_END) else vicuna_pieces
    return encode_pieces(tokenizer, list(pieces(turns, add_generation_prompt)))


def end_of_turn_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the id that ends the assistant's turn."""
    return _special_id(tokenizer, IM_END if _knows(tokenizer, IM_END) else VICUNA_END)


def encode_pieces(tokenizer: PreTrainedTokenizerBase, pieces: Sequence[Piece]) -> EncodedChat:
    """Return the ids of pieces of a chat; a special piece is looked up, a plain one can only become plain ids."""
    input_ids: list[int] = []
    answer_mask: list[bool] = []
    for piece in pieces:
        ids = [_special_id(tokenizer, piece.text)] if piece.special else _encode_plain(tokenizer, piece.text)
        input_ids += ids
        answer_mask += [piece.answer] * len(ids)
    return EncodedChat(input_ids, answer_mask)


def _knows(tokenizer: PreTrainedTokenizerBase, token: str) -> bool:
    return tokenizer.convert_tokens_to_ids(token) not in (None, tokenizer.unk_token_id)


def _special_id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    if not _knows(tokenizer, token):
        raise ValueError(f"the tokenizer does not know the control token {token!r}")
    return int(tokenizer.convert_tokens_to_ids(token))


def _encode_plain(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return ids from the BPE model alone: added tokens are not looked for, and no shared state is switched."""
    backend = tokenizer.backend_tokenizer
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    words = [text]
    if backend.pre_tokenizer is not None:  # older Llama tokenizers leave all to the normalizer
        words = [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text)]
    return [token.id for word in words for token in backend.model.tokenize(word)]

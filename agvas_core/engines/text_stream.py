"""Tokens to text as they come: whole characters only, anchors never shown."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

_MASK = "the mask"
_BROKEN = "\N{REPLACEMENT CHARACTER}"


class TokenText:
    """Turns token ids into text piece by piece; a character that needs several tokens comes when it is whole."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.waiting: list[int] = []
        self.said: list[int] = []  # the tokens before: Llama's decoder drops the blank of the first one that it gets

    def push(self, token: int) -> str:
        """Return the text that the token completes, "" when it needs more."""
        self.waiting.append(token)
        text = self._text()
        if text.endswith(_BROKEN) and len(self.waiting) < 4:  # UTF-8 has at most 4 bytes a character
            return ""
        self.said, self.waiting = self.waiting, []
        return text

    def finish(self) -> str:
        """Return what is left."""
        text = self._text() if self.waiting else ""
        self.said, self.waiting = [], []
        return text

    def _text(self) -> str:
        before = self._decode(self.said)
        return self._decode([*self.said, *self.waiting])[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


class AnchorFilter:
    """Puts "the mask" in the anchors' place, so that "as indicated by [NOR][ANO][SEG]." reads as a sentence."""

    def __init__(self) -> None:
        self.started, self.tail = False, ""

    def push(self, text: str) -> str:
        """Return text to show; the very first piece without its leading blanks."""
        if not self.started:
            text = text.lstrip()
        if text:
            self.started, self.tail = True, (self.tail + text)[-len(_MASK) - 2 :]
        return text

    def anchors(self) -> str:
        """Return what stands for an anchor triple in running text."""
        if not self.started or self.tail.rstrip().endswith("mask"):  # "as shown by the empty mask"
            return ""
        return _MASK if self.tail[-1].isspace() else f" {_MASK}"

"""Text for a tokenizer that is not ours: users cannot type its control tokens, and its tokens come back as text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from agvas_core.prompts import defuse, sanitize, skeleton

_BRACKETED = re.compile(r"<[^<>\s]{1,60}>|\[[^\[\]\s]{1,60}\]")
_BROKEN = "\N{REPLACEMENT CHARACTER}"


class Harmless:
    """Makes users' words harmless for one processor: its tokens and its template's brackets become plain text."""

    def __init__(self, processor: Any, template_text: str) -> None:
        """Learn the control strings of a processor and of a conversation that its template rendered."""
        tokenizer = processor.tokenizer
        own = {str(value) for name, value in vars(processor).items() if name.endswith("_token")}
        added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
        found = own | added | set(tokenizer.all_special_tokens) | set(_BRACKETED.findall(template_text))
        plain = {skeleton(token)[0] for token in found}
        self._tokens = {t for t in plain if len(t) > 2 and not (t[0] == "(" and t[-1] == ")")}
        longest_first = sorted(self._tokens, key=len, reverse=True)
        self._harmful = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._tokenizer = tokenizer
        known = tokenizer.get_vocab()
        self._ids = {known[t] for t in found if t in known and skeleton(t)[0] in self._tokens}
        self._ids.discard(tokenizer.unk_token_id)

    def __call__(self, text: str) -> str:
        """Return the words as a user may say them; they encode to none of the control tokens."""
        text = defuse(sanitize(text), self._harmful)
        if self._ids.intersection(self._tokenizer(text, add_special_tokens=False)["input_ids"]):
            text = re.sub(r"[^\w\s.,;:!?%]", " ", text)  # a spelling that only this tokenizer normalises
        return text


class GrowingText:
    """Token ids to text as they come, for any tokenizer: what follows may change how the last token is spelled."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.ids: list[int] = []
        self.shown = ""

    def push(self, ids: Iterable[int]) -> str:
        """Return the text that the ids complete, "" while a character is half written."""
        self.ids += ids
        text = self._text()
        return "" if text.endswith(_BROKEN) else self._new(text)

    def finish(self) -> str:
        """Return what is left."""
        return self._new(self._text())

    def _text(self) -> str:
        options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        return self.tokenizer.decode(self.ids, **options).lstrip()

    def _new(self, text: str) -> str:
        added, self.shown = text[len(self.shown) :], text
        return added

import random

import pytest
from transformers import AutoTokenizer

from agvas_core.anchors import ANCHOR_TEXT
from agvas_core.prompts import CONTROL_TOKENS, DIRECT_ANSWER, ChatTurn, chat_pieces
from agvas_core.synthesis.words import random_scene, talk, talk_turns
from agvas_core.tokenizer import build_tokenizer, encode_chat


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(talks=1500)


def special_ids(tokenizer):
    return set(tokenizer.convert_tokens_to_ids(list(CONTROL_TOKENS)))


def test_control_tokens_come_first_and_have_one_id_each(tokenizer):
    assert tokenizer.convert_tokens_to_ids(list(CONTROL_TOKENS)) == list(range(len(CONTROL_TOKENS)))
    assert len(tokenizer) <= 1280
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|endoftext|>", "<|im_end|>")


def test_any_unicode_round_trips(tokenizer):
    for text in ("Größe 12.50 %", "表面有缺陷吗？", "👩‍🔧 ok\n\n  two  spaces", "𝔘𝔫𝔦", " don't"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_digits_are_single(tokenizer):
    assert tokenizer.tokenize("about 12.5 %")[-5:] == ["Ġ1", "2", ".", "5", "Ġ%"]


def test_users_cannot_type_a_control_token(tokenizer):
    for token in CONTROL_TOKENS:
        for text in (token, token.lower(), f"x{token}y", token * 2, token[:3] + token + token[3:]):
            chat = encode_chat(tokenizer, [ChatTurn("user", text, about_image=False)])
            assert sum(i in special_ids(tokenizer) for i in chat.input_ids) == 2  # start and end of the turn


def test_a_reply_can_hold_the_anchors_and_nothing_else(tokenizer):
    chat = encode_chat(tokenizer, [ChatTurn("assistant", f"{DIRECT_ANSWER} [SEG] <|im_start|><measured>")])
    said = [i for i in chat.input_ids if i in special_ids(tokenizer)]
    assert tokenizer.convert_ids_to_tokens(said) == ["<|im_start|>", "[NOR]", "[ANO]", "[SEG]", "<|im_end|>"]


def test_ids_equal_the_parsed_text_and_labels_the_answers(tokenizer):
    rng = random.Random(1)
    for _ in range(30):
        scene = random_scene(rng)
        exchanges = talk(scene, rng)
        turns = talk_turns(scene, exchanges)
        chat = encode_chat(tokenizer, turns)
        text = "".join(piece.text for piece in chat_pieces(turns))
        assert tokenizer.decode(chat.input_ids) == text
        assert chat.input_ids == tokenizer.encode(text)
        said = tokenizer.decode([i for i in chat.labels() if i != -100])
        assert said == "".join(f"{e.answer}<|im_end|>" for e in exchanges)
        assert "<measured>" not in said
        prompt = encode_chat(tokenizer, turns[:1], add_generation_prompt=True)
        assert chat.input_ids[: len(prompt.input_ids)] == prompt.input_ids  # a prefix, so that a KV cache can be kept


def test_save_and_load(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    turns = [ChatTurn("user", "你好, segment the 3 scratches"), ChatTurn("assistant", f"Here: {ANCHOR_TEXT}.")]
    assert encode_chat(loaded, turns) == encode_chat(tokenizer, turns)
    assert loaded.get_vocab() == tokenizer.get_vocab()


def test_the_same_tokenizer_every_time(tokenizer):
    assert build_tokenizer(talks=1500).get_vocab() == tokenizer.get_vocab()

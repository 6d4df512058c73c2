import torch

from agvas_core.anchors import ANCHOR_TOKENS, add_anchor_tokens, find_anchors, gather_anchor_states

IDS = (7, 8, 9)


def test_triples_are_found_in_reading_order():
    ids = torch.tensor([[1, 7, 8, 9, 2, 7, 8, 9], [7, 8, 9, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1, 1]])
    assert find_anchors(ids, IDS).tolist() == [[0, 1, 2, 3], [0, 5, 6, 7], [1, 0, 1, 2]]


def test_lone_anchors_count_for_nothing():
    for row in ([7], [9, 8, 7], [7, 1, 8, 9], [7, 8, 1, 9], [7, 7, 8, 8, 9], [8, 9], [7, 8]):
        assert find_anchors(torch.tensor([row]), IDS).shape == (0, 4)


def test_a_triple_after_a_lone_anchor_counts():
    assert find_anchors(torch.tensor([[7, 7, 8, 9, 9]]), IDS).tolist() == [[0, 1, 2, 3]]


def test_states_are_those_at_the_anchors_own_positions():
    hidden = torch.arange(2 * 6 * 1).float().view(2, 6, 1)
    states = gather_anchor_states(hidden, torch.tensor([[1, 2, 3, 4], [0, 0, 1, 2], [1, 0, 1, 2]]))
    assert states.squeeze(-1).tolist() == [[8, 9, 10], [0, 1, 2], [6, 7, 8]]
    assert gather_anchor_states(hidden, torch.zeros(0, 4, dtype=torch.int64)).shape == (0, 3, 1)


def test_states_pass_their_gradient_on():
    hidden = torch.zeros(1, 5, 2, requires_grad=True)
    gather_anchor_states(hidden, torch.tensor([[0, 1, 2, 3]])).sum().backward()
    assert hidden.grad.sum(-1).tolist() == [[0, 2, 2, 2, 0]]


def small_tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({"<unk>": 0, "it": 1, "is": 2}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


def test_anchors_are_added_once_to_a_foreign_tokenizer():
    tokenizer = small_tokenizer()
    before = len(tokenizer)
    ids = add_anchor_tokens(tokenizer)
    assert ids == (before, before + 1, before + 2)
    assert add_anchor_tokens(tokenizer) == ids
    assert len(tokenizer) == before + 3
    assert tokenizer.encode("it is [NOR][ANO][SEG]", add_special_tokens=False) == [1, 2, *ids]


def test_the_bundled_tokenizer_has_them_already(tokenizer, token_ids):
    before = len(tokenizer)
    assert add_anchor_tokens(tokenizer) == token_ids.anchors
    assert len(tokenizer) == before
    assert tokenizer.convert_ids_to_tokens(list(token_ids.anchors)) == list(ANCHOR_TOKENS)

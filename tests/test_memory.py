import pytest

from agvas_core import memory
from agvas_core.config import get_preset
from agvas_core.memory import BYTES, GIB, Part, check_memory, count_parts, free_memory, memory_needed


def parts(preset, pixel=None):
    return {p.name: p for p in count_parts(get_preset(preset, pixel))}


def test_parts_of_the_papers_model():
    found = parts("onevision-7b")
    millions = {name: round(part.parameters / 1e6, 1) for name, part in found.items()}
    # Qwen2-7B has 7.6 billion parameters, SigLIP so400m without its last layer 0.4, SAM ViT-H 0.64
    assert (millions["language model"], millions["semantic encoder"], millions["pixel encoder"]) == (
        7616.1,
        397.7,
        637.0,
    )
    assert found["anchor rows"].parameters == 3 * 2 * 3584
    assert found["language model"].quantised == 28 * (2 * 3584**2 + 2 * 3584 * 512 + 3 * 3584 * 18_944)
    lora = 28 * 16 * (2 * (3584 + 3584) + 2 * (3584 + 512) + 3 * (3584 + 18_944))
    assert found["language model"].trained == found["language model"].added == lora


def test_only_what_an_adapter_holds_is_trained():
    found = parts("llava-13b")
    whole = {name for name, part in found.items() if part.trained == part.parameters}
    assert whole == {"anchor rows", "SPAM", "Token Refiner", "AGMD"}
    assert {name for name, part in found.items() if not part.trained} == {
        "semantic encoder",
        "visual projector",
        "pixel encoder",
    }


def test_the_pixel_encoder_can_be_another():
    assert parts("onevision-0.5b", "dinov3-l")["pixel encoder"].parameters == pytest.approx(303e6, rel=0.01)
    assert parts("onevision-0.5b")["pixel encoder"].parameters == pytest.approx(90e6, rel=0.01)


def test_bytes_of_a_part():
    part = Part("x", parameters=1000, quantised=600, trained=100, added=100)
    assert part.bytes("float32") == 4000
    assert part.bytes("bf16") == 2000
    assert part.bytes("int8") == 600 + 2 * 400
    assert part.bytes("nf4") == pytest.approx(600 * BYTES["nf4"] + 2 * 400)
    assert part.bytes("train") == 2 * 1000 + 16 * 100
    assert BYTES["nf4"] == pytest.approx(4.127 / 8, abs=1e-3)  # QLoRA: 0.127 bits a weight beside the four


def test_weights_of_the_papers_model_in_memory():
    weights = {use: sum(p.bytes(use) for p in count_parts(get_preset("onevision-7b"))) / GIB for use in ("bf16", "nf4")}
    assert weights["bf16"] == pytest.approx(16.3, abs=0.1)
    assert weights["nf4"] == pytest.approx(7.3, abs=0.1)


def test_what_fits_is_let_through():
    check_memory(get_preset("onevision-7b"), "bf16", device="cuda", free=80 * GIB)
    check_memory(get_preset("onevision-0.5b"), "bf16", device="cuda", free=4 * GIB)  # the promise: it fits 4 GB


def test_what_does_not_fit_is_said_with_numbers_and_choices():
    with pytest.raises(ValueError) as caught:
        check_memory(get_preset("onevision-7b"), "bf16", device="cuda", free=12 * GIB)
    said = str(caught.value)
    assert said.startswith(
        "onevision-7b with sam-h needs about 17.9 GiB for bf16, and cuda has 12.0 GiB free. What fits: "
    )
    assert "--quantization int8 (" in said
    assert "--model onevision-0.5b --pixel sam-b (" in said
    for choice, quantised in (("int8", "int8"), ("nf4", "nf4")):
        if choice in said:
            assert memory_needed(get_preset("onevision-7b"), quantised) <= 12 * GIB
    with pytest.raises(ValueError, match=r"needs about .* for LoRA training, .*cuda has 6\.0 GiB"):
        check_memory(get_preset("onevision-7b"), "train", device="cuda", free=6 * GIB)
    with pytest.raises(ValueError, match="None of the presets fits"):
        check_memory(get_preset("onevision-0.5b"), "bf16", device="cuda", free=GIB)


def test_no_quantization_is_proposed_on_a_cpu():
    with pytest.raises(ValueError) as caught:
        check_memory(get_preset("onevision-7b"), "float32", device="cpu", free=20 * GIB)
    assert "--quantization" not in str(caught.value)


def test_unknown_free_memory_stops_nobody(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device: None)
    check_memory(get_preset("llava-13b"), "float32", device="cpu")


def test_free_memory_of_this_machine():
    free = free_memory("cpu")
    assert free is None or free > 2**20

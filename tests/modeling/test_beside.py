"""Work on a stream of its own: at once without one; with one in the right order, by streams that only log."""

from contextlib import contextmanager

import pytest
import torch

from agvas_core.config import PixelConfig
from agvas_core.modeling.beside import SWITCH, Beside
from agvas_core.modeling.pixel_encoder import build_pixel_encoder
from tests.modeling.on_the_host import HostOperations

CUDA = torch.device("cuda", 0)


class Values:
    """A tensor on CUDA, as far as Beside looks at it."""

    is_cuda, device = True, CUDA

    def __init__(self, name, log):
        self.name, self.log = name, log

    def record_stream(self, stream):
        self.log.append(f"{self.name} is held for {stream.name}")


@pytest.fixture
def log(monkeypatch):
    """What the streams are told, in order."""
    told = []

    class Stream:
        def __init__(self, device=None, name="side"):
            assert device == CUDA
            self.name = name
            told.append(f"{name} is made")

        def wait_stream(self, other):
            told.append(f"{self.name} waits for {other.name}")

    own = Stream(CUDA, "own")

    @contextmanager
    def entered(stream):
        told.append(f"on {stream.name}")
        yield
        told.append(f"off {stream.name}")

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", entered)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: own)
    told.clear()
    return told


def begin(beside, log, reads=None):
    reads = Values("input", log) if reads is None else reads
    return beside.begin(lambda: log.append("work") or [Values("result", log)], reads, lambda made: made)


def test_one_stream_waits_for_the_other_before_the_work_and_after_it(log):
    beside = Beside(True)
    with torch.inference_mode():
        result_of = begin(beside, log)
        assert log == [
            "side is made",
            "side waits for own",
            "on side",
            "work",
            "off side",
            "input is held for side",
        ]
        log.clear()
        (result,) = result_of()
        assert result.name == "result"
        assert log == ["own waits for side", "result is held for own"]
        log.clear()
        begin(beside, log)()
    assert "side is made" not in log  # the same one again


def test_without_a_second_stream_work_is_done_at_once(log, monkeypatch):
    with torch.inference_mode():
        for beside, reads in (
            (Beside(False), Values("input", log)),  # not wanted
            (Beside(True), torch.zeros(1)),  # on a CPU
        ):
            log.clear()
            result_of = begin(beside, log, reads)
            assert log == ["work"]
            assert result_of()[0].name == "result"
            assert log == ["work"]
    log.clear()
    begin(Beside(True), log)  # gradients are kept
    assert log == ["work"]
    monkeypatch.setenv(SWITCH, "0")
    assert not Beside().wanted
    monkeypatch.delenv(SWITCH)
    assert Beside().wanted


def test_what_work_raises_is_raised_where_it_began(log):
    def breaks():
        raise ValueError("no")

    for reads in (torch.zeros(1), Values("input", log)):
        with torch.inference_mode(), pytest.raises(ValueError, match="no"):
            Beside(True).begin(breaks, reads, lambda made: made)


@pytest.mark.parametrize("begins", ["first", "last"])
def test_the_eyes_see_the_same_whichever_looks_first(make_model, monkeypatch, begins):
    """Nothing reads what the pixel eye has seen before it is asked for: late is as good as early."""
    model, order = make_model(), []
    pixels = torch.rand(2, 3, 64, 64)
    semantic = model.encode_semantic

    class Late(Beside):
        def begin(self, work, reads, tensors_of):
            assert reads is pixels
            made = [work()] if begins == "first" else []

            def result_of():
                order.append("joined")
                seen = made[0] if made else work()
                assert len(list(tensors_of(seen))) == 1 + len(seen.high_res)
                return seen

            return result_of

    with torch.inference_mode():
        expected = model.encode_image(model.semantic_input(pixels), pixels)
        monkeypatch.setattr(model, "encode_semantic", lambda v: order.append("semantic") or semantic(v))
        model.beside = Late(True)
        seen = model.encode_image(model.semantic_input(pixels), pixels)
    assert order == ["semantic", "joined"]
    assert torch.equal(seen.visual, expected.visual)
    for a, b in zip(seen.pixel.tensors, expected.pixel.tensors, strict=True):
        assert torch.equal(a, b)


def test_sam_waits_for_nothing_of_the_host():
    """Its tables of positions were once made on the host in each layer, which then waited for the device."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "global_attn_indexes": [1]}
    config = PixelConfig(kind="sam", image_px=64, width=32, backbone={**sizes, "window_size": 2})
    watch = HostOperations()

    with torch.device("meta"):
        encoder = build_pixel_encoder(config)
        values = torch.zeros(1, 3, 64, 64)
    with torch.inference_mode(), watch:
        seen = encoder.look(values)
    assert seen.embedding.shape == (1, 32, 4, 4)
    assert watch.names == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_two_streams_see_what_one_sees(make_model):
    model, pixels = make_model().to("cuda"), torch.rand(2, 3, 256, 256, device="cuda")
    with torch.inference_mode():
        for turn in range(10):  # memory of one turn is used again in the next
            seen = []
            for wanted in (False, True):
                model.beside = Beside(wanted)
                seen.append(model.encode_image(model.semantic_input(pixels), pixels))
            torch.testing.assert_close(seen[0].visual, seen[1].visual, msg=f"turn {turn}")
            torch.testing.assert_close(seen[0].pixel.embedding, seen[1].pixel.embedding, msg=f"turn {turn}")
            pixels = pixels.flip(0, 2)
    model.cpu()

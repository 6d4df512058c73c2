from dataclasses import replace

import pytest
import torch

from agvas_core.modeling import region_reader
from agvas_core.modeling.pixel_encoder import PixelFeatures
from agvas_core.modeling.region_reader import RegionReader


def reader(kinds=4, high_res=(16, 16)):
    torch.manual_seed(0)
    return RegionReader(pixel_width=32, high_res_widths=high_res, width=24, kinds=kinds).eval()


def features(count=3, high_res=True):
    torch.manual_seed(1)
    fine = (torch.randn(count, 16, 16, 16), torch.randn(count, 16, 8, 8))
    return PixelFeatures(torch.randn(count, 32, 4, 4), fine if high_res else ())


def masks(*boxes, side=64):
    out = torch.zeros(len(boxes), side, side)
    for mask, (top, left, height, width) in zip(out, boxes, strict=True):
        mask[top : top + height, left : left + width] = 1
    return out


BOXES = ((0, 0, 20, 20), (30, 40, 8, 16), (63, 0, 1, 64))


def test_batch_equals_single_and_regions_differ():
    model, seen, where = reader(), features(), masks(*BOXES)
    tokens, kinds = model(seen, where)
    assert tokens.shape == (3, 24)
    assert kinds.shape == (3, 4)
    alone, kinds_alone = model(seen.select(torch.tensor([1])), where[1:2])
    torch.testing.assert_close(tokens[1:2], alone)
    torch.testing.assert_close(kinds[1:2], kinds_alone)


def test_another_place_of_the_same_image_is_another_token():
    seen = features().select(torch.tensor([0, 0]))
    tokens, _ = reader()(seen, masks((0, 0, 16, 16), (40, 40, 16, 16)))
    assert not torch.allclose(tokens[0], tokens[1], atol=1e-3)


@pytest.mark.parametrize("high_res", [True, False])
def test_regions_of_one_image_need_its_features_once(high_res):
    model, seen = reader(high_res=(16, 16) if high_res else (0, 0)), features(1, high_res)
    shared, shared_kinds = model(seen, masks(*BOXES))
    copied, copied_kinds = model(seen.select(torch.tensor([0, 0, 0])), masks(*BOXES))
    torch.testing.assert_close(shared, copied, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(shared_kinds, copied_kinds, atol=1e-5, rtol=1e-5)


def test_bool_and_float_masks_are_the_same():
    model, seen, where = reader(), features(), masks(*BOXES)
    torch.testing.assert_close(model(seen, where > 0)[0], model(seen, where)[0])


@pytest.mark.parametrize("box", [(10, 10, 1, 1), (0, 0, 64, 64), (0, 0, 0, 0)])
def test_a_single_pixel_the_whole_image_and_nothing_are_finite(box):
    tokens, kinds = reader()(features(1), masks(box))
    assert bool(torch.isfinite(tokens).all() and torch.isfinite(kinds).all())


def test_without_kinds_there_is_no_head():
    model = reader(kinds=0)
    assert model(features(), masks(*BOXES))[1] is None
    assert not [name for name, _ in model.named_parameters() if "kind" in name]


def test_it_works_without_fine_features():
    tokens, _ = reader(high_res=(0, 0))(features(high_res=False), masks(*BOXES))
    assert bool(torch.isfinite(tokens).all())


def test_the_lens_starts_as_if_it_were_not_there_and_tells_the_course_of_lines():
    torch.manual_seed(0)
    model = RegionReader(pixel_width=32, high_res_widths=(16, 16), width=24, kinds=4, lens=True).eval()
    straight, jagged = torch.zeros(1, 64, 64), torch.zeros(1, 64, 64)
    straight[0, 32, 8:56] = 1
    for x in range(8, 56):
        jagged[0, 32 + (x // 3) % 2, x] = 1
    seen, where = features(1), torch.cat([straight, jagged])
    before = model(seen, where)[0]
    plain = reader()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("lens.")})
    torch.testing.assert_close(before, plain(seen, where)[0])
    tokens = before.sum()
    tokens.backward()
    assert float(model.lens.out.weight.grad.abs().sum()) > 0  # it can wake up
    torch.nn.init.normal_(model.lens.out.weight)
    told = (model(seen, where)[0] - before).detach()  # by the lens alone
    assert float((told[0] - told[1]).norm()) > 0.05 * float(told.norm())


def test_gradients_reach_the_features():
    seen = features()
    seen.embedding.requires_grad_()
    tokens, kinds = reader()(seen, masks(*BOXES))
    (tokens.sum() + kinds.sum()).backward()
    assert float(seen.embedding.grad.abs().sum()) > 0


def with_loupe():
    torch.manual_seed(0)
    return RegionReader(pixel_width=32, high_res_widths=(16, 16), width=24, kinds=4, loupe=True).eval()


def test_the_loupe_starts_as_if_it_were_not_there_and_tells_pixels_that_the_features_do_not():
    model, where = with_loupe(), masks(*BOXES[:2])
    plain = reader()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("loupe.")})
    seen = features(2)
    smooth, striped = torch.full((2, 3, 64, 64), 0.5), torch.full((2, 3, 64, 64), 0.5)
    striped[..., ::2] = 0.7
    before = model(replace(seen, image=smooth), where)[0]
    torch.testing.assert_close(before, plain(seen, where)[0])
    before.sum().backward()
    assert float(model.loupe.out.weight.grad.abs().sum()) > 0  # it can wake up
    torch.nn.init.normal_(model.loupe.out.weight)
    with torch.no_grad():
        one, other = (model(replace(seen, image=image), where)[0] for image in (smooth, striped))
    assert float((one - other).norm()) > 0.05 * float((one - before.detach()).norm())


def test_the_loupe_reads_each_region_in_its_own_image():
    model, where = with_loupe(), masks(*BOXES)
    torch.nn.init.normal_(model.loupe.out.weight)
    torch.manual_seed(3)
    seen = replace(features(), image=torch.rand(3, 3, 64, 64))
    together, _ = model(seen, where)
    for i in range(3):
        alone, _ = model(seen.select(torch.tensor([i])), where[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-4, rtol=1e-4)
    first = seen.select(torch.tensor([0]))
    shared, copied = model(first, where)[0], model(first.select(torch.tensor([0, 0, 0])), where)[0]
    torch.testing.assert_close(shared, copied, atol=1e-4, rtol=1e-4)


def test_the_loupe_looks_at_points_of_the_region_itself():
    ring = torch.zeros(1, 64, 64)
    ring[0, 8:56, 8:56] = 1
    ring[0, 12:52, 12:52] = 0  # its middle is not on it
    image = torch.zeros(1, 3, 64, 64)
    center, extent, _ = region_reader._geometry(ring)
    whole, spots = region_reader._pictures(replace(features(1), image=image), ring, center, extent)
    middle = spots.shape[-1] // 2
    assert whole.shape[:2] == (1, 4) and len(spots) == len(region_reader.SPOTS)
    near = spots[:, 3, middle - 1 : middle + 1, middle - 1 : middle + 1].amax((1, 2))
    assert bool((near > 0.4).all())


@pytest.mark.parametrize("box", [(10, 10, 1, 1), (0, 0, 64, 64), (0, 0, 0, 0)])
def test_a_loupe_on_a_single_pixel_the_whole_image_and_nothing_is_finite(box):
    seen = replace(features(1), image=torch.rand(1, 3, 64, 64))
    tokens, _ = with_loupe()(seen, masks(box))
    assert bool(torch.isfinite(tokens).all())

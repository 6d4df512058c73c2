"""Surfaces, objects and disturbances: finite, in range, seeded, varied; nothing that the words do not expect."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from agvas_core.synthesis.lighting import CAMERA, NUISANCES, SCENE, apply_camera, apply_scene
from agvas_core.synthesis.noise import blur, fractal_noise, smooth_noise, warp
from agvas_core.synthesis.objects import OBJECTS, TABLE, make_object_scene
from agvas_core.synthesis.surfaces import SURFACE_WEIGHTS, SURFACES, make_surface
from agvas_core.synthesis.textures import TextureBank

SIZE = 64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def check_images(images: torch.Tensor, b: int) -> None:
    assert images.shape == (b, 3, SIZE, SIZE) and images.dtype == torch.float32
    assert torch.isfinite(images).all()
    assert images.min() >= 0 and images.max() <= 1


@pytest.mark.parametrize("name", SURFACES)
def test_every_surface_is_a_seeded_batch_of_different_pictures(name):
    images = SURFACES[name](4, SIZE, seeded())
    check_images(images, 4)
    torch.testing.assert_close(images, SURFACES[name](4, SIZE, seeded()))
    assert (images[0] - images[1]).abs().mean() > 1e-3
    assert (images.std((1, 2, 3)) > 1e-3).all(), "a picture without any texture"


@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_covers_some_of_the_picture_and_is_seeded(name):
    surface = torch.full((4, 3, SIZE, SIZE), 0.5)
    layer = OBJECTS[name](4, SIZE, seeded(1), surface)
    again = OBJECTS[name](4, SIZE, seeded(1), surface)
    check_images(layer.rgb, 4)
    torch.testing.assert_close(layer.alpha, again.alpha)
    torch.testing.assert_close(layer.rgb, again.rgb)
    assert layer.name == name and layer.alpha.shape == (4, SIZE, SIZE)
    assert layer.alpha.min() >= 0 and layer.alpha.max() <= 1
    assert (layer.alpha > 0.5).float().mean() > 0.01
    assert not torch.equal(layer.alpha[0], layer.alpha[1])


@pytest.mark.parametrize("name", NUISANCES)
def test_every_nuisance_keeps_the_shape_and_changes_the_picture(name):
    images = torch.rand(3, 3, SIZE, SIZE, generator=seeded(2))
    out = NUISANCES[name](images, seeded(3))
    assert out.shape == images.shape and torch.isfinite(out).all()
    torch.testing.assert_close(out, NUISANCES[name](images, seeded(3)))
    assert not torch.equal(out, images)


def test_names_are_unique_and_materials_exist():
    names = [*SURFACES, *OBJECTS, *NUISANCES]
    assert len(set(names) - {"biscuit"}) == len(names) - 2  # a biscuit is an object and what it is made of
    assert set(SURFACE_WEIGHTS) == set(SURFACES) and len(NUISANCES) == len(SCENE) + len(CAMERA)
    assert {m for _, _, materials in TABLE.values() for m in materials} <= set(SURFACES)


@pytest.mark.parametrize("apply", [apply_scene, apply_camera])
def test_disturbances_name_exactly_the_images_they_touch(apply):
    images = torch.rand(16, 3, SIZE, SIZE, generator=seeded(4))
    before = images.clone()
    out, names = apply(images, seeded(5))
    check_images(out, 16)
    torch.testing.assert_close(images, before)
    for i in range(16):
        assert bool(names[i]) != torch.equal(out[i], images[i])


def test_object_scenes_are_seeded_and_masked():
    for seed in range(8):
        images, mask, surface, name = make_object_scene(3, SIZE, seeded(seed))
        check_images(images, 3)
        assert mask.dtype == torch.bool and mask.any() and name in OBJECTS and surface in SURFACES
        torch.testing.assert_close(images, make_object_scene(3, SIZE, seeded(seed))[0])


def test_fractal_noise_is_standardized_and_a_steep_spectrum_is_smooth():
    sandy = fractal_noise(4, SIZE, seeded(), (0.6, 0.6))
    cloudy = fractal_noise(4, SIZE, seeded(), (3.2, 3.2))
    torch.testing.assert_close(cloudy.mean((1, 2)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(cloudy.square().mean((1, 2)), torch.ones(4), atol=1e-3, rtol=0)
    assert cloudy.diff(dim=2).abs().mean() < 0.5 * sandy.diff(dim=2).abs().mean()
    assert smooth_noise(4, SIZE, seeded()).diff(dim=2).abs().mean() < 0.2


def test_blur_keeps_a_constant_and_takes_one_sigma_per_image():
    images = torch.rand(2, 3, SIZE, SIZE, generator=seeded())
    sigma = torch.tensor([0.05, 2.0])
    whole, cut = blur(images, sigma), blur(images, sigma, reach=8)
    torch.testing.assert_close(whole[0], images[0])
    torch.testing.assert_close(whole[..., 10:-10, 10:-10], cut[..., 10:-10, 10:-10], atol=1e-3, rtol=0)
    torch.testing.assert_close(blur(torch.ones(1, 9, 9), 3.0), torch.ones(1, 9, 9))


def test_warp_by_nothing_changes_nothing():
    images = torch.rand(2, 3, SIZE, SIZE, generator=seeded())
    torch.testing.assert_close(warp(images, torch.zeros(2, SIZE, SIZE, 2)), images, atol=1e-4, rtol=0)


def test_texture_bank_reads_materials_and_crops(tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(2):
        noise = np.random.default_rng(i).integers(0, 255, (90, 120, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / f"{i}.png")
    with (tmp_path / "MANIFEST.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([("file", "material"), ("photos/0.png", "slate"), ("photos/1.png", "slate")])
    bank = TextureBank(tmp_path, share=1.0)
    images, name = make_surface(5, SIZE, seeded(), bank)
    check_images(images, 5)
    assert name == "slate" and len(bank) == 2
    torch.testing.assert_close(images, make_surface(5, SIZE, seeded(), bank)[0])


def test_an_empty_texture_folder_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="no .jpg or .png"):
        TextureBank(tmp_path)

"""Any picture in, one kind of picture out; maps come back to the very pixel; what is no picture is named."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from agvas_core import processing
from agvas_core.pixel_values import stretch_to_uint8
from agvas_core.processing import Letterbox, fit, limit_canvas, open_image, restore


def _bytes(picture, form, **options):
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def _gradient(height=20, width=30):
    ys, xs = np.mgrid[:height, :width]
    return np.stack((ys * 255 // height, xs * 255 // width, (ys + xs) * 5 % 256), axis=2).astype(np.uint8)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_keep_every_pixel(form):
    image = open_image(_bytes(Image.fromarray(_gradient()), form))
    np.testing.assert_array_equal(image.rgb, _gradient())
    assert image.size_hw == (20, 30)


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "GIF"])
def test_lossy_formats_are_read(form):
    assert open_image(_bytes(Image.fromarray(_gradient()), form)).size_hw == (20, 30)


def test_equal_pictures_share_an_id_and_others_do_not(tmp_path):
    path = tmp_path / "part.png"
    path.write_bytes(_bytes(Image.fromarray(_gradient()), "PNG"))
    from_path, from_array = open_image(path), open_image(_gradient(), name="b")
    assert from_path.image_id == from_array.image_id == open_image(Image.fromarray(_gradient())).image_id
    assert (from_path.name, from_array.name) == ("part.png", "b")
    assert open_image(str(path), name="mine").name == "mine"
    assert open_image(_gradient(30, 20)).image_id != from_path.image_id
    flat = np.zeros((2, 8, 3), np.uint8)
    assert open_image(flat).image_id != open_image(flat.reshape(4, 4, 3)).image_id  # same bytes, other size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.zeros((40, 80, 3), np.uint8)
    stored[:20, :40] = 255  # the stored picture's upper left quarter
    image = open_image(_bytes(Image.fromarray(stored), "PNG", exif=exif))
    assert image.size_hw == ((40, 80) if orientation < 5 else (80, 40))
    corners = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}
    assert image.rgb[corners[orientation]].tolist() == [255, 255, 255]
    assert (image.rgb[..., 0] > 128).sum() == 800


def test_transparent_pixels_show_white():
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[..., 0] = 200
    rgba[:2, :, 3] = 255
    rgba[2, :, 3] = 128
    image = open_image(_bytes(Image.fromarray(rgba, "RGBA"), "PNG"))
    assert image.rgb[0, 0].tolist() == [200, 0, 0]
    assert image.rgb[3, 0].tolist() == [255, 255, 255]
    assert image.rgb[2, 0].tolist() == pytest.approx([228, 127, 127], abs=1)


def test_an_unused_alpha_channel_is_ignored():
    rgba = np.full((4, 4, 4), 90, np.uint8)
    rgba[..., 3] = 0
    assert (open_image(rgba).rgb == 90).all()


def test_palette_with_transparency():
    picture = Image.fromarray(np.array([[0, 1]], np.uint8))
    picture = picture.convert("P")
    picture.putpalette([10, 20, 30, 200, 100, 50])
    image = open_image(_bytes(picture, "PNG", transparency=0))
    assert image.rgb.tolist() == [[[255, 255, 255], [200, 100, 50]]]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16"])
def test_every_pil_mode_becomes_rgb(mode):
    source = Image.fromarray(_gradient())
    source = source.convert("L").convert(mode) if mode in ("I;16", "I", "F", "LA") else _to_mode(source, mode)
    image = open_image(source)
    assert image.rgb.shape == (20, 30, 3) and image.rgb.dtype == np.uint8
    assert image.rgb.std() > 10


def _to_mode(picture, mode):
    if mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        return ImageCms.applyTransform(picture, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    return picture.convert(mode)


def test_cmyk_jpeg_keeps_its_colours():
    red = Image.new("RGB", (16, 16), (220, 30, 30)).convert("CMYK")
    image = open_image(_bytes(red, "JPEG", quality=95))
    assert np.abs(image.rgb.astype(int) - (220, 30, 30)).max() < 12


def test_sixteen_bit_greys_are_stretched_without_clipping_a_small_defect():
    rng = np.random.default_rng(0)
    grey = rng.integers(2000, 2400, (200, 200)).astype(np.uint16)
    grey[50:53, 50:53] = 2600  # a small brighter defect: 0.02 % of the pixels
    grey[0, 0] = 65535  # a dead pixel
    picture = Image.fromarray(grey)
    for source in (picture, grey, _bytes(picture, "PNG"), _bytes(picture, "TIFF")):
        rgb = open_image(source).rgb
        assert rgb[50, 50, 0] > rgb[60:, 60:, 0].max()
        assert np.ptp(rgb[60:, 60:, 0].astype(int)) > 100


def _deep_png(values):
    """Return a PNG of 16 bits a channel, which Pillow does not write, from uint16 (H, W, 2 | 3 | 4)."""
    height, width, channels = values.shape
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in values))),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _deep_tiff(values, order):
    """Return a plain TIFF of 16 bits a channel from uint16 (H, W, 3)."""
    height, width, channels = values.shape
    data = values.astype(order + "u2").tobytes()
    at = 8 + 2 + 9 * 12 + 4  # after the header and nine tags
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, at), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, at + 6), (277, 3, 1, channels), (278, 4, 1, height), (279, 4, 1, len(data))]
    entries = [
        struct.pack(order + ("HHIHxx" if kind == 3 and count == 1 else "HHII"), tag, kind, count, value)
        for tag, kind, count, value in tags
    ]
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(tags))
    return head + b"".join(entries) + struct.pack(order + "I3H", 0, 16, 16, 16) + data


@pytest.mark.parametrize("kind", ["PNG", "PNG, alpha", "PNG, grey, alpha", "TIFF <", "TIFF >"])
def test_twelve_bits_of_sixteen_a_colour_are_not_nearly_black(kind):
    """Pillow keeps the upper byte only: such pictures once had a mean of 7 of 255."""
    values = np.random.default_rng(0).integers(100, 4096, (20, 30, 3)).astype(np.uint16)
    opaque = np.full((20, 30, 1), 4095, np.uint16)
    if kind == "PNG, grey, alpha":
        data, values = _deep_png(np.concatenate((values[..., :1], opaque), axis=2)), values[..., [0, 0, 0]]
    elif kind == "PNG, alpha":
        data = _deep_png(np.concatenate((values, opaque), axis=2))
    else:
        data = _deep_png(values) if kind == "PNG" else _deep_tiff(values, kind[-1])
    image = open_image(data)
    np.testing.assert_array_equal(image.rgb, open_image(values).rgb)  # as an array: with all the bits of the file
    assert 100 < image.rgb.mean() < 150 and len(np.unique(image.rgb)) > 200


def _grey_tiff(values, *, order="<", white_is_zero=False, orientation=1):
    """Return a plain TIFF of one channel from (H, W) of any number type."""
    (height, width), data = values.shape, values.astype(values.dtype.newbyteorder(order)).tobytes()
    form = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    tags = [(256, width), (257, height), (258, 8 * values.itemsize), (259, 1), (262, int(not white_is_zero))]
    tags += [(273, 8), (274, orientation), (277, 1), (278, height), (279, len(data)), (339, form)]
    entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in tags)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8 + len(data))
    return head + data + struct.pack(order + "H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(0, 65535, 300).reshape(10, 30).astype(np.uint16),
        np.linspace(0, 4095, 300).reshape(10, 30).astype(np.uint16),
        np.linspace(0, 1, 300).reshape(10, 30).astype(np.float32),
        np.linspace(0, 255, 300).reshape(10, 30).astype(np.uint8),
        np.full((4, 4), 60000, np.uint16),
    ],
)
def test_a_tiff_in_which_zero_is_white_is_no_negative(values):
    """Pillow turns 8 bits but not 16: holes showed bright."""
    positive = open_image(_grey_tiff(values)).rgb
    most = 1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    negative = open_image(_grey_tiff((most - values).astype(values.dtype), white_is_zero=True)).rgb
    np.testing.assert_allclose(negative, positive, atol=1)
    if values.shape == (10, 30):
        assert negative[0, 0, 0] < 20 and negative[-1, -1, 0] > 235
        lying = _grey_tiff((most - values).astype(values.dtype), white_is_zero=True, orientation=6)
        np.testing.assert_allclose(open_image(lying).rgb, np.rot90(positive, -1), atol=1)


def test_a_picture_of_pil_in_which_zero_is_white_is_turned_once():
    values = np.linspace(0, 65535, 300).reshape(10, 30).astype(np.uint16)
    data = _grey_tiff(values, white_is_zero=True)
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        assert open_image(picture).image_id == open_image(data).image_id == open_image(picture).image_id


@pytest.mark.parametrize(
    "data",
    [
        _grey_tiff(np.ones((4, 6), np.uint16), order=">", white_is_zero=True),
        _grey_tiff(np.ones((4, 6), np.float16)),
        _grey_tiff(np.ones((4, 6), np.float64)),
        _grey_tiff(np.ones((4, 6), np.float64), order=">"),
    ],
)
def test_a_tiff_of_pixels_that_cannot_be_read_is_not_called_damaged(data):
    with pytest.raises(ValueError, match="The kind of pixels in this TIFF cannot be read here; save it as"):
        open_image(data)
    with pytest.raises(ValueError, match="damaged or not an image"):
        open_image(data[:-136])  # the file breaks off before its tags
    with pytest.raises(ValueError, match="damaged or not an image"):
        open_image(data[:8] + bytes(len(data) - 8))


def test_a_tiff_of_deep_planes_is_refused():
    """Pillow reads each of them as twice as many rows of 8 bits: a picture of stripes, without an error."""
    data = bytearray(_deep_tiff(np.zeros((4, 4, 3), np.uint16), "<"))
    at = data.index(struct.pack("<HHI", 278, 4, 1))  # its rows a strip give way to the planes
    data[at : at + 12] = struct.pack("<HHIHxx", 284, 3, 1, 2)
    with pytest.raises(ValueError, match="in a plane for each colour"):
        open_image(bytes(data))


def test_sixteen_bits_a_colour_in_full_use_and_dark_photos_of_eight_stay_as_they_are():
    full = np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    np.testing.assert_array_equal(open_image(_deep_png(full)).rgb, full >> 8)
    for form in ("PNG", "TIFF"):
        dark = _gradient() // 5
        np.testing.assert_array_equal(open_image(_bytes(Image.fromarray(dark), form)).rgb, dark)
    assert (open_image(_deep_png(np.zeros((4, 4, 3), np.uint16))).rgb == 0).all()


def test_a_constant_grey_of_sixteen_bits_is_its_place_in_them():
    """Pillow reads PGM files as int32, of whose range a 16-bit value is nothing: they came out black."""
    assert (open_image(b"P5 3 2 65535\n" + b"\x80\x00" * 6).rgb == 128).all()
    assert (open_image(_bytes(Image.fromarray(np.full((2, 3), 32768, np.uint16)), "PNG")).rgb == 128).all()


def test_values_of_sixteen_bits_are_stretched_as_floats_are():
    values = np.random.default_rng(0).integers(900, 4096, (50, 60)).astype(np.uint16)
    np.testing.assert_array_equal(stretch_to_uint8(values), stretch_to_uint8(values.astype(float)))


def test_float_images():
    unit = np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10)
    assert open_image(unit).rgb[0, 0, 0] == 0 and open_image(unit).rgb[-1, -1, 0] == 255
    assert (open_image(np.full((4, 4, 3), 0.5)).rgb == 128).all()
    tiff = _bytes(Image.fromarray(unit * 1000 - 500), "TIFF")
    assert np.ptp(open_image(tiff).rgb.astype(int)) > 240


def test_stretch_survives_constants_and_not_numbers():
    assert (stretch_to_uint8(np.full((3, 3), 65535, np.uint16)) == 255).all()
    assert (stretch_to_uint8(np.zeros((3, 3), np.uint16)) == 0).all()
    assert (stretch_to_uint8(np.full((3, 3), np.nan)) == 0).all()
    mixed = np.array([[0.0, 1.0, np.nan, np.inf, -np.inf]])
    assert stretch_to_uint8(mixed).tolist() == [[0, 255, 0, 255, 0]]


def test_bool_and_channel_layouts_of_arrays():
    assert open_image(np.array([[True, False]])).rgb.tolist() == [[[255] * 3, [0] * 3]]
    for channels in (1, 2, 3, 4):
        assert open_image(np.full((5, 6, channels), 255, np.uint8)).rgb.shape == (5, 6, 3)
    for shape in ((5,), (2, 5, 5, 3), (5, 5, 7)):
        with pytest.raises(ValueError, match="An image array must be"):
            open_image(np.zeros(shape, np.uint8))


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    image = open_image(_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert image.rgb[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1)])
def test_tiny_and_thin_images_work(size):
    image = open_image(_bytes(Image.new("L", size[::-1], 77), "PNG"))
    assert image.size_hw == size and (image.rgb == 77).all()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "This file is empty"),
        (b"%PDF-1.7\n...", "This file is a PDF; upload a PNG, JPEG, WebP, BMP or TIFF image."),
        (b'<svg xmlns="http://www.w3.org/2000/svg"></svg>', "an SVG drawing"),
        (b'<?xml version="1.0"?>\n<!-- x --><svg></svg>', "an SVG drawing"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), "a HEIC photo"),
        (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(64), "a video"),
        (b"\x1a\x45\xdf\xa3" + bytes(64), "a video"),
        (b"RIFF\0\0\0\0AVI LIST" + bytes(64), "a video"),
        (b"PK\x03\x04" + bytes(64), "a ZIP archive"),
        (b"<!DOCTYPE html><html></html>", "an HTML page"),
        (bytes(128) + b"DICM" + bytes(64), "a DICOM scan"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript file"),
        (b"just some words", "a text file"),
        (bytes(range(256)), "damaged or not an image"),
    ],
)
def test_what_is_not_an_image_is_named(data, sentence):
    with pytest.raises(ValueError, match=sentence):
        open_image(data)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files_are_refused(form, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    data = _bytes(Image.fromarray(noise), form)
    with pytest.raises(ValueError, match="damaged"):
        open_image(data[: int(share * len(data))])


def test_huge_images_are_refused_before_they_are_decoded():
    data = _bytes(Image.new("1", (9000, 9000)), "PNG")
    with pytest.raises(ValueError, match="9000 x 9000 = 81 megapixels; the limit is 40"):
        open_image(data)


def test_a_decompression_bomb_is_refused():
    data = bytearray(_bytes(Image.new("1", (8, 8)), "PNG"))
    data[16:24] = (60_000).to_bytes(4, "big") * 2  # width and height in the header
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    with pytest.raises(ValueError, match="megapixels"):
        open_image(bytes(data))


@pytest.mark.parametrize("size", [(1, 30_001), (30_001, 1), (1, 4_000_000)])
def test_a_few_kilobytes_of_a_very_long_image_do_not_fill_the_memory(size):
    """1 x 4,000,000 px once passed, and bringing its map back would have taken some 25 GB."""
    long = f"{size[1]} x {size[0]} px; the limit of its longer side is 30,000 px"
    with pytest.raises(ValueError, match=long):
        open_image(_bytes(Image.new("L", size[::-1]), "PNG"))
    with pytest.raises(ValueError, match=long):
        open_image(np.zeros(size, np.uint8))


def test_the_longest_image_is_read():
    assert open_image(_bytes(Image.new("L", (30_000, 1)), "PNG")).size_hw == (1, 30_000)


def test_paths_that_are_not_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file"):
        open_image(tmp_path / "missing.png")
    with pytest.raises(ValueError, match="is a folder"):
        open_image(tmp_path)
    with pytest.raises(ValueError, match="Cannot read an image from a int"):
        open_image(7)


@pytest.mark.parametrize("size", [(333, 517), (1, 700), (700, 1), (64, 64), (2049, 31), (1, 1), (512, 512), (97, 1024)])
@pytest.mark.parametrize(("canvas", "map_px"), [(256, 256), (512, 512), (512, 128), (256, 512)])
def test_a_square_comes_back_to_its_place(size, canvas, map_px):
    height, width = size
    cell_px = max(1.0, max(size) / map_px)  # original px per cell of the map
    side = int(np.ceil(6 * cell_px))
    y0, x0 = height // 3, width // 3
    y1, x1 = min(height, y0 + side), min(width, x0 + side)
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[y0:y1, x0:x1] = 255
    seen, letterbox = fit(rgb, canvas)
    assert seen.shape == (canvas, canvas, 3) and seen.dtype == np.uint8
    on_canvas = torch.from_numpy(seen[..., 0].astype(np.float32) / 255)
    on_map = torch.nn.functional.interpolate(on_canvas[None, None], size=(map_px, map_px), mode="area")[0, 0]
    back = restore(on_map, letterbox)
    assert back.shape == size and back.dtype == np.float32
    ys, xs = np.nonzero(back > 0.5)
    tolerance = max(1.0, 0.5 * cell_px)  # a pixel, or half a cell where a cell holds several pixels
    found = (ys.min(), xs.min(), ys.max() + 1, xs.max() + 1)
    if min(size) >= cell_px:  # thinner than a cell, only the long axis can be told
        np.testing.assert_allclose(found, (y0, x0, y1, x1), atol=tolerance)
    else:
        axis = int(np.argmax(size))
        np.testing.assert_allclose((found[axis], found[axis + 2]), ((y0, x0)[axis], (y1, x1)[axis]), atol=tolerance)


def test_restore_has_no_shift_of_half_a_pixel():
    ramp = np.tile(np.arange(256, dtype=np.uint8), (200, 1))
    seen, letterbox = fit(np.repeat(ramp[..., None], 3, axis=2), 512)
    for map_px in (512, 256, 128):
        cells = torch.from_numpy(seen[..., 0].astype(np.float32))[None, None]
        back = restore(torch.nn.functional.interpolate(cells, size=(map_px, map_px), mode="area")[0, 0], letterbox)
        assert np.abs(back - ramp)[8:-8, 8:-8].max() < 0.6


def test_restore_takes_several_maps_at_once_and_keeps_their_range():
    maps = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    letterbox = Letterbox((100, 37), 256)
    together = restore(maps, letterbox)
    assert together.shape == (3, 100, 37)
    np.testing.assert_allclose(together[1], restore(maps[1].numpy(), letterbox), atol=1e-6)
    assert together.min() >= 0 and together.max() <= 1 + 1e-6
    assert np.allclose(restore(torch.ones(64, 64), letterbox), 1.0, atol=1e-5)


def test_the_fill_repeats_the_edge_and_never_comes_back():
    rgb = np.full((50, 100, 3), 120, np.uint8)
    seen, letterbox = fit(rgb, 128)
    assert letterbox.content_hw == (64, 128)
    assert (seen == 120).all()
    on_map = np.zeros((128, 128), np.float32)
    on_map[64:] = 1.0  # something seen in the fill only
    assert restore(on_map, letterbox).max() == 0.0


def test_fit_refuses_other_arrays():
    for bad in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="rgb must be uint8"):
            fit(bad, 64)


@pytest.mark.parametrize(
    ("size", "serving", "expected"),
    [((200, 180), 256, 224), ((256, 180), 512, 256), ((1000, 10), 512, 512), ((1, 1), 512, 32), ((100, 20), 512, 128)],
)
def test_small_images_get_a_small_canvas(size, serving, expected):
    assert limit_canvas(size, serving) == expected


def test_canvas_must_fit_the_model():
    with pytest.raises(ValueError, match="multiple of 32"):
        limit_canvas((10, 10), 500)


@pytest.mark.parametrize("size", [(300, 200), (1, 90), (90, 1), (333, 517)])
def test_rows_and_columns_are_read_alike(size):
    cells = torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    upright = restore(cells, Letterbox(size, 256))
    np.testing.assert_allclose(restore(cells.T, Letterbox(size[::-1], 256)).T, upright, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 30_000), (30_000, 1)])
def test_a_long_image_is_restored_without_a_dense_kernel(size, monkeypatch):
    """Its columns were once read by a matrix of W x cells: 3.5 GB and 47 s for 1 x 400,000 px."""
    monkeypatch.setattr(processing, "_kernel", lambda *_: pytest.fail("a matrix as large as the image"))
    assert restore(torch.ones(1, 96, 96), Letterbox(size, 384)).shape == (1, *size)


@pytest.mark.parametrize("size", [(300, 200), (1, 900), (900, 2), (512, 512)])
def test_two_taps_give_the_kernels_numbers(size):
    letterbox, cells = Letterbox(size, 256), torch.rand(2, 64, 64, generator=torch.Generator().manual_seed(0))
    rows, cols = (
        torch.from_numpy(processing._kernel(side, content * 64 / 256, 64))
        for side, content in zip(size, letterbox.content_hw, strict=True)
    )
    np.testing.assert_allclose(restore(cells, letterbox), (rows @ cells @ cols.T).numpy(), atol=1e-6)


@pytest.mark.parametrize("size_hw", [(1000, 37), (601, 600), (17, 900)])
def test_rows_read_in_parts_are_the_rows_read_at_once(size_hw, monkeypatch):
    box = Letterbox(size_hw, 96)
    maps = torch.rand(3, 48, 48)
    in_parts = restore(maps, box)
    for cells in (1, 700, 10**9):
        monkeypatch.setattr(processing, "_CELLS_AT_ONCE", cells)
        np.testing.assert_array_equal(in_parts, restore(maps, box))


def test_maps_come_back_in_full_precision_whatever_the_model_runs_in():
    box, maps = Letterbox((70, 90), 32), torch.rand(3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        half = restore(maps, box)
    np.testing.assert_array_equal(half, restore(maps, box))

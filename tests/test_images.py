"""Pictures: what comes in is what was meant, what goes out is whole, what is bad is named."""

import io
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFont
from skimage.metrics import peak_signal_noise_ratio

from rnri import images

HALF_LEVEL = 1.01 / 255  # half a level of 8 bits, on a scale from -1 to 1

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


def noise(size: images.Size, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8)


def gradient(size: images.Size = (24, 32)) -> np.ndarray:
    rows, columns = np.meshgrid(*(np.linspace(0, 255, n) for n in size), indexing="ij")
    return np.stack([rows, columns, np.full(size, 90.0)], axis=-1).round().astype(np.uint8)


# --- in ---------------------------------------------------------------------------------------------------------


@given(sizes, st.integers(0, 99))
def test_eight_bits_survive_a_round_trip(size: images.Size, seed: int) -> None:
    array = noise(size, seed=seed)
    (picture,) = images.to_pil(images.read(array))
    np.testing.assert_array_equal(np.asarray(picture), array)
    assert torch.equal(images.read(picture), images.read(array))


@given(sizes, st.sampled_from(["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "I", "F"]))
def test_every_mode_is_read_as_rgb_in_range(size: images.Size, mode: str) -> None:
    if mode == "F":
        image = Image.fromarray(noise(size)[..., 0].astype(np.float32) / 255)
    else:
        middle = Image.fromarray(noise(size)).convert("RGBA" if mode in ("LA", "PA") else "L" if mode == "I" else "RGB")
        image = middle.convert(mode)
    pixels = images.read(image)
    assert pixels.shape == (1, 3, *size)
    assert pixels.dtype == torch.float32
    assert pixels.min() >= -1
    assert pixels.max() <= 1


@pytest.mark.parametrize("suffix", images.FORMATS)
def test_every_format_is_written_and_read(tmp_path: Path, suffix: str) -> None:
    path = images.write(gradient(), tmp_path / f"picture{suffix}")
    back = np.asarray(images.to_pil(images.read(path))[0])
    assert np.array_equal(back, gradient()) if suffix == ".png" else peak_signal_noise_ratio(gradient(), back) > 35
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    array = noise((6, 7), channels=4)
    array[..., 3] = 0
    array[0, 0] = (255, 0, 0, 128)
    Image.fromarray(array).save(tmp_path / "a.png")
    for image in (tmp_path / "a.png", Image.fromarray(array), array):
        pixels = images.read(image)
        torch.testing.assert_close(pixels[..., 1:, :], torch.ones(1, 3, 5, 7))
        red_over_white = torch.tensor([1.0, 1 - 2 * 128 / 255, 1 - 2 * 128 / 255])
        torch.testing.assert_close(pixels[0, :, 0, 0], red_over_white, atol=2 * HALF_LEVEL, rtol=0)


def test_a_palette_with_a_transparent_entry(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.save(tmp_path / "p.png", transparency=0)
    pixels = (images.read(tmp_path / "p.png") + 1) * 127.5
    torch.testing.assert_close(pixels[0, :, 0].T, torch.tensor([[255.0, 255, 255], [200, 100, 50]]))


def test_sixteen_bits_keep_their_precision(tmp_path: Path) -> None:
    values = np.array([[0, 1, 257, 32768, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    expected = torch.from_numpy(values.astype(np.float32) / 65535 * 2 - 1).expand(1, 3, 1, 5)
    for image in (tmp_path / "deep.png", values):
        torch.testing.assert_close(images.read(image), expected, atol=1e-7, rtol=0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_photo_is_read_upright(tmp_path: Path, orientation: int) -> None:
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # how a camera would have stored it: the inverse transpose
    stored = Image.fromarray(gradient())
    if orientation > 1:
        inverse = {0: 0, 1: 1, 3: 3, 5: 5, 6: 6, 4: 2, 2: 4}[turn[orientation]]
        stored = stored.transpose(Image.Transpose(inverse))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(images.to_pil(images.read(tmp_path / "photo.png"))[0]), gradient())


def test_an_unreadable_exif_is_ignored(tmp_path: Path) -> None:
    Image.fromarray(gradient()).save(tmp_path / "photo.png", exif=b"Exif\x00\x00not a TIFF header")
    assert torch.equal(images.read(tmp_path / "photo.png"), images.read(gradient()))


def test_a_colour_profile_is_applied(tmp_path: Path) -> None:
    profiles = {
        "srgb.png": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        "other.png": swapped_profile(),
        "broken.png": b"not a profile",
    }
    for name, profile in profiles.items():
        Image.fromarray(gradient()).save(tmp_path / name, icc_profile=profile)
    plain = images.read(gradient())
    assert torch.equal(images.read(tmp_path / "srgb.png"), plain)
    assert torch.equal(images.read(tmp_path / "broken.png"), plain)
    torch.testing.assert_close(images.read(tmp_path / "other.png"), plain[:, [1, 0, 2]], atol=6 * HALF_LEVEL, rtol=0)


def swapped_profile() -> bytes:
    """sRGB with its red and green primaries exchanged, under another name."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    return bytes(profile.replace(b"rXYZ", b"?XYZ").replace(b"gXYZ", b"rXYZ").replace(b"?XYZ", b"gXYZ")).replace(
        "sRGB".encode("utf-16-be"), "odd!".encode("utf-16-be")
    )


@given(sizes, st.integers(1, 3))
def test_tensors_and_arrays_come_in_batches(size: images.Size, count: int) -> None:
    batch = np.stack([noise(size, seed=n) for n in range(count)])
    pixels = images.read(batch)
    assert pixels.shape == (count, 3, *size)
    assert torch.equal(images.read(pixels), pixels)
    assert torch.equal(images.read(pixels[0]), pixels[:1])
    torch.testing.assert_close(images.read(batch / 255.0), pixels)


def test_a_rendered_tensor_keeps_no_graph() -> None:
    assert not images.read(torch.zeros(3, 4, 4, requires_grad=True)).requires_grad


# --- bad input --------------------------------------------------------------------------------------------------


def png(width: int, height: int) -> bytes:
    """A PNG whose header promises width × height pixels, and holds none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise((40, 50))).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"just some words", "not a PNG, JPEG or WebP image"),
        (png(20_000, 20_000), "pixels: scale it down"),
        (png(10_000, 10_000), "pixels: scale it down"),
        (png(4, 4), "truncated or damaged"),
        (encoded("BMP"), "not a PNG, JPEG or WebP image"),
        *((encoded(kind)[: len(encoded(kind)) // 2], "truncated or damaged") for kind in ("PNG", "JPEG", "WEBP")),
    ],
)
def test_a_bad_file_is_named_with_its_cure(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=complaint) as raised:
        images.read(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.png does not exist"):
        images.read(tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match="is a directory"):
        images.read(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["PNG", "JPEG", "WEBP"]), st.data())
def test_a_damaged_file_is_an_image_or_a_value_error(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    content = bytearray(encoded(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    with suppress(ValueError):
        assert images.read(path).shape[1] == 3


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (np.zeros((4, 4, 2), np.uint8), r"shape \(4, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        (np.zeros((4, 4), np.int64), "int64"),
        (np.full((4, 4), 255.0), r"from 255 to 255: scale them to \[0, 1\]"),
        (np.full((4, 4), np.nan), "nan"),
        (torch.zeros(1, 4, 8, 8), r"shape \(1, 4, 8, 8\)"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), "uint8"),
        (torch.full((3, 8, 8), 7.0), r"scale them to \[-1, 1\]"),
    ],
)
def test_a_bad_array_is_named_with_its_cure(image: images.ImageLike, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        images.read(image)


def test_what_is_no_image_at_all() -> None:
    with pytest.raises(TypeError, match="cannot read a list"):
        images.read([1, 2])  # type: ignore[arg-type]


# --- sizes ------------------------------------------------------------------------------------------------------


@given(st.tuples(st.integers(1, 5000), st.integers(1, 5000)), st.sampled_from([64, 128, 512]), st.sampled_from([4, 8]))
def test_fitted_sizes_are_multiples_near_the_target(size: images.Size, target: int, multiple: int) -> None:
    height, width = images.fit(size, (target, target), multiple)
    assert height % multiple == width % multiple == 0
    assert all(target / 2 <= side <= target * 2 for side in (height, width))
    if 1 / 4 <= size[0] / size[1] <= 4:
        scale = (target**2 / (size[0] * size[1])) ** 0.5
        assert abs(height - size[0] * scale) <= multiple / 2
        assert abs(width - size[1] * scale) <= multiple / 2


def test_the_target_itself_is_not_touched() -> None:
    pixels = images.read(gradient())
    assert images.fit((128, 128), (128, 128), 8) == (128, 128)
    assert images.resize(pixels, (24, 32)) is pixels


@given(sizes, sizes)
def test_resizing_keeps_a_flat_colour_and_the_range(size: images.Size, other: images.Size) -> None:
    flat = torch.full((1, 3, *size), 0.25)
    torch.testing.assert_close(images.resize(flat, other), torch.full((1, 3, *other), 0.25))
    assert images.resize(images.read(noise(size)), other).abs().max() <= 1


# --- out --------------------------------------------------------------------------------------------------------


def test_outputs_that_cannot_be_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "there.png").write_bytes(b"mine")
    (tmp_path / "folder.png").mkdir()
    complaints = {
        "picture.gif": r"suffix is '\.gif'",
        "picture": "suffix is ''",
        "folder.png": "is a directory",
        "missing/picture.png": "no directory",
        "there.png": "exists",
    }
    for name, complaint in complaints.items():
        with pytest.raises(ValueError, match=complaint):
            images.write(gradient(), tmp_path / name)
    assert (tmp_path / "there.png").read_bytes() == b"mine"
    images.write(gradient(), tmp_path / "there.png", overwrite=True)
    assert torch.equal(images.read(tmp_path / "there.png"), images.read(gradient()))
    with pytest.raises(ValueError, match="batch of 2"):
        images.write(torch.zeros(2, 3, 4, 4), tmp_path / "two.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.png", "there.png"]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = images.write(gradient(), tmp_path / "picture.png")
    before = path.read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        images.write(noise((9, 9)), path, overwrite=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_number_is_grey() -> None:
    pixels = torch.tensor([float("nan"), float("inf"), -float("inf")]).view(1, 3, 1, 1)
    assert images.to_pil(pixels)[0].getpixel((0, 0)) == (128, 255, 0)


# --- sheets -----------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(sizes, st.text(max_size=60)), min_size=1, max_size=7), st.integers(60, 160))
def test_a_sheet_takes_any_pictures_and_captions(tiles: list[tuple[images.Size, str]], width: int) -> None:
    sheet = images.sheet([(noise(size), caption) for size, caption in tiles], width=width)
    columns = min(len(tiles), 5) if len(tiles) <= 5 else -(-len(tiles) // 2)
    assert sheet.width == columns * width + (columns - 1) * (width // 16) + 2 * (width // 8)


def test_a_sheet_shows_its_pictures_and_words() -> None:
    red = np.zeros((8, 8, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    sheet = np.asarray(images.sheet([(red, "original"), (red, "edit\n" + "a very long caption " * 9)]))
    assert (sheet[32:288, 32:288] == (255, 0, 0)).all()
    assert (sheet[32:288, 304:560] == (255, 0, 0)).all()
    captions = sheet[288:]
    assert (captions < 100).any()
    assert (captions[:, 560:] == 255).all()
    assert (captions[-32:] == 255).all()


def test_an_empty_sheet_is_refused() -> None:
    with pytest.raises(ValueError, match="no pictures"):
        images.sheet([])


def test_a_sheet_holds_the_longest_word_and_the_tallest_picture() -> None:
    """Lines of a word are found by looking at what fits, not at all that is left of it."""
    looked = 0

    class Counting(ImageFont.ImageFont):
        def getlength(self, text: str | bytes | bytearray, *args: object, **kwargs: object) -> int:
            nonlocal looked
            looked += len(text)
            return 8 * len(text)

    word = "x" * 4000
    assert images._wrap(word, Counting(), 256) == [word[:32]] * 125
    assert looked < 200 * len(word)  # for each of 125 lines, its 33 beginnings
    sheet = images.sheet([(np.zeros((100_000, 1, 3), np.uint8), "a column")])
    assert sheet.height < 2000

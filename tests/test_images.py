"""The one way in for images: tables of kinds, with what is to be seen of each, or why it is not used."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from mags_kit import images
from mags_kit.images import fingerprint, open_image
from mags_kit.data import scenes

WHITE, RED, SIZE = (255, 255, 255), (200, 30, 20), (24, 16)


def content(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def seen(written: bytes, tmp_path) -> Image.Image:
    tmp_path.joinpath("image").write_bytes(written)
    return open_image(tmp_path / "image")


def raw_png(depth: int, colour: int, row: bytes, *chunks: tuple[bytes, bytes], size=SIZE) -> bytes:
    """A PNG of equal rows, byte for byte: of kinds that Pillow reads and does not write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    parts = (b"IHDR", header), *chunks, (b"IDAT", zlib.compress((b"\0" + row) * size[1])), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def half_clear(mode: str) -> Image.Image:
    """Left half to be seen, right half transparent over a hidden black."""
    image = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    image.paste((*RED, 255), (0, 0, 12, 16))
    return image.convert(mode)


def keyed_palette() -> Image.Image:
    image = Image.new("P", SIZE, 1)
    image.putpalette([*RED, 0, 0, 0])
    image.paste(0, (0, 0, 12, 16))
    return image


GREY_RED = Image.new("RGB", (1, 1), RED).convert("L").getpixel((0, 0))
TRANSPARENT = {
    "RGBA PNG": (content(half_clear("RGBA")), RED, WHITE),
    "grey and alpha": (content(half_clear("LA")), (GREY_RED,) * 3, WHITE),
    "palette with a clear colour": (content(keyed_palette(), transparency=1), RED, WHITE),
    "palette with alphas": (content(keyed_palette(), transparency=b"\xff\x00"), RED, WHITE),
    "GIF": (content(keyed_palette(), "GIF", transparency=1), RED, WHITE),
    "WebP": (content(half_clear("RGBA"), "WEBP", lossless=True), RED, WHITE),
    "TIFF": (content(half_clear("RGBA"), "TIFF"), RED, WHITE),
    "RGB with a clear colour": (content(half_clear("RGB"), transparency=(0, 0, 0)), RED, WHITE),
    "half clear": (content(Image.new("RGBA", SIZE, (0, 0, 0, 128))), (127,) * 3, (127,) * 3),
    "1 bit with a clear value": (raw_png(1, 0, b"\xff\xf0\x00", (b"tRNS", b"\0\0")), WHITE, WHITE),
    "16-bit grey and alpha": (raw_png(16, 4, struct.pack(">4H", 0, 65535, 0, 0) * 12), (0, 0, 0), WHITE),
    "16-bit grey with a clear value": (
        raw_png(16, 0, struct.pack(">24H", *[65535] * 12, *[900] * 12), (b"tRNS", struct.pack(">H", 900))),
        WHITE, WHITE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("written, left, right", TRANSPARENT.values(), ids=TRANSPARENT)
def test_what_is_transparent_shows_white(written, left, right, tmp_path):
    image = seen(written, tmp_path)
    assert image.mode == "RGB" and image.size == SIZE
    assert image.getpixel((0, 8)) == left and image.getpixel((23, 8)) == right


def ramp(high: float, kind) -> Image.Image:
    return Image.fromarray((np.linspace(0, high, SIZE[0])[None].repeat(SIZE[1], 0)).astype(kind))


DEEP = {
    "16-bit PNG": content(ramp(65535, np.uint16)),
    "16-bit TIFF": content(ramp(65535, np.uint16), "TIFF"),
    "16-bit PGM": content(ramp(65535, np.uint16), "PPM"),
    "12 bits in a PNG": content(ramp(4095, np.uint16)),
    "10 bits in a TIFF": content(ramp(1023, np.uint16), "TIFF"),
    "8 bits in a PNG of 16": content(ramp(255, np.uint16)),
    "32-bit TIFF": content(ramp(65535, np.int32), "TIFF"),
    "floats to 1": content(ramp(1, np.float32), "TIFF"),
    "floats to 255": content(ramp(255, np.float32), "TIFF"),
    "big-endian 16-bit TIFF": content(ramp(65535, ">u2"), "TIFF"),
}


@pytest.mark.parametrize("written", DEEP.values(), ids=DEEP)
def test_deep_greys_go_from_black_to_white(written, tmp_path):
    values = np.asarray(seen(written, tmp_path))[3, :, 0].astype(int)
    assert np.abs(values - np.linspace(0, 255, SIZE[0])).max() <= 1


def of(values) -> bytes:
    return content(Image.fromarray(np.array(values, np.float32).reshape(8, 8)), "TIFF")


UNFIT = {
    "floats below 0": (of(np.linspace(-1, 1, 64)), "grey values from -1 to 1"),
    "floats a little over 1": (of(np.linspace(0, 1.02, 64)), "grey values from 0 to 1.02"),
    "floats with NaN": (of([np.nan] * 64), "grey values from nan to nan"),
    "an infinite float": (of([*[0] * 63, np.inf]), "grey values from 0 to inf"),
    "a mask of classes": (content(ramp(2, np.uint16)), "grey values from 0 to 2"),
    "heights in 32 bits": (content(ramp(1e6, np.int32), "TIFF"), "grey values from 0 to 1e+06"),
    "aspect 220": (content(Image.new("RGB", (4400, 20))), "4400x20 pixels: one side is over 200 times"),
    "aspect 201 upright": (content(Image.new("L", (8, 1608))), "8x1608 pixels: one side is over 200"),
    "1x1": (content(Image.new("RGB", (1, 1))), "1x1 pixels show nothing; expected 8"),
    "2x2": (content(Image.new("RGB", (2, 2)), "GIF"), "2x2 pixels show nothing"),
    "a line": (content(Image.new("RGB", (300, 2))), "300x2 pixels show nothing"),
    "a bomb": (raw_png(8, 2, b"", size=(20_000, 20_000)), "over 179 million pixels"),
    "a bomb in a GIF": (
        content(Image.new("P", SIZE), "GIF").replace(struct.pack("<2H", *SIZE), b"\xff" * 4), "over 179 million pixels",
    ),
    "a text bomb": (
        raw_png(8, 2, bytes(72), (b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))), "not a whole picture",
    ),
    "nothing": (b"", "an empty file"),
    "a web page": (b"<html>not found</html>", "not a picture"),
    "a drawing": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not a picture"),
    "a pickle": (b"\x80\x04\x8c\x02os\x94.", "not a picture"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC, as phones write it"),
    "a film": (b"\0\0\0\x18ftypisom\0\0\0\0mp42", "or a film"),
}  # fmt: skip
NOISE = Image.effect_noise((64, 48), 50).convert("RGB")
for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "AVIF", "TIFF"):
    UNFIT[f"half a {kind}"] = (content(NOISE, kind)[: len(content(NOISE, kind)) // 2], "")


@pytest.mark.parametrize("written, reason", UNFIT.values(), ids=UNFIT)
def test_what_can_not_be_used_is_a_sentence_and_the_fingerprint_agrees(written, reason, tmp_path):
    with pytest.raises(ValueError) as error:
        seen(written, tmp_path)
    with pytest.raises(ValueError) as other:
        fingerprint(written)
    assert str(error.value) == f"{tmp_path / 'image'}: {other.value}"
    assert reason in str(other.value) and "\n" not in str(other.value) and len(str(other.value)) < 160


def test_what_is_no_file_is_a_sentence(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    cases = {
        "": "not a file",
        "gone.jpg": "no such image",
        "a\0b": "no such image",
        "x" * 300: "not readable",
        "pipe": "not a file",
    }
    for name, reason in cases.items():
        with pytest.raises(ValueError, match=f": {reason}"):
            open_image(f"{tmp_path}/{name}")


COLOURS = {
    "1 bit": content(Image.new("1", SIZE, 1)),
    "grey": content(Image.new("L", SIZE, 255), "JPEG"),
    "palette": content(Image.new("P", SIZE, 255), "BMP")
    if False
    else content(Image.new("RGB", SIZE, WHITE).quantize()),
    "CMYK JPEG": content(Image.new("CMYK", SIZE), "JPEG"),
    "CMYK TIFF": content(Image.new("CMYK", SIZE), "TIFF"),
    "Lab TIFF": content(Image.new("RGB", SIZE, "white").convert("LAB"), "TIFF"),
    "YCbCr TIFF": content(Image.new("RGB", SIZE, "white").convert("YCbCr"), "TIFF"),
    "16-bit RGB": raw_png(16, 2, b"\xff" * 6 * SIZE[0]),
    "AVIF": content(Image.new("RGB", SIZE, "white"), "AVIF"),
    "JPEG 2000": content(Image.new("RGB", SIZE, "white"), "JPEG2000"),
    "icon": content(Image.new("RGB", (32, 32), "white"), "ICO"),
}


@pytest.mark.parametrize("written", COLOURS.values(), ids=COLOURS)
def test_white_is_white_in_every_kind(written, tmp_path):
    image = seen(written, tmp_path)
    assert image.mode == "RGB" and np.asarray(image).min() >= 254 and image.size in (SIZE, (32, 32))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP", "AVIF"])
def test_of_several_frames_the_first_is_seen(kind, tmp_path):
    frames = [Image.new("RGB", SIZE, colour) for colour in (RED, "white", "black")]
    image = seen(content(frames[0], kind, save_all=True, append_images=frames[1:]), tmp_path)
    assert np.abs(np.asarray(image, int) - RED).max() <= 8


def profile(primaries, gamma: float) -> bytes:
    """A minimal ICC profile of a display: primaries as XYZ (D50), one gamma for all."""
    tags = {"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"wide\0" + bytes(78)}
    tags |= {"wtpt": b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in (0.9642, 1, 0.8249)))}
    for name, xyz in zip("rgb", primaries, strict=True):
        tags[f"{name}XYZ"] = b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in xyz))
        tags[f"{name}TRC"] = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    table, data, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        tag += bytes(-len(tag) % 4)
        table += name.encode() + struct.pack(">2I", at + len(data), len(tag))
        data += tag
    head = struct.pack(">I4sI4s4s4s", at + len(data), b"test", 0x02100000, b"mntr", b"RGB ", b"XYZ ") + bytes(12)
    head += b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


P3 = profile([(0.5151, 0.2412, -0.0011), (0.292, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)], 2.2)
ADOBE = profile([(0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)], 2.2)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_colours_of_another_profile_become_the_same_in_srgb(tmp_path):
    flat = Image.new("RGB", SIZE, (200, 80, 60))
    for wide, red in ((P3, 218), (ADOBE, 228)):  # a wider red in the same numbers is more red
        image = seen(content(flat, icc_profile=wide), tmp_path)
        assert image.getpixel((0, 0))[0] == pytest.approx(red, abs=4)
        clear = seen(content(half_clear("RGBA"), icc_profile=wide), tmp_path)
        assert clear.getpixel((0, 8))[0] > RED[0] + 8 and clear.getpixel((23, 8)) == WHITE
    for harmless in (SRGB, b"broken", P3[:200], b"", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()):
        assert seen(content(flat, icc_profile=harmless), tmp_path).getpixel((0, 0)) == (200, 80, 60)
    grey = seen(content(Image.new("L", SIZE, 90), icc_profile=P3), tmp_path)  # a profile of colours on a grey
    assert grey.getpixel((0, 0)) == (90, 90, 90)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_box_in_the_stored_pixels_ends_where_its_pixels_are_shown(orientation, kind, tmp_path):
    stored, box = Image.new("RGB", (64, 40), "white"), (8, 16, 24, 24)
    stored.paste("black", box)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = seen(content(stored, kind, exif=exif), tmp_path)
    assert image.size == ((64, 40) if orientation < 5 else (40, 64))
    rows, columns = np.where(np.asarray(image.convert("L")) < 128)
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert images.upright(box, (64, 40), orientation) == found
    frame, turn = images.stored_frame(tmp_path / "image")
    assert images.upright((0, 0, *frame), frame, turn)[2:] == image.size


def exif(kind: int, count: int, value: bytes, entries: int = 1) -> bytes:
    return (
        b"Exif\0\0II*\0\x08\0\0\0"
        + struct.pack("<HHHI", entries, 0x0112, kind, count)
        + value.ljust(4, b"\0")
        + bytes(4)
    )


@pytest.mark.parametrize(
    "tag",
    [exif(2, 2, b"6"), exif(3, 1, b"\x63"), exif(3, 1, b"\0"), exif(3, 1, b"\6", 9), b"Exif\0\0nonsense", b"Exif\0\0"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_broken_orientation_costs_no_image(tag, tmp_path):
    assert seen(content(Image.new("RGB", SIZE), "JPEG", exif=tag), tmp_path).size in (SIZE, SIZE[::-1])


def test_a_turned_copy_has_the_fingerprint_of_the_photo():
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 13, 3), dtype=np.uint8)).resize((130, 90), 3)
    tag = Image.Exif()
    tag[0x0112] = 8
    turned = content(photo.transpose(Image.Transpose.ROTATE_270), "JPEG", exif=tag)
    assert (fingerprint(turned) != fingerprint(content(photo))).sum() <= 9


def test_a_photo_of_50_megapixels_is_read(tmp_path):
    assert seen(content(Image.new("L", (8660, 5774)), "JPEG"), tmp_path).size == (8660, 5774)


def test_plain_photos_decode_to_the_pixels_that_pillow_gives(real_photos, tmp_path):
    photos = [path.read_bytes() for path in sorted(real_photos.joinpath("images").iterdir())]
    unlike = 0
    for written in [*photos, scenes.make_scene(0, "test").jpeg]:
        with Image.open(io.BytesIO(written)) as image:
            plain = ImageOps.exif_transpose(image).convert("RGB")
            colours = image.info.get("icc_profile", b"")
        grey = np.asarray(plain.convert("L").resize((17, 16)), int)
        same = seen(written, tmp_path).tobytes() == plain.tobytes()
        assert same == (not colours or b"sRGB" in colours)
        unlike += (fingerprint(written) != (grey[:, 1:] > grey[:, :-1]).ravel()).any()
    assert unlike <= 3  # of which the colours are Adobe RGB or a camera's own

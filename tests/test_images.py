"""Tables of kinds of images: what is seen of each, or why it is not used."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from mags_kit.data import scenes
from mags_kit.images import decode, difference_hash, open_image

WHITE, RED, SIZE = (255, 255, 255), (200, 30, 20), (24, 16)
BLACK = Image.new("RGB", SIZE)


def content(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def raw_png(depth: int, colour: int, row: bytes, *chunks: tuple[bytes, bytes], size=SIZE) -> bytes:
    """A PNG of equal rows, byte for byte: of kinds that Pillow reads and does not write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    parts = (b"IHDR", header), *chunks, (b"IDAT", zlib.compress((b"\0" + row) * size[1])), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def half_clear(mode: str) -> Image.Image:
    """Left half visible, right half transparent over a hidden black."""
    image = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    image.paste((*RED, 255), (0, 0, 12, 16))
    return image.convert(mode)


def keyed_palette() -> Image.Image:
    image = Image.new("P", SIZE, 1)
    image.putpalette([*RED, 0, 0, 0])
    image.paste(0, (0, 0, 12, 16))
    return image


def test_transparent_pixels_are_white():
    grey = Image.new("RGB", (1, 1), RED).convert("L").getpixel((0, 0))
    cases = {
        "RGBA PNG": (content(half_clear("RGBA")), RED, WHITE),
        "grey and alpha": (content(half_clear("LA")), (grey,) * 3, WHITE),
        "palette with a clear colour": (content(keyed_palette(), transparency=1), RED, WHITE),
        "GIF": (content(keyed_palette(), "GIF", transparency=1), RED, WHITE),
        "WebP": (content(half_clear("RGBA"), "WEBP", lossless=True), RED, WHITE),
        "RGB with a clear colour": (content(half_clear("RGB"), transparency=(0, 0, 0)), RED, WHITE),
        "16-bit grey and alpha": (raw_png(16, 4, struct.pack(">4H", 0, 65535, 0, 0) * 12), (0, 0, 0), WHITE),
    }
    images = {name: decode(written) for name, (written, *_) in cases.items()}
    seen = {name: (image.getpixel((0, 8)), image.getpixel((23, 8))) for name, image in images.items()}
    assert seen == {name: (left, right) for name, (_, left, right) in cases.items()}


def ramp(high: float, kind) -> Image.Image:
    return Image.fromarray((np.linspace(0, high, SIZE[0])[None].repeat(SIZE[1], 0)).astype(kind))


def test_deep_greys_go_from_black_to_white():
    cases = {
        "16-bit PNG": content(ramp(65535, np.uint16)),
        "16-bit TIFF": content(ramp(65535, np.uint16), "TIFF"),
        "12 bits in a PNG": content(ramp(4095, np.uint16)),
        "32-bit TIFF": content(ramp(65535, np.int32), "TIFF"),
        "floats to 1": content(ramp(1, np.float32), "TIFF"),
    }
    expected = np.linspace(0, 255, SIZE[0])
    off = {name: np.abs(np.asarray(decode(written), int)[3, :, 0] - expected).max() for name, written in cases.items()}
    assert not {name: value for name, value in off.items() if value > 1}


def test_a_tiff_where_0_is_white_is_no_negative():
    zero, levels, white = {"tiffinfo": {262: 0}}, np.linspace(255, 0, SIZE[0]), np.full(SIZE[0], 255)
    eight, bits = ramp(255, np.uint8).transpose(Image.Transpose.FLIP_LEFT_RIGHT), Image.new("1", SIZE, 255)
    cases = {  # Pillow itself turns 1 and 8 bits into what the tag says, when it writes and when it reads
        "1 bit, group 4": (content(bits, "TIFF", compression="group4", **zero), white),
        "8 bits": (content(eight, "TIFF", **zero), levels),
        "8 bits, LZW": (content(eight, "TIFF", compression="tiff_lzw", **zero), levels),
        "16 bits": (content(ramp(65535, np.uint16), "TIFF", **zero), levels),
        "16 bits, deflate": (content(ramp(65535, np.uint16), "TIFF", compression="tiff_deflate", **zero), levels),
        "12 of 16 bits": (content(ramp(4095, np.uint16), "TIFF", **zero), levels),
        "16 bits, an empty page": (content(ramp(0, np.uint16), "TIFF", **zero), white),
        "floats": (content(ramp(1, np.float32), "TIFF", **zero), levels),
        "16 bits where 0 is black": (content(ramp(65535, np.uint16), "TIFF"), levels[::-1]),
    }
    off = {name: np.abs(np.asarray(decode(c), int)[3, :, 0] - row).max() for name, (c, row) in cases.items()}
    assert not {name: value for name, value in off.items() if value > 1}


def bmp(header: int, alpha: int, masks=(0xFF0000, 0xFF00, 0xFF, 0xFF000000), upwards: int = 1) -> bytes:
    """A red BMP of 32 bits, which Pillow does not write with a mask of alpha."""
    colour = dict(zip(masks, (*RED, alpha), strict=True))
    rows = bytes(colour[0xFF << shift] for shift in (0, 8, 16, 24)) * SIZE[0] * SIZE[1]
    facts = (header, SIZE[0], upwards * SIZE[1], 1, 32, 3, len(rows), 0, 0, 0, 0, *masks)
    head = struct.pack("<IiiHHIIiiII4I", *facts).ljust(header, b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + header + len(rows), 0, 0, 14 + header) + head + rows


def icon(alpha: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, 32, 64, 1, 32, *[0] * 6)  # the height is twice: colours, then a mask
    body = head + bytes((*RED[::-1], alpha)) * 32 * 32 + bytes(4 * 32)
    return struct.pack("<3H4B2H2I", 0, 1, 1, 32, 32, 0, 0, 1, 32, len(body), 22) + body


def test_an_alpha_of_zeros_hides_no_picture_of_windows():
    clear = Image.new("RGBA", SIZE, (*RED, 0))
    cases = {f"BMP, header of {size} bytes": (bmp(size, 0), RED) for size in (56, 108, 124)}
    cases |= {
        "BMP, red first": (bmp(124, 0, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)), RED),
        "BMP, alpha first": (bmp(108, 0, (0xFF000000, 0xFF0000, 0xFF00, 0xFF)), RED),
        "BMP, downwards": (bmp(108, 0, upwards=-1), RED),
        "BMP with an alpha": (bmp(124, 51), (244, 210, 208)),
        "ICO": (icon(0), RED),
        "ICO with an alpha": (icon(51), (244, 210, 208)),
        "a clear PNG": (content(clear), WHITE),
        "a clear WebP": (content(clear, "WEBP", lossless=True, exact=True), WHITE),
    }
    seen = {name: decode(written).getpixel((8, 8)) for name, (written, _) in cases.items()}
    assert seen == {name: colour for name, (_, colour) in cases.items()}


def test_white_is_white_in_every_kind():
    white = Image.new("RGB", SIZE, "white")
    frames, kinds = {"save_all": True, "append_images": [BLACK]}, ("GIF", "PNG", "TIFF", "WEBP", "AVIF")
    cases = {f"{kind}, a black frame after": content(white, kind, **frames) for kind in kinds}
    cases |= {
        "1 bit": content(Image.new("1", SIZE, 1)),
        "grey": content(Image.new("L", SIZE, 255), "JPEG"),
        "palette": content(white.quantize()),
        "CMYK JPEG": content(Image.new("CMYK", SIZE), "JPEG"),
        "Lab TIFF": content(white.convert("LAB"), "TIFF"),
        "16-bit RGB": raw_png(16, 2, b"\xff" * 6 * SIZE[0]),
        "AVIF": content(white, "AVIF"),
        "JPEG 2000": content(white, "JPEG2000"),
    }
    darkest = {name: np.asarray(decode(written)).min() for name, written in cases.items()}
    assert not {name: value for name, value in darkest.items() if value < 254}


def floats(values) -> bytes:
    return content(Image.fromarray(np.array(values, np.float32).reshape(8, 8)), "TIFF")


def test_what_can_not_be_used_is_one_sentence():
    noise = Image.effect_noise((64, 48), 50).convert("RGB")
    cases = {
        "floats below 0": (floats(np.linspace(-1, 1, 64)), "grey values from -1 to 1"),
        "floats with NaN": (floats([np.nan] * 64), "grey values from nan to nan"),
        "a mask of classes": (content(ramp(2, np.uint16)), "grey values from 0 to 2"),
        "aspect 220": (content(Image.new("RGB", (4400, 20))), "4400x20 pixels; expected"),
        "1x1": (content(Image.new("RGB", (1, 1))), "1x1 pixels; expected 8"),
        "a bomb": (raw_png(8, 2, b"", size=(20_000, 20_000)), "over 179 million pixels"),
        "a text bomb": (
            raw_png(8, 2, bytes(72), (b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))), "not a whole picture",
        ),
        "nothing": (b"", "an empty file"),
        "a pickle": (b"\x80\x04\x8c\x02os\x94.", "not a picture"),
    }  # fmt: skip
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "AVIF", "TIFF"):
        cases[f"half a {kind}"] = (content(noise, kind)[: len(content(noise, kind)) // 2], "not a ")
    said = {}
    for name, (written, reason) in cases.items():
        try:
            said[name] = decode(written)
        except ValueError as error:
            if reason not in str(error) or "\n" in str(error) or len(str(error)) > 160:
                said[name] = str(error)
    assert not said


def test_what_is_no_file_is_a_sentence(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text.jpg").write_text("not an image")
    cases = {"": "not a file", "gone.jpg": "no such image", "pipe": "not a file", "text.jpg": "not a picture"}
    for name, reason in cases.items():
        with pytest.raises(ValueError, match=f"{tmp_path}.*: {reason}"):
            open_image(f"{tmp_path}/{name}")


SRGB = [(0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)]


def profile(primaries, gamma: float, name: bytes = b"wide") -> bytes:
    """A minimal ICC profile of a display: primaries as XYZ (D50), one gamma for all."""
    tags = {"desc": b"desc" + bytes(4) + struct.pack(">I", len(name) + 1) + name + bytes(79)}
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


def test_colours_of_another_profile_become_the_same_in_srgb():
    p3 = profile([(0.5151, 0.2412, -0.0011), (0.292, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)], 2.2)
    adobe = profile([(0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)], 2.2)
    flat = Image.new("RGB", SIZE, (200, 80, 60))
    for wide, red in ((p3, 218), (adobe, 228)):  # a wider red in the same numbers is more red
        assert decode(content(flat, icc_profile=wide)).getpixel((0, 0))[0] == pytest.approx(red, abs=4)
        clear = decode(content(half_clear("RGBA"), icc_profile=wide))
        assert clear.getpixel((0, 8))[0] > RED[0] + 8 and clear.getpixel((23, 8)) == WHITE
    srgb, lab = (ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes() for name in ("sRGB", "LAB"))
    for harmless in (srgb, b"broken", p3[:200], b"", lab):
        assert decode(content(flat, icc_profile=harmless)).getpixel((0, 0)) == (200, 80, 60)
    grey = decode(content(Image.new("L", SIZE, 90), icc_profile=p3))  # a profile of colours on a grey
    assert grey.getpixel((0, 0)) == (90, 90, 90)


def test_the_curve_of_a_profile_counts_and_not_its_name():
    grey, linear = Image.new("RGB", SIZE, (64, 64, 64)), profile(SRGB, 1, b"GIMP built-in Linear sRGB")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    cases = {
        "GIMP's linear sRGB": (content(grey, icc_profile=linear), 137),
        "with alpha": (content(grey.convert("RGBA"), icc_profile=linear), 137),
        "a palette": (content(grey.quantize(), icc_profile=linear), 137),
        "a JPEG": (content(grey, "JPEG", icc_profile=linear), 137),
        "elle's linear sRGB": (content(grey, icc_profile=profile(SRGB, 1, b"sRGB-elle-V2-g10.icc")), 137),
        "sRGB's primaries, gamma 1.8": (content(grey, icc_profile=profile(SRGB, 1.8, b"sRGB gamma 1.8")), 81),
        "nearly sRGB": (content(grey, icc_profile=profile(SRGB, 2.2, b"sRGB")), 62),
        "sRGB under another name": (content(grey, icc_profile=srgb.replace("sRGB".encode("utf-16-be"), bytes(8))), 64),
    }
    seen = {name: decode(written).getpixel((0, 0))[0] for name, (written, _) in cases.items()}
    assert {name: value for name, value in seen.items() if abs(value - cases[name][1]) > 1} == {}


def test_xmp_turns_no_image_as_in_chromium():
    stored, exif, packet = Image.new("RGB", (64, 40)), Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x0112] = 6
    attribute, element = b'<a tiff:Orientation="6"/>', b"<tiff:Orientation>6</tiff:Orientation>"
    packet.add_itxt("XML:com.adobe.xmp", attribute.decode())
    cases = {kind: (content(stored, kind, xmp=attribute), (64, 40)) for kind in ("JPEG", "WEBP", "AVIF")}
    cases |= {
        "as an element": (content(stored, "JPEG", xmp=element), (64, 40)),
        "PNG": (content(stored, pnginfo=packet), (64, 40)),
        "EXIF beside it": (content(stored, "JPEG", xmp=attribute.replace(b"6", b"1"), exif=exif), (40, 64)),
        "EXIF in a PNG beside it": (content(stored, pnginfo=packet, exif=exif), (40, 64)),
    }
    seen = {name: decode(written).size for name, (written, _) in cases.items()}
    assert seen == {name: size for name, (_, size) in cases.items()}


def test_images_are_turned_as_exif_says():
    stored = Image.new("RGB", (64, 40), "white")
    stored.paste("black", (0, 0, 16, 8))  # the corner of the stored image
    corners = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}
    wrong = []
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        for orientation, (right, low) in corners.items():
            exif = Image.Exif()
            exif[0x0112] = orientation
            image = decode(content(stored, kind, exif=exif))
            width, height = image.size
            shown = image.size == ((64, 40) if orientation < 5 else (40, 64))
            if not shown or image.getpixel((right * (width - 1), low * (height - 1)))[0] > 128:
                wrong.append((kind, orientation))
    assert not wrong


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_broken_exif_costs_no_image():
    for tag in (b"Exif\0\0nonsense", b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x02\0\0\0006\0"):
        assert decode(content(Image.new("RGB", SIZE), "JPEG", exif=tag)).size == SIZE


def test_copies_of_a_photo_have_nearly_the_same_difference_hash():
    pixels = np.random.default_rng(0).integers(0, 255, (2, 9, 13, 3), dtype=np.uint8)
    photo, other = (Image.fromarray(each).resize((130, 90), Image.BICUBIC) for each in pixels)
    tag = Image.Exif()
    tag[0x0112] = 8
    turned = decode(content(photo.transpose(Image.Transpose.ROTATE_270), "JPEG", exif=tag))
    for copy in (turned, photo.resize((65, 45))):
        assert (difference_hash(copy) != difference_hash(photo)).sum() <= 9
    assert (difference_hash(other) != difference_hash(photo)).sum() > 80


def test_plain_photos_decode_to_the_pixels_that_pillow_gives(real_photos):
    photos = [path.read_bytes() for path in sorted(real_photos.joinpath("images").iterdir())]
    for written in [*photos, scenes.make_scene(0, "test").jpeg]:
        with Image.open(io.BytesIO(written)) as image:
            plain = ImageOps.exif_transpose(image).convert("RGB")
            colours = image.info.get("icc_profile", b"")
        assert (decode(written).tobytes() == plain.tobytes()) == (not colours or b"sRGB" in colours)

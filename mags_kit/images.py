"""Reading images as viewers show them: first frame, upright, sRGB, on white, 8 bits; see `docs/input.md`."""

import io
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION

from mags_kit.records import existing

# What cameras, browsers and scanners write. Pillow would run Ghostscript, a program, on an EPS file.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF", "JPEG2000", "ICO")
MAX_ASPECT = 200  # Qwen's processors raise on longer images
MIN_SIDE = 8  # pixels; smaller images are mostly placeholders for missing ones
SAME = 30  # bits of 256: copies of a photo differ by up to 9, different photos by 99 and more (27 photos of COCO)
WHITES = (1, 255, 1023, 4095, 16383, 65535)  # white in grey images of 1, 8, 10, 12, 14 and 16 bits


def open_image(path: str | Path) -> Image.Image:
    """The RGB image in a file. ValueError says which file is missing, broken or unusable, and why."""
    path = os.path.normpath(path)
    try:
        found = existing(path)
        if not os.path.isfile(found):  # opening a pipe would block
            raise ValueError("not a file" if os.path.exists(found) else "no such image")
        return decode(found.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: not readable ({error.strerror})") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def decode(content: bytes) -> Image.Image:
    """The RGB image in the content of a file; ValueError with the reason where it can't be used."""
    if not content:
        raise ValueError("an empty file")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            image.load()
            white_is_zero = image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0
            if image.format in ("BMP", "ICO") and image.mode == "RGBA" and not image.getchannel("A").getbbox():
                image = image.convert("RGB")  # programs of Windows leave alpha at 0 where they do not use it
            for xmp in ("xmp", "XML:com.adobe.xmp"):  # Pillow would turn by it; browsers turn by EXIF alone
                image.info.pop(xmp, None)
            with suppress(Exception):  # broken EXIF data, of many kinds, cost no image
                image = ImageOps.exif_transpose(image)
    except UnidentifiedImageError:
        expected = f"expected {', '.join(FORMATS)}; save HEIC as JPEG"
        raise ValueError(f"not a picture that Pillow reads ({expected})") from None
    except Image.DecompressionBombError:
        raise ValueError(f"over {2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f} million pixels; make it smaller") from None
    except Exception as error:  # Pillow raises many kinds for truncated files
        raise ValueError(f"not a whole picture ({str(error) or type(error).__name__})") from None
    short, long = sorted(image.size)
    if short < MIN_SIDE or long > MAX_ASPECT * short:
        size = f"{image.width}x{image.height} pixels"
        raise ValueError(f"{size}; expected {MIN_SIDE} or more a side, and {MAX_ASPECT}:1 at most")
    return _in_rgb(image, white_is_zero)


def difference_hash(image: Image.Image) -> np.ndarray:
    """256 bits `(256,)`, much the same for copies in another size or quality: where a thumbnail gets brighter."""
    grey = np.asarray(image.convert("L").resize((17, 16)), int)
    return (grey[:, 1:] > grey[:, :-1]).ravel()


def png(image: Image.Image) -> bytes:
    """An image as the content of a PNG file; four times as fast as Pillow's default, and a fifth larger."""
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _in_rgb(image: Image.Image, white_is_zero: bool) -> Image.Image:
    info = image.info
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image, white_is_zero)
    if image.has_transparency_data:
        image = _in_srgb(image.convert("RGBA"), info)
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.mode not in ("RGB", "L", "CMYK", "LAB"):
        image = image.convert("RGB")
    return _in_srgb(image, info).convert("RGB")


def _in_srgb(image: Image.Image, info: dict) -> Image.Image:
    """Colours of another profile (Display P3, a printer's CMYK) in sRGB; a broken profile is ignored."""
    if not (profile := info.get("icc_profile")):
        return image
    try:
        described, mode = ImageCms.ImageCmsProfile(io.BytesIO(profile)), "RGBA" if image.mode == "RGBA" else "RGB"
        transform = ImageCms.buildTransform(described, ImageCms.createProfile("sRGB"), image.mode, mode)
        return ImageCms.applyTransform(image, transform)
    except (ImageCms.PyCMSError, OSError):
        return image


def _eight_bits(image: Image.Image, white_is_zero: bool) -> Image.Image:
    """Deep grey, scaled by the least of `WHITES` that no value exceeds: files do not say what white is."""
    values = np.asarray(image)
    low, high = values.min(), values.max()
    white = next((white for white in WHITES if high <= white), None)
    # NaN; heights; a mask of classes, which would be all black
    if white is None or low < 0 or (high < white / 100 and not white_is_zero):
        raise ValueError(f"grey values from {low:g} to {high:g}; expected 0 to one of {', '.join(map(str, WHITES))}")
    shown = np.rint(values * np.float32(255 / white)).astype(np.uint8)
    return Image.fromarray(255 - shown if white_is_zero else shown)

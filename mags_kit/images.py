"""The one way in for images: what `docs/input.md` says of each kind; and their fingerprint, by which copies are found.

An image is what a viewer shows: the first frame, upright, in sRGB, on white, eight bits a channel.
"""

import io
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

# What cameras, browsers and scanners write. Pillow would hand EPS to Ghostscript, a program, whoever wrote the file.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF", "JPEG2000", "ICO")
MAX_ASPECT = 200  # Qwen's processors refuse longer images, by an error in the middle of a run
MIN_SIDE = 8  # pixels; in less there is no region to look at, and mostly it stands for a picture that was not had
WHITES = (255, 1023, 4095, 16383, 65535)  # of grey in 8, 10, 12, 14 and 16 bits
TURNS = {  # EXIF orientation -> how the stored image is turned, and where its point (x, y) of (w, h) comes to lie
    2: (Image.Transpose.FLIP_LEFT_RIGHT, lambda x, y, w, h: (w - x, y)),
    3: (Image.Transpose.ROTATE_180, lambda x, y, w, h: (w - x, h - y)),
    4: (Image.Transpose.FLIP_TOP_BOTTOM, lambda x, y, w, h: (x, h - y)),
    5: (Image.Transpose.TRANSPOSE, lambda x, y, w, h: (y, x)),
    6: (Image.Transpose.ROTATE_270, lambda x, y, w, h: (h - y, x)),
    7: (Image.Transpose.TRANSVERSE, lambda x, y, w, h: (h - y, w - x)),
    8: (Image.Transpose.ROTATE_90, lambda x, y, w, h: (y, w - x)),
}


class Unfit(ValueError):
    """A whole picture that can't be shown to a policy."""


def open_image(path: str | Path) -> Image.Image:
    """An RGB image; one that is missing, broken or unfit is a ValueError that says which, and why."""
    try:
        return _decode(Path(os.path.normpath(path)))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def fingerprint(source: bytes | Path) -> np.ndarray:
    """256 bits `(256,)` of a picture's rough look, alike for copies of other size or quality (difference hash).

    What `open_image` would not open is a ValueError with the reason.
    """
    grey = np.asarray(_decode(source).convert("L").resize((17, 16)), int)
    return (grey[:, 1:] > grey[:, :-1]).ravel()


def stored_frame(path: Path) -> tuple[tuple[int, int], int]:
    """(width, height) of the pixels as they are stored, and the EXIF orientation (1 to 8) by which they are shown."""
    with Image.open(path, formats=FORMATS) as image:
        image.load()  # after which a TIFF stands upright
        return image.size, _orientation(image)


def upright(box: tuple, size: tuple[int, int], orientation: int) -> tuple:
    """A box in an image as stored, of `size`, -> in the same image as it is shown.

    >>> upright((0, 0, 10, 20), (100, 50), 6)  # the camera was turned: the upper left corner comes to the right
    (30, 0, 50, 10)
    """
    if orientation not in TURNS:
        return tuple(box)
    _, moved = TURNS[orientation]
    corners = moved(*box[:2], *size), moved(*box[2:], *size)
    (x0, x1), (y0, y1) = (sorted(side) for side in zip(*corners, strict=True))
    return x0, y0, x1, y1


def png(image: Image.Image) -> bytes:
    """An image as the content of a PNG file; a quarter of the time of Pillow's default, and a fifth larger."""
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _decode(source: bytes | Path) -> Image.Image:
    """The whole picture in RGB, as it is shown, or a ValueError with the reason."""
    if isinstance(source, bytes):
        return _read(io.BytesIO(source))
    try:
        if not source.is_file():  # a pipe would be waited for
            raise ValueError("not a file" if source.exists() else "no such image")
        with open(source, "rb") as file:
            return _read(file)
    except OSError as error:
        raise ValueError(f"not readable ({error.strerror})") from None


def _read(file: BinaryIO) -> Image.Image:
    try:
        with Image.open(file, formats=FORMATS) as image:
            _check_shape(*image.size)
            image.load()
            return _shown(image)
    except Unfit:
        raise
    except UnidentifiedImageError:
        file.seek(0)
        raise ValueError(_not_a_picture(file.read(12))) from None
    except Image.DecompressionBombError:
        raise ValueError(f"over {2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f} million pixels; make it smaller") from None
    except Exception as error:  # Pillow raises many kinds for files cut short
        raise ValueError(f"not a whole picture ({str(error) or type(error).__name__})") from None


def _not_a_picture(head: bytes) -> str:
    if not head:
        return "an empty file"
    if head[4:8] == b"ftyp" and head[8:12] != b"avif":
        return "HEIC, as phones write it, or a film, neither of which is read here; save it as JPEG"
    return f"not a picture (expected {', '.join(FORMATS)})"


def _check_shape(width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE:
        raise Unfit(f"{width}x{height} pixels show nothing; expected {MIN_SIDE} a side at least")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise Unfit(f"{width}x{height} pixels: one side is over {MAX_ASPECT} times the other, which no policy takes")


def _shown(image: Image.Image) -> Image.Image:
    """A decoded image as a viewer shows it."""
    orientation = _orientation(image)
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    elif image.has_transparency_data:
        image = _in_srgb(image.convert("RGBA"), image.info.get("icc_profile"))
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        image = white
    else:
        image = image if image.mode in ("RGB", "L", "CMYK", "LAB") else image.convert("RGB")
        image = _in_srgb(image, image.info.get("icc_profile"))
    if orientation in TURNS:
        image = image.transpose(TURNS[orientation][0])
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """Of the EXIF data; where these are broken, that of the pixels."""
    try:
        return image.getexif().get(0x0112, 1)
    except Exception:  # of many kinds, as above
        return 1


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Colours of another profile (Display P3, Adobe RGB, a printer's CMYK) as the same colours in sRGB.

    A profile that is broken, or for another kind of image, is passed over, as viewers do.
    """
    if not profile:
        return image
    try:
        described = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(described).lower():
            return image
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        return ImageCms.profileToProfile(image, described, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError):
        return image


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits or of floats, scaled by the least of `WHITES` (floats: or 1) that no value exceeds.

    The files do not say what is white, and a 12-bit picture in 16 bits would be nearly black. Values that no picture
    has, or that would all be black, as a mask's of classes, are unfit.
    """
    values, key = np.asarray(image), image.info.get("transparency")
    low, high = values.min(), values.max()
    white = next((w for w in ((1,) if image.mode == "F" else ()) + WHITES if high <= w), None)
    if white is None or not low >= 0 or high < white / 100:
        raise Unfit(
            f"grey values from {low:g} to {high:g}; expected 0 to {', '.join(map(str, WHITES))}, or floats to 1"
        )
    grey = np.rint(values * np.float32(255 / white)).astype(np.uint8)
    if isinstance(key, int):
        grey[values == key] = 255
    return Image.fromarray(grey)

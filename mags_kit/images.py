"""The one way in for images: opened upright and in RGB, and their fingerprint, by which copies of a photo are found."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError


def open_image(path: str | Path) -> Image.Image:
    """An RGB image, upright by its EXIF orientation; a missing or broken file is a ValueError that says which."""
    try:
        with Image.open(os.path.normpath(path)) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError:
        raise ValueError(f"{path}: no such image") from None
    except Exception as error:  # Pillow raises many kinds for files cut short or of no image format
        raise ValueError(f"{path}: not a readable image ({error})") from None


def fingerprint(content: bytes) -> np.ndarray:
    """256 bits `(256,)` of a picture's rough look, alike for copies of other size or quality (difference hash).

    It decodes the whole picture: one that is cut short, or none at all, is a ValueError.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            grey = np.asarray(image.convert("L").resize((17, 16)), int)
    except UnidentifiedImageError:
        raise ValueError("not a picture") from None
    except Exception as error:  # Pillow raises many kinds for files cut short
        raise ValueError(f"not a whole picture ({error})") from None
    return (grey[:, 1:] > grey[:, :-1]).ravel()


def png(image: Image.Image) -> bytes:
    """An image as the content of a PNG file."""
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()

"""Images kept as PNG, JPEG or the like, decoded by Pillow, an extra; sizes are read and checked before the pixels."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
GREY = ("1", "L", "LA")
COLOUR = ("P", "RGB", "RGBA", "CMYK", "YCbCr")


def pillow() -> Any:
    """The package's Image module, or a sentence on how to get it."""
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "decoding the images of this dataset needs Pillow, which is not installed. Install gradnoise[huggingface]."
        ) from None
    return Image


def decoded(files: Sequence[bytes], told: str, max_bytes: int) -> np.ndarray:
    """Bytes (n, channels, height, width) of images of one size: one channel if the first is grey, else three.

    Raises ValueError for what is no image, sizes that differ, colour after grey, or more than `max_bytes` as float32.
    """
    channels, (width, height) = _form(files[0], told)
    count = len(files) * channels * height * width
    if 4 * count > max_bytes:
        raise ValueError(f"{told} takes {4 * count} bytes as float32, expected at most {max_bytes}. Cut it.")
    pixels = np.empty((len(files), channels, height, width), np.uint8)
    for number, file in enumerate(files):
        own, size = _form(file, told)
        if size != (width, height) or own > channels:
            raise ValueError(
                f"{told}: image {number} is {size[0]} x {size[1]} with {own} channels, expected {width} x {height} with "
                f"{channels} as the first. Give all images one size and kind."
            )
        pixels[number] = _pixels(file, "L" if channels == 1 else "RGB", told)
    return pixels


def _form(file: bytes, told: str) -> tuple[int, tuple[int, int]]:
    """Channels, (width, height) by the file's header; nothing is decoded."""
    try:
        with pillow().open(io.BytesIO(file), formats=FORMATS) as image:
            mode, size = image.mode, image.size
    except (OSError, ValueError, SyntaxError, pillow().DecompressionBombError):
        raise ValueError(
            f"{told} holds what is no image of a known form ({', '.join(FORMATS)}). Leave it out."
        ) from None
    if mode not in GREY + COLOUR:
        raise ValueError(f"{told} holds an image of mode {mode}, expected 8 bits a channel. Convert it.")
    return (1 if mode in GREY else 3), size


def _pixels(file: bytes, mode: str, told: str) -> np.ndarray:
    try:
        with pillow().open(io.BytesIO(file), formats=FORMATS) as image:
            pixels = np.asarray(image.convert(mode))
    except (OSError, ValueError, SyntaxError, EOFError):
        raise ValueError(f"{told} holds a damaged image, expected a whole one. Leave it out.") from None
    return pixels[None] if mode == "L" else np.moveaxis(pixels, -1, 0)

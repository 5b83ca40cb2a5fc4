"""Decoding photos: Pillow does the work, these are the rules. Every image becomes uint8 RGB (3,H,W).

    suffix            ignored; the content tells the format
    EXIF orientation  applied: the image is as a person sees it (boxes are drawn on that)
    alpha, palette    palettes are expanded; what is transparent is blended onto white
    gray, 1 bit       repeated to three channels; 1 bit becomes 0 and 255
    16 bits           the upper byte is kept
    CMYK              converted by Pillow's formula, without colour profiles
    animation         the first frame
    float, 32 bits    refused: their range is not in the file, any scaling would be a guess
    size              more than 50 million pixels refused before decoding (decompression bombs)
    damage            refused: cut off, wrong checksum, empty, not an image
"""

import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

LARGEST = 50_000_000    # pixels
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}     # of files to look at in a folder


def read_image(path):
    """uint8 RGB (3,H,W) by the rules above. FileNotFoundError, or ValueError that names the file."""
    return np.ascontiguousarray(np.asarray(opened(path, to_rgb)).transpose(2, 0, 1))


def image_size(path):
    """(H,W) of what `read_image` would return, from the file's header alone; errors as there, but for damage further in."""
    return opened(path, upright_size)


def opened(path, read):
    """read(image) of an image file, with every failure told as one error that names the file."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)     # our limit is lower
            with Image.open(path) as image:
                if image.width * image.height > LARGEST:
                    raise ValueError(f"{image.width}×{image.height} is more than {LARGEST} pixels")
                return read(image)
    except UnidentifiedImageError:
        size = path.stat().st_size
        what = f"{size} bytes of another format" if size else "empty file"
        raise ValueError(f"{path}: not an image ({what})") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: cannot be decoded: {error}") from None


def upright_size(image):
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    if turned and image.format == "TIFF":           # some versions of Pillow turn a TIFF when it is decoded, and then say so
        image.load()
        image = ImageOps.exif_transpose(image)
        turned = False
    return (image.width, image.height) if turned else (image.height, image.width)


def to_rgb(image):
    image.load()                                        # decode everything now, so that damage shows
    mode = image.mode
    if mode == "F" or (mode == "I" and image.format not in ("PNG", "PPM")):
        raise ValueError(f"pixels of 32 bits (mode {mode}) have no known range")
    image = ImageOps.exif_transpose(image)
    if mode.startswith("I"):                            # 16-bit gray
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8), "L")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")

"""Pictures as pixels of the size that an image model looks at. Runs in the child process of parse.py."""

import base64
import io
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

from retrieval.text import Picture, Unreadable

MAX_PIXELS = 40_000_000  # of one picture; Pillow holds each in four bytes, and converting it takes a second copy
_LONGEST = 20  # times the shorter side; of a longer picture the middle counts, where a model looks
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")


def read_picture(raw: bytes, edge: int) -> Picture:
    """Return the picture, of an animated one the first frame, upright, in RGB, its shorter side `edge` pixels long. Raises Unreadable.

    Pixels are computed as transformers' CLIP processor does it (bicubic), so that it has nothing left to resize.
    """
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is ours
    try:
        with Image.open(io.BytesIO(raw), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Unreadable(_too_large(f"has {image.width} × {image.height} pixels"))
            ImageOps.exif_transpose(image, in_place=True)
            upright = image.convert("RGB")
    except UnidentifiedImageError as error:
        raise Unreadable("is no picture in PNG, JPEG, WebP or GIF, whatever its name says") from error
    except Image.DecompressionBombError as error:
        raise Unreadable(_too_large("has more pixels")) from error
    small = _resized(_middle(upright), edge)
    return Picture(small.width, small.height, base64.b64encode(small.tobytes()).decode("ascii"))


def _too_large(what: str) -> str:
    return f"{what}, more than the {MAX_PIXELS // 10**6} million that are read; save it smaller"


def _middle(image: Image.Image) -> Image.Image:
    width, height = image.size
    most = _LONGEST * min(width, height)
    left, top = max(0, width - most) // 2, max(0, height - most) // 2
    return image.crop((left, top, width - left, top + min(height, most))) if left or top else image


def _resized(image: Image.Image, edge: int) -> Image.Image:
    short = min(image.size)
    size = tuple(int(edge * side / short) for side in image.size)
    return image.resize((size[0], size[1]), Image.Resampling.BICUBIC)

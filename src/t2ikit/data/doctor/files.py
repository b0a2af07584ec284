"""What the headers of image files say that training does not see: transparency, profiles, depth."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image, ImageCms

from t2ikit.data.image_files import SIXTEEN_BIT, UNREADABLE, open_image
from t2ikit.utils.quoting import shortened, visible

SHOWN = 60
OPAQUE = 255


@dataclass(frozen=True)
class FileFacts:
    """What is known of an image file.

    Attributes:
        width, height: pixels, upright.
        transparent: whether any pixel is.
        profile: the name of a colour profile that is not sRGB; "" if there is none.
        cmyk: whether its colours are for printing.
        deep: whether it has more than 8 bits a channel.
    """

    width: int
    height: int
    transparent: bool
    profile: str
    cmyk: bool
    deep: bool


def facts_of(content: bytes) -> FileFacts | None:
    """The facts of a file; None where it is not an image that can be read."""
    try:
        with open_image(io.BytesIO(content)) as image:
            width, height = image.size
            if image.getexif().get(0x0112, 1) >= 5:  # lies on its side
                width, height = height, width
            profile = _profile(image.info.get("icc_profile"))
            deep = image.mode in SIXTEEN_BIT
            return FileFacts(width, height, _is_transparent(image), profile, image.mode == "CMYK", deep)
    except UNREADABLE:
        return None


def _is_transparent(image: Image.Image) -> bool:
    """Whether a pixel is; only images that may have one are decoded."""
    if not image.has_transparency_data:
        return False
    lowest = image.convert("RGBA").getchannel("A").getextrema()[0]
    return isinstance(lowest, int) and lowest < OPAQUE


def _profile(content: bytes | None) -> str:
    """The name of a colour profile; "" for none, and for sRGB in any of its spellings."""
    if not content:
        return ""
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(content))).strip()
    except (ImageCms.PyCMSError, *UNREADABLE):
        return "a damaged profile"
    return "" if "srgb" in name.lower().replace(" ", "") else shortened(visible(name), SHOWN)

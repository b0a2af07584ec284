"""Config classes of the gigagan plugin. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from t2ikit import Config
from t2ikit import OneStepConfig as OneStepConfig

Channels = Annotated[int, Field(ge=4)]
Filters = Annotated[int, Field(ge=1, le=64)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class SynthesisConfig(Config):
    """Options of both generators."""

    latent_width: int = Field(64, ge=1)
    """width of the latent z"""
    style_width: int = Field(128, ge=8)
    """width of the style w"""
    mapping_layers: int = Field(4, ge=1, le=16)
    """layers of the mapping network"""
    tower_width: int = Field(128, ge=8, multiple_of=4)
    """width of the trainable text tower"""
    tower_layers: int = Field(0, ge=0, le=12)
    """transformer layers of the trainable text tower, on top of its convolutions"""
    head_width: int = Field(16, ge=4)
    """channels of an attention head; divides the channels of every level that attends"""
    checkpointing: bool = False
    """recompute activations in the backward pass: less memory, about a third more time"""


class GeneratorConfig(SynthesisConfig):
    """Options of the generator; lists have an entry per level, from 4 px to full size."""

    channels: tuple[Channels, ...] = Field((64, 64, 32, 16), min_length=2)
    """channels of each level"""
    filters: tuple[Filters, ...] = Field((1, 1, 2, 4), min_length=2)
    """kernels in the filter bank of each level; all 1: no filter bank"""
    attention: tuple[bool, ...] = Field((False, True, True, False), min_length=2)
    """whether each level attends to itself and to the text"""
    text_attention: tuple[bool, ...] = ()
    """whether each level attends to the text; empty: those of `attention`"""
    text: bool = True
    """false: an unconditional generator"""


class UpsamplerConfig(SynthesisConfig):
    """Options of the upsampler; lists have an entry per level, from the coarsest to full size."""

    ratio: Literal[2, 4] = 2
    """output size over input size"""
    crop: int = Field(0, ge=0)
    """size of the random training crops, pixels; 0: whole images. Sampling uses whole images"""
    augmentation: Fraction = 0.2
    """maximum level of the noise added to small images in training; 0: none, 1: pure noise"""
    channels: tuple[Channels, ...] = Field((64, 64, 48, 32), min_length=2)
    """channels of each level"""
    filters: tuple[Filters, ...] = Field((1, 1, 1, 1), min_length=2)
    """kernels in the filter bank of each level; all 1: no filter bank"""
    attention: tuple[bool, ...] = Field((True, False, False, False), min_length=2)
    """whether each level attends to itself and to the text"""
    head_width: int = Field(32, ge=4)
    """channels of an attention head; divides the channels of every level that attends"""


class PixelConfig(Config):
    """Options of the pixel loss."""

    kind: Literal["l1", "l2"] = "l1"
    """absolute or squared error"""


class PerceptualConfig(Config):
    """Options of the perceptual loss."""

    model: str
    """"lpips" (needs the extra `metrics` and a download), or a CLIP: a folder or a Hub id"""
    depths: int = Field(3, ge=1, le=12)
    """number of CLIP layers to compare, evenly spaced"""


class AugmentConfig(Config):
    """Differentiable augmentation (arXiv 2006.10738) for small datasets. 0 everywhere: none."""

    translation: Fraction = 0.0
    """maximum shift, as a share of the image size"""
    scale: Fraction = 0.0
    """maximum change of scale, as a share"""
    cutout: Fraction = 0.0
    """size of a grey square, as a share of the image size"""
    brightness: Annotated[float, Field(ge=0, le=2)] = 0.0
    """maximum shift of all channels; black and white are 2 apart"""
    saturation: Fraction = 0.0
    """maximum change of saturation, as a share; not for data whose captions name colours"""
    contrast: Fraction = 0.0
    """maximum change of contrast, as a share"""


class CriticConfig(Config):
    """Options of the multi-scale critic; lists have an entry per level, from 4 px to full size."""

    channels: tuple[Channels, ...] = Field((64, 64, 32, 16), min_length=2)
    """channels of each level"""
    attention: tuple[bool, ...] = Field((False, True, False, False), min_length=2)
    """whether each level attends to itself"""
    multiscale: bool = True
    """judge the images of every level at every later level; false: only the full image at the last level"""
    tower_width: int = Field(128, ge=8, multiple_of=4)
    """width of the critic's trainable text tower"""
    tower_layers: int = Field(0, ge=0, le=12)
    """transformer layers of the critic's text tower"""
    predictor_layers: int = Field(4, ge=1, le=8)
    """number of text-modulated 1 x 1 convolutions from features to a logit"""
    head_width: int = Field(16, ge=4)
    """channels of an attention head; divides the channels of every level that attends"""
    text: bool = True
    """false: an unconditional critic"""
    embedding_width: int = Field(0, ge=0)
    """width of the joint embedding of images and texts, for the loss contrastive-critic; 0: none"""
    word_width: int = Field(0, ge=0)
    """width of the head that looks for each word in the image, also for contrastive-critic; 0: none"""
    word_side: int = Field(8, ge=4)
    """height and width of the features that this head looks at, pixels: 4 or a doubling of it"""
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    """augmentation of both real and fake images before they are judged"""


class VisionCriticConfig(Config):
    """Options of the vision-aided critic."""

    model: str
    """a CLIP model: a folder or a Hub id"""
    depths: int = Field(3, ge=1, le=12)
    """number of layers of the vision tower to judge, evenly spaced"""
    channels: int = Field(64, ge=8)
    """output channels of the frozen random projection before the heads"""
    tower_width: int = Field(128, ge=8, multiple_of=4)
    """width of the critic's trainable text tower"""
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    """augmentation of both real and fake images before they are judged"""


class AdversarialConfig(Config):
    """Options of the adversarial and matching losses; use the same for all of a recipe."""

    kind: Literal["logistic", "relativistic"] = "logistic"
    """logistic: judge real and fake separately; relativistic: a fake against a real image of the same text"""


class ContrastiveConfig(Config):
    """Options of the contrastive losses of and by the critic."""

    scale: float = Field(10.0, gt=0, le=100)
    """inverse temperature of the cosine similarities"""
    wrong: bool = False
    """also tell each caption from the sample's wrong one, which data.hard_negatives makes alike"""


class ClipConfig(Config):
    """Options of the CLIP loss."""

    model: str
    """a CLIP model: a folder (`examples/train_clip.py` makes one) or a Hub id"""

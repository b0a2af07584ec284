"""How the gigagan plugin's parts are configured. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from t2ikit import Config

Channels = Annotated[int, Field(ge=4)]
Filters = Annotated[int, Field(ge=1, le=64)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class SynthesisConfig(Config):
    """What both generators have."""

    latent_width: int = Field(64, ge=1)
    """entries of the latent z"""
    style_width: int = Field(128, ge=8)
    """entries of the style w"""
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
    """Options of the generator; a level's entries are given from 4 px to full size."""

    channels: tuple[Channels, ...] = Field((64, 64, 32, 16), min_length=2)
    """channels of each level"""
    filters: tuple[Filters, ...] = Field((1, 1, 2, 4), min_length=2)
    """kernels in the filter banks of each level; all 1: no filter bank"""
    attention: tuple[bool, ...] = Field((False, True, True, False), min_length=2)
    """whether each level attends to itself and to the text"""
    text: bool = True
    """false: an unconditional generator"""


class UpsamplerConfig(SynthesisConfig):
    """Options of the upsampler; a level's entries are given from the coarsest to full size."""

    ratio: Literal[2, 4] = 2
    """sides of what it draws over sides of what it is given"""
    crop: int = Field(0, ge=0)
    """side of the random pieces it is trained on, pixels; 0: whole images. It draws whole ones"""
    augmentation: Fraction = 0.2
    """greatest level of the noise laid over small images in training; 0: none, 1: nothing else"""
    channels: tuple[Channels, ...] = Field((64, 64, 48, 32), min_length=2)
    """channels of each level"""
    filters: tuple[Filters, ...] = Field((1, 1, 1, 1), min_length=2)
    """kernels in the filter banks of each level; all 1: no filter bank"""
    attention: tuple[bool, ...] = Field((True, False, False, False), min_length=2)
    """whether each level attends to itself and to the text"""
    head_width: int = Field(32, ge=4)
    """channels of an attention head; divides the channels of every level that attends"""


class PixelConfig(Config):
    """Options of the error in pixels."""

    kind: Literal["l1", "l2"] = "l1"
    """how an error counts: absolute or squared"""


class PerceptualConfig(Config):
    """Options of the error in a frozen network's features."""

    model: str
    """"lpips" (extra `metrics` and a download), or a CLIP: a folder or a Hub id"""
    depths: int = Field(3, ge=1, le=12)
    """layers of a CLIP that are compared, evenly spaced"""


class AugmentConfig(Config):
    """Differentiable augmentation (arXiv 2006.10738): for small data. 0 everywhere: none."""

    translation: Fraction = 0.0
    """greatest shift, as a share of the side"""
    scale: Fraction = 0.0
    """greatest change of size, as a share"""
    cutout: Fraction = 0.0
    """side of a grey square, as a share of the side"""
    brightness: Annotated[float, Field(ge=0, le=2)] = 0.0
    """greatest shift of all channels, of which black and white are 2 apart"""
    saturation: Fraction = 0.0
    """greatest change of the distance from grey, as a share; harms data whose captions name colours"""
    contrast: Fraction = 0.0
    """greatest change of the distance from the mean, as a share"""


class CriticConfig(Config):
    """Options of the multi-scale critic; a level's entries are given from 4 px to full size."""

    channels: tuple[Channels, ...] = Field((64, 64, 32, 16), min_length=2)
    """channels of each level"""
    attention: tuple[bool, ...] = Field((False, True, False, False), min_length=2)
    """whether each level attends to itself"""
    multiscale: bool = True
    """judge the images of every level at every later level; false: the full image at the last one"""
    tower_width: int = Field(128, ge=8, multiple_of=4)
    """width of its own trainable text tower"""
    tower_layers: int = Field(0, ge=0, le=12)
    """transformer layers of that tower"""
    predictor_layers: int = Field(4, ge=1, le=8)
    """1 x 1 convolutions, modulated by the text, from features to a logit"""
    head_width: int = Field(16, ge=4)
    """channels of an attention head; divides the channels of every level that attends"""
    text: bool = True
    """false: an unconditional critic"""
    embedding_width: int = Field(0, ge=0)
    """width of a joint embedding of images and texts, for the loss contrastive-critic; 0: none"""
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    """changes of real and fake images alike, before they are judged"""


class VisionCriticConfig(Config):
    """Options of the vision-aided critic."""

    model: str
    """a CLIP model: a folder or a Hub id"""
    depths: int = Field(3, ge=1, le=12)
    """layers of the vision tower that are judged, evenly spaced"""
    channels: int = Field(64, ge=8)
    """channels that the frozen random projection gives to the heads"""
    tower_width: int = Field(128, ge=8, multiple_of=4)
    """width of its own trainable text tower"""
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    """changes of real and fake images alike, before they are judged"""


class AdversarialConfig(Config):
    """Options of the adversarial and matching losses; all of a recipe should agree."""

    kind: Literal["logistic", "relativistic"] = "logistic"
    """logistic: real and fake are judged alone; relativistic: a fake against the real one of the same text"""


class ContrastiveConfig(Config):
    """Options of the critic's contrastive loss."""

    scale: float = Field(10.0, gt=0, le=100)
    """inverse temperature of the cosines"""


class ClipConfig(Config):
    """Options of the CLIP loss."""

    model: str
    """a CLIP model: a folder (`examples/train_clip.py` makes one) or a Hub id"""


class OneStepConfig(Config):
    """Options of the sampler."""

    truncation: Fraction = 1.0
    """1: as trained; towards 0: fewer odd images and less variety"""
    augmentation: Fraction = 0.0
    """an upsampler: level of the noise laid over the image to upscale"""

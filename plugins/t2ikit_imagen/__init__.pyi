"""The public names of t2ikit_imagen, and where each is."""

from .augmentation import augment as augment
from .configs import DDIMConfig as DDIMConfig
from .configs import DDPMConfig as DDPMConfig
from .configs import DenoiseConfig as DenoiseConfig
from .configs import EulerConfig as EulerConfig
from .configs import FlowConfig as FlowConfig
from .configs import IFConfig as IFConfig
from .configs import MultistepConfig as MultistepConfig
from .configs import SuperResolutionConfig as SuperResolutionConfig
from .configs import UNetConfig as UNetConfig
from .deepfloyd import IFDenoiser as IFDenoiser
from .denoiser import ImagenDenoiser as ImagenDenoiser
from .losses import DenoiseLoss as DenoiseLoss
from .losses import snr_weight as snr_weight
from .pipeline import ImagenPipeline as ImagenPipeline
from .samplers import DDIMSampler as DDIMSampler
from .samplers import DDPMSampler as DDPMSampler
from .samplers import DPMSolverSampler as DPMSolverSampler
from .samplers import EulerSampler as EulerSampler
from .samplers import FlowSampler as FlowSampler
from .samplers import UniPCSampler as UniPCSampler
from .super_resolution import ImagenUpsampler as ImagenUpsampler
from .unet import build_unet as build_unet

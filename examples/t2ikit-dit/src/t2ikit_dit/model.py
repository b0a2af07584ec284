"""A diffusion transformer: DiT (arXiv 2212.09748) with text, as in PixArt-alpha (arXiv 2310.00426).

Letters: B images, H height and width, L tokens of text, D their width.
"""

from diffusers import PixArtTransformer2DModel
from torch import Tensor

from t2ikit import (
    Batch,
    Condition,
    Context,
    Denoiser,
    Draws,
    Prediction,
    TextTower,
    exclude_from_muon,
    noise_schedule,
    noised_prediction,
)
from t2ikit_dit.plugin import DiTConfig


class DiT(Denoiser):
    """A text-conditional diffusion transformer; its first and last layers are left to AdamW."""

    def __init__(self, config: DiTConfig, context: Context) -> None:
        super().__init__()
        self.image_size, self.image_channels = context.image_size, context.image_channels
        self.caption_dropout = config.caption_dropout
        zero_snr = config.prediction != "epsilon"  # of pure noise, the noise says nothing of the image
        schedule = noise_schedule("cosine", zero_snr=zero_snr, prediction=config.prediction)
        self.scheduler_config = {**schedule.config, "prediction_type": config.prediction}
        self.register_buffer("alphas_cumprod", schedule.alphas_cumprod.float(), persistent=False)
        self.tower = TextTower(context.text_width, context.text_length, config.width, 1)
        self.transformer = PixArtTransformer2DModel(
            num_attention_heads=config.heads,
            attention_head_dim=config.width // config.heads,
            in_channels=context.image_channels,
            out_channels=context.image_channels,
            num_layers=config.layers,
            cross_attention_dim=config.width,
            caption_channels=config.width,
            sample_size=context.image_size,
            patch_size=config.patch,
            interpolation_scale=1,
        )
        exclude_from_muon(self.transformer.pos_embed.proj.weight, self.transformer.proj_out.weight)

    def denoise(self, x: Tensor, t: Tensor, condition: Condition, previous: Tensor | None = None) -> Tensor:
        """The prediction for noisy images x (B, C, H, H) at timesteps t (B,)."""
        text = self.tower(condition.text)  # tokens (B, L, D) and their mask (B, L)
        return self.transformer(
            x,
            encoder_hidden_states=text.tokens,
            encoder_attention_mask=text.mask,
            timestep=t,
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
            return_dict=False,
        )[0]

    def forward(self, batch: Batch, draws: Draws) -> Prediction:
        """Noise a batch and predict."""
        return noised_prediction(self, batch, draws, self.alphas_cumprod)

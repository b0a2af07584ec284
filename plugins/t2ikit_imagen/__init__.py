"""The imagen plugin: denoising diffusion on diffusers."""

"""A trained denoiser becomes a generator of one network call."""

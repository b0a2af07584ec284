"""From prompts to images: open a run, sample from it, save the images."""

"""From images to images: beginning at an image (img2img), and repainting a part of it (inpainting)."""

"""The class for DiffusionPipeline.from_pretrained(FOLDER) with trust_remote_code."""

import importlib

try:
    ImagenPipeline = importlib.import_module("t2ikit_imagen.pipeline").ImagenPipeline
except ImportError as error:
    raise ImportError('this model needs t2ikit 0.1.0') from error

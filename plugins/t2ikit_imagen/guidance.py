"""Guidance and thresholding, which are t2ikit's own now; the old names are kept."""

from __future__ import annotations

from t2ikit_imagen.moved import moved

__getattr__ = moved(__name__, {"Guide": "GuidedDenoiser", "guided": "guided", "threshold": "threshold"})

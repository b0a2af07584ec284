"""The sampler's old place: it is t2ikit's own now."""

from t2ikit import OneStepSampler as OneStepSampler

"""Lets the Python parts of torchvision work beside a CPU build of torch, for which it has no wheel.

Its compiled operators cannot be loaded then, and without these two, which no metric calls, it cannot even be
imported. Python runs this file first where its folder is in PYTHONPATH; see `.ci/run`.
"""

import torch

torchvision = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    torchvision.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

"""What a GPU computes otherwise than the CPU whose fake tensors stand in for it, as far as memory goes.

Fake CUDA tensors have no gradients in a torch without CUDA, so the tensors are the CPU's. Two things differ:
autocast on a GPU computes more operations in fp32, and fused attention takes a bias that has a gradient.
Source: the lists in torch's autocast documentation, and `aten/src/ATen/native/transformers/attention.cpp`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import _engine_run_backward
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

_IN_FLOAT32 = """
    __pow__ __rdiv__ __rpow__ __rtruediv__ acos asin binary_cross_entropy_with_logits cdist
    cosine_embedding_loss cosine_similarity cosh cross_entropy cumprod cumsum dist erfinv exp expm1
    group_norm kl_div l1_loss layer_norm log log10 log1p log2 log_softmax mse_loss nll_loss norm
    normalize pow prod reciprocal rsqrt sinh smooth_l1_loss softmax softmin softplus sum tan
"""
IN_FLOAT32 = frozenset(_IN_FLOAT32.split())
"""What autocast computes in fp32 on a GPU."""
ALIGNMENT = 16
"""Bytes that the entries of a head must be a multiple of for fused attention."""


class GPURules(TorchFunctionMode):
    """Makes the CPU's operations hold as much memory as a GPU's."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call `func` as a GPU would."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return attention(*args, **kwargs)
        if torch.is_autocast_enabled("cpu") and getattr(func, "__name__", "") in IN_FLOAT32:
            args, kwargs = tree_map_only(Tensor, _widened, (args, kwargs))
        if func is Tensor.backward:
            with self:  # laid aside for this call; checkpointing computes anew in it
                return _backward(*args, **kwargs)
        return func(*args, **kwargs)


def _backward(
    loss: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """`Tensor.backward` of a scalar by the engine itself: every other way in would ask the mode again."""
    gradient = torch.ones_like(loss) if gradient is None else gradient
    keep = create_graph if retain_graph is None else retain_graph
    options = {"allow_unreachable": True, "accumulate_grad": True}
    _engine_run_backward((loss,), (gradient,), keep, create_graph, tuple(inputs or ()), **options)


def _widened(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _narrowed(x: Tensor) -> Tensor:
    """As autocast casts an operand."""
    casts = torch.is_autocast_enabled("cpu") and x.is_floating_point()
    return x.to(torch.get_autocast_dtype("cpu")) if casts else x


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """`scaled_dot_product_attention` of (B, h, L, d) as a GPU's memory-efficient kernel.

    Where heads are not aligned or shared between queries, torch chooses.
    """
    q, k, v = _narrowed(q), _narrowed(k), _narrowed(v)
    aligned = all(x.ndim == 4 and x.shape[-1] * x.element_size() % ALIGNMENT == 0 for x in (q, k, v))
    if not aligned or enable_gqa:
        options: dict[str, Any] = {"enable_gqa": True} if enable_gqa else {}
        options |= {"is_causal": is_causal, "scale": scale}
        return F.scaled_dot_product_attention(q, k, v, attn_mask, dropout_p, **options)
    bias = None if attn_mask is None else _bias(attn_mask, q, k)
    grows = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
    out, *_ = torch.ops.aten._scaled_dot_product_efficient_attention(
        q, k, v, bias, grows, dropout_p, is_causal, scale=scale
    )
    return out


def _bias(mask: Tensor, q: Tensor, k: Tensor) -> Tensor:
    """What is added to the logits, seen as (B, h, L, K) without being copied."""
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=q.dtype).masked_fill(~mask, -torch.inf)
    return mask.to(q.dtype).expand(*q.shape[:-1], k.shape[-2])

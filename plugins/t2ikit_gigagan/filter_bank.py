"""Sample-adaptive kernel selection: a convolution whose kernel each sample mixes from a bank.

Source: GigaGAN (arXiv 2303.05511, section 3.1): K = sum_n K_n softmax(W_f w + b_f)_n, then modulation and
demodulation as in StyleGAN2 (arXiv 1912.04958, equations 1 and 3).

Letters: B batch, N filters in the bank, O output and I input channels, k kernel side, H W image.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2ikit import UserError, bank_of_matrices, exclude_from_muon
from t2ikit_gigagan.precision import at_least_float

Formulation = Literal["auto", "scale", "kernels", "outputs"]


def filter_bank_conv2d(
    x: Tensor,
    bank: Tensor,
    modulation: Tensor,
    selection: Tensor | None = None,
    *,
    demodulate: bool = True,
    formulation: Formulation = "auto",
    eps: float = 1e-8,
) -> Tensor:
    """Convolve each sample with its own mixture of the bank's kernels; "same" padding, stride 1.

    All formulations give the same numbers:

    - "scale": one kernel (N = 1) is shared by the batch; inputs and outputs are scaled instead.
    - "kernels": each sample's kernel is mixed by one matrix product, then convolved with its sample.
    - "outputs": all N kernels are convolved with every sample and the outputs are mixed: N times the
      operations, but no kernel a sample, which is less memory where the image is small.

    "auto" takes "scale" for N = 1; "outputs" where keeping N O H W outputs a sample takes no more than an
    eighth of the O I k^2 numbers of its kernel; else "kernels".

    Args:
        x: (B, I, H, W).
        bank: (N, O, I, k, k), k odd.
        modulation: (B, I), the factor of each input channel (1: as it is).
        selection: (B, N), weights of the kernels, from a softmax; None where N = 1.
        demodulate: bring every output channel back to unit expected size.
        formulation: see above.
        eps: added to the squared norm before its root.

    Returns:
        (B, O, H, W).

    Raises:
        UserError: shapes that do not fit together.
    """
    _check(x, bank, modulation, selection, formulation)
    if formulation == "auto":
        formulation = choose_formulation(x, bank)
    if formulation == "kernels":
        assert selection is not None  # `_check` has seen to it
        return _mix_kernels_then_convolve(x, bank, modulation, selection, eps if demodulate else None)
    y = _mix_outputs(x * modulation[:, :, None, None].to(x.dtype), bank, selection)
    return (
        y * demodulation(bank, modulation, selection, eps)[..., None, None].to(y.dtype) if demodulate else y
    )


def choose_formulation(x: Tensor, bank: Tensor) -> Formulation:
    """What "auto" stands for at these shapes."""
    filters, _, inputs, side, _ = bank.shape
    if filters == 1:
        return "scale"
    pixels = x.shape[2] * x.shape[3]
    return "outputs" if 8 * filters * pixels <= inputs * side**2 else "kernels"


def demodulation(bank: Tensor, modulation: Tensor, selection: Tensor | None, eps: float = 1e-8) -> Tensor:
    """1 / norm of each output channel of the mixed, modulated kernels: (B, O), in float32 or better.

    The squared norm sum_{i,k} K^2 is a quadratic form in the selection, whose coefficients
    sum_k K_n K_m do not depend on the sample: no kernel a sample is needed.
    """
    with torch.autocast(bank.device.type, enabled=False):
        bank, squares = at_least_float(bank), at_least_float(modulation).square()
        if selection is None or len(bank) == 1:
            return torch.rsqrt(squares @ bank[0].square().sum((2, 3)).T + eps)
        share = at_least_float(selection)
        total = torch.zeros(len(squares), bank.shape[1], dtype=squares.dtype, device=bank.device)
        for n in range(len(bank)):
            twice = torch.ones(len(bank) - n, dtype=bank.dtype, device=bank.device)
            twice[1:] = 2.0
            gram = (bank[n] * bank[n:]).sum((3, 4))  # (N - n, O, I): n with itself and with later ones
            norms = torch.einsum("bi,poi->pbo", squares, gram)
            pairs = share[:, n : n + 1] * share[:, n:] * twice  # (B, N - n)
            total = total + torch.einsum("bp,pbo->bo", pairs, norms)
        return torch.rsqrt(total.clamp_min(0) + eps)


def _mix_kernels_then_convolve(
    x: Tensor, bank: Tensor, modulation: Tensor, selection: Tensor, eps: float | None
) -> Tensor:
    """The formulation "kernels"; `eps` None: no demodulation.

    The factors of input and output channels go onto whichever has fewer numbers, kernels or images.
    """
    kernels = mix_kernels(bank, selection)  # (B, O, I, k, k)
    outputs, inputs, side = bank.shape[1:4]
    factor = None
    if eps is not None:
        # The Gram matrix costs N (N + 1) / 2 kernels for the whole batch, the other way one a sample.
        shared = len(bank) * (len(bank) + 1) < 2 * len(x)
        factor = (
            demodulation(bank, modulation, selection, eps)
            if shared
            else _demodulate_each(kernels, modulation, eps)
        )  # (B, O)
    if outputs * inputs * side**2 < (inputs + outputs) * x.shape[2] * x.shape[3]:
        scale = modulation[:, None] if factor is None else factor[:, :, None] * modulation[:, None]
        return _convolve_each(x, (kernels * scale[..., None, None].to(kernels.dtype)).to(x.dtype))
    y = _convolve_each(x * modulation[:, :, None, None].to(x.dtype), kernels.to(x.dtype))
    return y if factor is None else y * factor[:, :, None, None].to(y.dtype)


def _demodulate_each(kernels: Tensor, modulation: Tensor, eps: float) -> Tensor:
    """The same as `demodulation`, (B, O), from kernels (B, O, I, k, k) that have been mixed."""
    with torch.autocast(kernels.device.type, enabled=False):
        weights = at_least_float(kernels).square().sum((3, 4))  # (B, O, I)
        squares = at_least_float(modulation).square()[:, :, None]
        return torch.rsqrt((weights @ squares)[:, :, 0] + eps)


def mix_kernels(bank: Tensor, selection: Tensor) -> Tensor:
    """Bank (N, O, I, k, k) and selection (B, N) to each sample's kernel (B, O, I, k, k): one product."""
    return (selection.to(bank.dtype) @ bank.flatten(1)).view(-1, *bank.shape[1:])


def _convolve_each(x: Tensor, kernels: Tensor) -> Tensor:
    """(B, I, H, W), each sample with its own kernel (O, I, k, k), as one grouped convolution."""
    batch, _, height, width = x.shape
    joined, padding = x.reshape(1, -1, height, width), kernels.shape[-1] // 2
    y = F.conv2d(joined, kernels.flatten(0, 1), padding=padding, groups=batch)
    return y.reshape(batch, -1, height, width)


def _mix_outputs(x: Tensor, bank: Tensor, selection: Tensor | None) -> Tensor:
    """(B, I, H, W) with every kernel of the bank, then the outputs mixed: (B, O, H, W)."""
    filters, outputs = bank.shape[:2]
    every = F.conv2d(x, bank.flatten(0, 1).to(x.dtype), padding=bank.shape[-1] // 2)  # (B, N O, H, W)
    if filters == 1:
        return every
    assert selection is not None
    mixed = selection.to(x.dtype)[:, None] @ every.reshape(len(x), filters, -1)  # (B, 1, O H W)
    return mixed.view(len(x), outputs, *x.shape[2:])


def _check(
    x: Tensor, bank: Tensor, modulation: Tensor, selection: Tensor | None, formulation: Formulation
) -> None:
    if bank.ndim != 5 or bank.shape[3] != bank.shape[4] or bank.shape[3] % 2 == 0:
        raise UserError(
            "filter bank: the kernels have the wrong shape",
            expected="(N, O, I, k, k) with k odd",
            got=tuple(bank.shape),
            fix="give N square kernels of an odd side",
        )
    filters, _, inputs = bank.shape[:3]
    shapes = {
        "x": (tuple(x.shape), (len(x), inputs, *x.shape[2:4])),
        "modulation": (tuple(modulation.shape), (len(x), inputs)),
        "selection": (None if selection is None else tuple(selection.shape), (len(x), filters)),
    }
    if filters == 1 and selection is None:
        del shapes["selection"]
    for name, (got, expected) in shapes.items():
        if got != expected or (name == "x" and x.ndim != 4):
            raise UserError(
                f"filter bank: {name} does not fit the kernels {tuple(bank.shape)}",
                expected=f"(B, {inputs}, H, W)" if name == "x" else str(expected),
                got=got,
                fix="give every sample one factor an input channel and one weight a kernel",
            )
    if formulation not in ("auto", "scale", "kernels", "outputs") or (formulation == "scale" and filters > 1):
        raise UserError(
            f"filter bank: formulation {formulation!r} does not work for N = {filters}",
            expected='"auto", "kernels" or "outputs"; "scale" for N = 1 alone',
            got=formulation,
            fix='use "auto"',
        )


class FilterBankConv2d(nn.Module):
    """An adaptive convolution with the affine maps from the style that steer it.

    Args:
        in_channels, out_channels: I and O.
        kernel_size: odd.
        style_width: S, entries of the style.
        filters: N kernels in the bank; 1: a plain modulated convolution.
        demodulate: as in `filter_bank_conv2d`; GigaGAN's RGB layers have none.
        bias: add one number an output channel.
        formulation: as in `filter_bank_conv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        style_width: int,
        filters: int = 1,
        demodulate: bool = True,
        bias: bool = True,
        formulation: Formulation = "auto",
    ) -> None:
        super().__init__()
        if filters < 1 or kernel_size % 2 == 0:
            raise UserError(
                "filter bank: there is no such bank",
                expected="at least 1 filter of an odd kernel_size",
                got=f"{filters} filters of {kernel_size} x {kernel_size}",
                fix="change filters or kernel_size",
            )
        self.demodulate, self.formulation = demodulate, formulation
        shape = (filters, out_channels, in_channels, kernel_size, kernel_size)
        self.bank = nn.Parameter(torch.randn(shape) / math.sqrt(in_channels * kernel_size**2))
        (bank_of_matrices if out_channels > 3 else exclude_from_muon)(self.bank)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.modulate = nn.Linear(style_width, in_channels)
        nn.init.ones_(self.modulate.bias)
        self.select = nn.Linear(style_width, filters) if filters > 1 else None

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """(B, I, H, W) and style (B, S) to (B, O, H, W)."""
        selection = None if self.select is None else self.select(style).float().softmax(1)
        y = filter_bank_conv2d(
            x,
            self.bank,
            self.modulate(style),
            selection,
            demodulate=self.demodulate,
            formulation=self.formulation,
        )
        return y if self.bias is None else y + self.bias[:, None, None].to(y.dtype)

"""Prints a model's layers, output shapes and parameters as a table.

Better than torchsummary alone: it works where torchsummary fails, and corrects its wrong counts.
"""

import contextlib
import copy
import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vae_utils.training import count_parameters

Size = tuple[int, ...]


def model_summary(model: nn.Module, input_size: Size | Sequence[Size]) -> None:
    """Print a model's layers with torchsummary. If torchsummary fails, print a plain table.

    The model does not change: a copy is run once on random input, in evaluation mode. The random
    state of torch does not change either.

    Args:
        model: Any module, on any device.
        input_size: Shape of one input without the batch, (1, 28, 28), or a list of shapes for a
            model with several inputs.

    Raises:
        ValueError: input_size does not consist of positive whole numbers.

    Example:
        >>> model_summary(nn.Sequential(nn.Flatten(), nn.Linear(784, 2)), (1, 28, 28))
        ----------------------------------------------------------------
                Layer (type)               Output Shape         Param #
        ================================================================
                   Flatten-1                  [-1, 784]               0
                    Linear-2                    [-1, 2]           1,570
        ================================================================
        Total params: 1,570
        Trainable params: 1,570
        Non-trainable params: 0
        ----------------------------------------------------------------
        Input size (MB): 0.00
        Forward/backward pass size (MB): 0.01
        Params size (MB): 0.01
        Estimated Total Size (MB): 0.01
        ----------------------------------------------------------------
    """
    sizes = _sizes(input_size)
    gpus = [p.device for p in model.parameters() if p.is_cuda][:1]
    with torch.random.fork_rng(devices=gpus), torch.no_grad():
        try:
            print(_by_torchsummary(model, sizes))
        except Exception as error:  # a student's forward can raise any exception
            print(f"torchsummary fails on this model ({_one_line(error)}). Here is a plain table:")
            print(_plain_table(model, sizes))


def _sizes(input_size: Size | Sequence[Size]) -> list[Size]:
    sizes = input_size if isinstance(input_size, list) else [input_size]
    if not all(_is_size(size) for size in sizes):
        raise ValueError(
            f"input_size must be a shape without the batch, like (1, 28, 28), got {input_size!r}."
        )
    return [tuple(size) for size in sizes]  # type: ignore[arg-type]


def _is_size(size: Any) -> bool:
    return isinstance(size, tuple) and all(isinstance(n, int) and n > 0 for n in size)


def _by_torchsummary(model: nn.Module, sizes: list[Size]) -> str:
    from torchsummary import summary

    # Work on a copy: torchsummary needs float32, updates batch norm, and leaves its hooks
    # behind when it fails.
    on_gpu = any(p.is_cuda for p in model.parameters())
    spare = copy.deepcopy(model).float().eval()
    if len(set(sizes)) > 1:
        # torchsummary accepts several inputs only if they have the same shape.
        spare.forward = _from_one_row(spare.forward, sizes)
        sizes = [(sum(math.prod(size) for size in sizes),)]
    with contextlib.redirect_stdout(io.StringIO()) as text:
        summary(spare if on_gpu else spare.cpu(), sizes, device="cuda" if on_gpu else "cpu")
    table = text.getvalue().rstrip()
    counted = int(table.split("Total params: ")[1].split("\n")[0].replace(",", ""))
    total = count_parameters(model, trainable_only=False)
    if counted != total:
        table += (
            f"\ntorchsummary counts {counted:,} parameters, but the model has {total:,}. It "
            "misses parameters that are not a weight or bias, and counts a layer once per call."
        )
    return table


def _from_one_row(forward: Callable[..., Any], sizes: list[Size]) -> Callable[[Tensor], Any]:
    """Convert a forward with several inputs into one with a flat input (N, sum of sizes)."""

    def split(row: Tensor) -> Any:
        parts = row.split([math.prod(size) for size in sizes], dim=1)
        return forward(*(part.reshape(-1, *size) for part, size in zip(parts, sizes, strict=True)))

    return split


def _plain_table(model: nn.Module, sizes: list[Size]) -> str:
    """Return a table of the leaf modules by name, with the output shapes that are known."""
    shapes, failure = _output_shapes(model, sizes)
    rows = []
    for name, module in model.named_modules():
        if any(True for _ in module.children()) and not module._parameters:
            continue
        own = sum(p.numel() for p in module.parameters(recurse=False))
        label = f"{name or 'model'} ({type(module).__name__})"
        rows.append((label, shapes.get(name, "not called"), f"{own:,}"))
    widths = [max([len(row[i]) for row in rows] + [12]) for i in range(3)]
    lines = [
        f"{layer:<{widths[0]}}  {shape:<{widths[1]}}  {count:>{widths[2]}}"
        for layer, shape, count in [("Layer", "Output shape", "Parameters"), *rows]
    ]
    rule = "-" * len(lines[0])
    total, trainable = count_parameters(model, trainable_only=False), count_parameters(model)
    lines = [rule, lines[0], rule, *lines[1:], rule]
    lines.append(f"Parameters: {total:,}, of which trainable: {trainable:,}")
    if failure:
        lines.append(f"forward fails on random input of shape {sizes}: {failure}")
    return "\n".join(lines)


def _output_shapes(model: nn.Module, sizes: list[Size]) -> tuple[dict[str, str], str]:
    """Run a copy of the model. Return each module's output shape, and the error if it fails."""
    spare = copy.deepcopy(model).eval()
    shapes: dict[str, str] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            shapes[name] = _describe(output)

        return hook

    for name, module in spare.named_modules():
        module.register_forward_hook(keep(name))
    like = next(spare.parameters(), torch.empty(0))
    try:
        spare(*(torch.rand(2, *size, device=like.device, dtype=like.dtype) for size in sizes))
    except Exception as error:  # a student's forward can raise any exception
        return shapes, _one_line(error)
    return shapes, ""


def _describe(output: Any) -> str:
    if isinstance(output, Tensor):
        return str(["N", *output.shape[1:]]).replace("'", "") if output.dim() else "scalar"
    if isinstance(output, tuple | list):
        return ", ".join(_describe(part) for part in output)
    return type(output).__name__


def _one_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

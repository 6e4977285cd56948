"""Remarks about new tensors that are not on the device of the input."""

import torch
from torch import nn

from autograder.protocol.remote import FUNCTION, Called, Raised, Submission

# What the worker says about a parameter; see `worker.devices`.
PARAMETER = "a parameter and a tensor"
# Methods that PyTorch defines create no tensors of the student's.
GIVEN = frozenset(dir(nn.Module)) | frozenset(dir(torch.optim.Optimizer)) | {"seen"}


def device_remarks(submission: Submission) -> list[str]:
    """Repeat each new call of the checks with its inputs on another device.

    The submission itself reports the device: no returned number could show it. Code that cannot run
    without numbers, such as a branch on a tensor's value, gets no remark, and neither does code
    that asks whether there is a GPU.

    Args:
        submission: The submission; its `calls` since the last time are tested.

    Returns:
        One sentence for each function that creates a tensor on the CPU.
    """
    new = {key: call for key, call in submission.calls.items() if key not in submission.tested}
    submission.tested.update(new)
    # Two functions may call the same line; one remark on it is enough.
    by_line = dict(_remark(call) for call in reversed(new.values()))
    return [remark for line, remark in by_line.items() if remark and _is_new(submission, line)]


def _is_new(submission: Submission, line: str) -> bool:
    new = line not in submission.tested
    submission.tested.add(line)
    return new


def _remark(call: Called) -> tuple[str, str]:
    """Return the line that a remark is about, and the remark; "" for none."""
    method = call.target.path.rpartition(".")[2]
    if method in GIVEN:
        return "", ""
    target = call.target
    name = method or (target.name if target.kind == FUNCTION else f"{target.name}.forward")
    says = f"`{name}` creates a tensor on the CPU even if its input is on another device: on a GPU "
    ask = "Which device should a new tensor be on?"
    try:
        stayed = call.target.call_on_meta_device(*call.args)
    except Raised as error:
        where = f" on line {error.line} of its cell, `{error.code}`" if error.code else ""
        if error.kind != "DeviceError":
            return "", ""
        if PARAMETER in error.text:
            says = (
                f"`{name}` uses parameters that are not on the device of its input: on a GPU it "
                f"fails{where}. Are they those of another model, or of a layer that is not an "
                "attribute of its model?"
            )
            return f"line {error.cell} {error.line}", says
        return f"line {error.cell} {error.line}", f"{says}it fails{where}. {ask}"
    return f"result of {name}", f"{says}its result stays on the CPU. {ask}" if stayed else ""

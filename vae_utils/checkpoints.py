"""Saves the state of a training run, so that an interrupted run can continue.

`torch.save` alone can leave half a file, and it saves neither the loader's position nor the random
states; with these, a resumed run computes the same numbers as an uninterrupted one.
"""

import contextlib
import os
import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vae_utils.data.loader import Loader
from vae_utils.history import History

FORMAT = "vaelab-checkpoint-1"


class CheckpointError(Exception):
    """A checkpoint that cannot be read, or that belongs to another model."""


def save_checkpoint(
    path: str | Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    history: History | None = None,
    loader: Loader | None = None,
    *,
    epoch: int,
) -> None:
    """Save a training run at the end of an epoch, so that `resume` can continue it.

    The file contains the weights, the optimizer's state, the losses, the loader's epoch, and the
    random states of Python, NumPy and torch, as plain tensors and numbers. It is first written
    under a temporary name and then renamed. If saving is interrupted, the previous file stays
    unchanged.

    Args:
        path: The file. An existing file is replaced. Missing folders are created.
        model: The model.
        optimizer: Its optimizer.
        history: The losses so far.
        loader: The training loader. Its epoch decides the order of the images in the next epoch.
        epoch: Number of completed epochs.

    Example:
        >>> model, path = nn.Linear(2, 1), Path(tempfile.mkdtemp()) / "run.pt"
        >>> history = History({"loss": [0.9, 0.5]})
        >>> save_checkpoint(path, model, history=history, epoch=2)
        >>> again = History()
        >>> resume(path, nn.Linear(2, 1), history=again), again
        (2, {'loss': [0.9, 0.5]})
    """
    state = {
        "format": FORMAT,
        "epoch": int(epoch),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict() if optimizer else None,
        "history": dict(history) if history is not None else None,
        "loader_epoch": loader.epoch if loader else None,
        "random": _random_state(),
    }
    _write_atomically(Path(path), state)


def resume(
    path: str | Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    history: History | None = None,
    loader: Loader | None = None,
) -> int:
    """Restore a run that `save_checkpoint` saved, or start at epoch 0 if there is no file.

    No code in the file is executed. The arguments are changed only if the checkpoint is complete
    and its weights fit the model.

    Args:
        path: The file.
        model: A model with the same layers and sizes.
        optimizer: An optimizer of the same kind over the same parameters.
        history: Its content is replaced by the saved losses.
        loader: Its epoch is set to the saved one.

    Returns:
        Number of completed epochs. Loop over `range(resume(…), n_epochs)`.

    Raises:
        CheckpointError: The file is damaged, lacks a part that was requested, or belongs to
            another model.

    Example:
        >>> resume("not-there-yet.pt", nn.Linear(2, 1))
        0
    """
    path = Path(path)
    if not path.exists():
        return 0
    state = _torch_load(path)
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: this file is not a checkpoint of save_checkpoint. If it contains only "
            "weights, use model.load_state_dict(torch.load(path, weights_only=True))."
        )
    requested = {"optimizer": optimizer, "history": history, "loader_epoch": loader}
    missing = [
        key for key, value in requested.items() if value is not None and state.get(key) is None
    ]
    if missing:
        raise CheckpointError(f"{path}: saved without {' and '.join(missing)}.")
    _require_weights_fit(model, state["model"], path)
    if optimizer is not None:
        try:
            optimizer.load_state_dict(state["optimizer"])
        except (ValueError, KeyError) as error:
            raise CheckpointError(
                f"{path}: the saved state belongs to another optimizer ({error})."
            ) from error
    model.load_state_dict(state["model"])
    if history is not None:
        history.clear()
        history.update(state["history"])
    if loader is not None:
        loader.epoch = state["loader_epoch"]
    _set_random_state(state["random"])
    return int(state["epoch"])


def _write_atomically(path: Path, state: dict[str, Any]) -> None:
    """Write a temporary file and rename it: readers see the old file or the new file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _torch_load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can cause any exception
        raise CheckpointError(
            f"{path}: the file is damaged, or it contains other objects than tensors and plain "
            "values. Such objects are not loaded, because they can execute code."
        ) from error


def _require_weights_fit(model: nn.Module, weights: Any, path: Path) -> None:
    """Check that the weights fit the model, before anything is changed."""
    if not isinstance(weights, Mapping) or not all(isinstance(w, Tensor) for w in weights.values()):
        raise CheckpointError(f"{path}: the checkpoint contains no weights of a model.")
    own = model.state_dict()
    faults = [f"{name} is missing" for name in own if name not in weights]
    faults += [f"{name} is not in this model" for name in weights if name not in own]
    faults += [
        f"{name} has shape {tuple(weights[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise CheckpointError(
            f"{path}: the weights belong to another model: {'; '.join(faults[:3])}{more}."
        )


def _random_state() -> dict[str, Any]:
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (str(kind), [int(key) for key in keys], int(position), int(has_gauss), cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _set_random_state(state: dict[str, Any]) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])

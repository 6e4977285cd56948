"""Saves weights and whole training states, so that an interrupted run can go on."""

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
    """A file of weights or a checkpoint that can't be read, or that belongs to another model."""


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Save a model's weights, and nothing else of it.

    The file appears whole or not at all.

    Args:
        model: its parameters and buffers are saved.
        path: `*.safetensors` is written by safetensors, any other name by `torch.save`. Missing
            folders are made.

    Example:
        >>> path = Path(tempfile.mkdtemp()) / "vae.safetensors"
        >>> save_weights(nn.Linear(2, 3), path)
        >>> load_weights(nn.Linear(2, 3), path)
    """
    path = Path(path)
    weights = model.state_dict()
    if path.suffix == ".safetensors":
        from safetensors.torch import save

        # safetensors refuses shared memory, which tied weights have.
        own = {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}
        content = save(own)
        _write_whole(path, lambda file: file.write(content))
    else:
        _write_whole(path, lambda file: torch.save(weights, file))


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load weights that `save_weights` wrote, onto the model's own device.

    Nothing in the file is executed. The model is changed only if every weight fits.

    Args:
        model: a model of the same layers and sizes.
        path: the file.

    Raises:
        CheckpointError: there is no such file, it is damaged, or it belongs to another model.

    Example:
        >>> load_weights(nn.Linear(2, 3), "no-such-file.pt")
        Traceback (most recent call last):
        ...
        vae_utils.checkpoints.CheckpointError: no-such-file.pt: there is no such file.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            weights: Any = load(_read(path))
        except SafetensorError as error:
            raise CheckpointError(f"{path}: damaged, or no safetensors file ({error}).") from error
    else:
        weights = _torch_load(path)
    _require_weights_fit(model, weights, path)
    model.load_state_dict(weights)


def save_checkpoint(
    path: str | Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    history: History | None = None,
    loader: Loader | None = None,
    *,
    epoch: int,
) -> None:
    """Save a training run at the end of an epoch, so that `resume` goes on as if never stopped.

    Weights, optimizer state, losses, the loader's place, and the random state of Python, NumPy
    and torch are saved, as plain tensors and numbers. The file appears whole or not at all: an
    interruption while saving leaves the one before.

    Args:
        path: the file; one that is there is replaced.
        model: the model.
        optimizer: its optimizer.
        history: the losses so far.
        loader: the training loader, so that the next epoch has the order it would have had.
        epoch: epochs done so far.

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
    _write_whole(Path(path), lambda file: torch.save(state, file))


def resume(
    path: str | Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    history: History | None = None,
    loader: Loader | None = None,
) -> int:
    """Go on where `save_checkpoint` left off, or start at epoch 0 if there is no such file yet.

    Nothing in the file is executed. What is given is filled in; it is changed only if the
    checkpoint is whole and the weights fit.

    Args:
        path: the file.
        model: a model of the same layers and sizes.
        optimizer: an optimizer of the same kind over the same parameters.
        history: replaced by the saved losses.
        loader: set to the saved place.

    Returns:
        Epochs done so far: loop over `range(resume(…), n_epochs)`.

    Raises:
        CheckpointError: the file is damaged, or lacks what is asked for, or belongs to another
            model.

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
            f"{path}: no checkpoint of save_checkpoint; load weights by load_weights."
        )
    wanted = {"optimizer": optimizer, "history": history, "loader_epoch": loader}
    missing = [key for key, value in wanted.items() if value is not None and state.get(key) is None]
    if missing:
        raise CheckpointError(f"{path}: saved without {' and '.join(missing)}.")
    _require_weights_fit(model, state["model"], path)
    if optimizer is not None:
        try:
            optimizer.load_state_dict(state["optimizer"])
        except (ValueError, KeyError) as error:
            raise CheckpointError(f"{path}: another optimizer's state ({error}).") from error
    model.load_state_dict(state["model"])
    if history is not None:
        history.clear()
        history.update(state["history"])
    if loader is not None:
        loader.epoch = state["loader_epoch"]
    _set_random_state(state["random"])
    return int(state["epoch"])


def _write_whole(path: Path, write: Any) -> None:
    """Write a file beside its place and rename it: readers see the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no such file.") from error
    except OSError as error:
        raise CheckpointError(f"{path}: can't be read ({error.strerror}).") from error


def _torch_load(path: Path) -> Any:
    _read(path)  # one clear sentence where there is no file
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can fail in any way
        raise CheckpointError(
            f"{path}: damaged, or more than weights and plain numbers, which is not loaded."
        ) from error


def _require_weights_fit(model: nn.Module, weights: Any, path: Path) -> None:
    """Stop before anything is changed if the weights are another model's."""
    if not isinstance(weights, Mapping) or not all(isinstance(w, Tensor) for w in weights.values()):
        raise CheckpointError(f"{path}: holds something else than a model's weights.")
    own = model.state_dict()
    faults = [f"{name} is missing" for name in own if name not in weights]
    faults += [f"{name} is too much" for name in weights if name not in own]
    faults += [
        f"{name} is {tuple(weights[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise CheckpointError(f"{path}: another model's weights: {'; '.join(faults[:3])}{more}.")


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

"""Checks that several calls, and the entries of one call, use different random numbers.

Each request of the judge sets a new seed. Code that restores the state of the random numbers after
its own draws, as `torch.random.fork_rng()` does, therefore shows new noise in two requests. Within
one request, it returns the same noise at each call.
"""

from typing import Any

import numpy as np
import torch

from autograder.checks.shared.parameterization import Parameterization
from autograder.checks.vocabulary import expect
from autograder.protocol.remote import RemoteObject

REPEATED = (
    "Calls of `{}` one after the other return the same noise. Is a seed set, a generator created, "
    "or the state of the random numbers restored, in every call? Do this once, outside."
)
SEEDED = (
    "`{}` sets the state of PyTorch's random numbers: the numbers that are sampled after each call "
    "are always the same. Set a seed once, outside."
)


def distinct(z: torch.Tensor) -> int:
    """Return how many different values a tensor of any shape has."""
    # NumPy sorts; torch.unique takes 20 times as long.
    values = np.sort(z.detach().numpy(), axis=None)
    return int(np.count_nonzero(values[1:] != values[:-1])) + 1 if values.size else 0


def expect_new_noise(called: RemoteObject, *args: Any, name: str) -> None:
    """Expect new random numbers at each of three calls in one request.

    The judge samples numbers of its own after the second and the third call.

    Args:
        called: The function or method. Its result is, or contains, tensors that depend on noise.
        args: What to call it with.
        name: Its name, for the message.

    Raises:
        CheckFailed: If two results, or the two samples of the judge, are equal.
    """
    results, drawn = called.repeated(*args)
    first, second, third = results
    same = _equal(first, second) or _equal(second, third) or _equal(first, third)
    expect(not same, REPEATED.format(name), "reseeded")
    expect(not _equal(*drawn), SEEDED.format(name), "reseeded")


def expect_same_again(called: RemoteObject, name: str, *args: torch.Tensor) -> None:
    """Expect the same result of two calls with the same arguments, of a term of a loss."""
    first, again = called(*args), called(*args)
    expect(
        _equal(first, again),
        f"Two calls of `{name}` with the same arguments return different numbers. The result "
        "should depend on the arguments only: keep no sum over calls, and use no random numbers.",
        "loss_not_repeatable",
    )


def expect_noise_not_centred(called: RemoteObject, own: Parameterization, name: str) -> None:
    """Expect that the mean of the noise is not subtracted from it.

    Right noise fails with a probability below 1e-8.

    Args:
        called: Samples z from mu and the second parameter, (N, 5) each.
        own: What the second parameter is.
        name: The method's name, for the message.

    Raises:
        CheckFailed: If each latent, or the whole batch, has a mean that is exactly mu.
    """

    def noise(n: int) -> torch.Tensor:
        z = called(torch.full((n, 5), 2.0), own.of_sigma(torch.full((n, 5), 3.0)))
        return z - 2 if isinstance(z, torch.Tensor) and z.shape == (n, 5) else torch.zeros(n, 5)

    batches = [noise(4), noise(4)]
    if min(float(one.abs().max()) for one in batches) < 1e-3:
        return  # no noise at all: another check reports it
    centred = any(
        all(float(mean(one).abs().max()) < 1e-5 for one in batches)
        for mean in (lambda one: one.mean(0), lambda one: one.mean())
    )
    expect(
        not centred,
        f"In `{name}`, the mean of the noise over the batch is exactly 0: its mean is subtracted. "
        "Then the noise of one image depends on that of the others. Use the noise unchanged.",
        "noise_centred",
    )


def expect_different_codes(codes: torch.Tensor, name: str) -> None:
    """Expect different codes at each of three calls in one request; the codes are (3, ...)."""
    first, second, third = codes
    same = _equal(first, second) or _equal(second, third) or _equal(first, third)
    expect(not same, REPEATED.format(name), "reseeded")


def _equal(first: Any, second: Any) -> bool:
    """Return whether two results contain the same numbers."""
    if isinstance(first, tuple) and isinstance(second, tuple):
        pairs = zip(first, second, strict=False)
        return len(first) == len(second) and all(_equal(a, b) for a, b in pairs)
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return torch.equal(first, second)
    return bool(type(first) is type(second) and first == second)

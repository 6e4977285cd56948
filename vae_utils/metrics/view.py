"""VaeView: describes any VAE to the metrics, independent of the names in its code."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vae_utils.modules import evaluation_mode, module_of

Batches = Iterable[tuple[Tensor, Tensor]]  # a loader of (x, y)
Condition = Callable[[Tensor, Tensor], Tensor]
Scale = Literal["logvar", "logsigma", "sigma"]

TO_SIGMA: dict[str, Callable[[Tensor], Tensor]] = {
    "logvar": lambda value: torch.exp(value / 2),
    "logsigma": torch.exp,
    "sigma": lambda value: value,
}


@dataclass(frozen=True)
class VaeView:
    """A VAE as two functions, with the meaning of their outputs.

    Args:
        encode: Maps x to (mu, scale), each (N, Z): the posterior q(z|x).
        decode: Maps z (N, Z) to the mean of p(x|z), N images of any shape.
        scale: The second output of encode: "logvar" = log σ², "logsigma" = log σ, or "sigma".
        likelihood: p(x|z): "bernoulli" (decode returns probabilities) or "gaussian" with `sigma_x`.
        sigma_x: Standard deviation of the Gaussian likelihood.
        condition: For a conditional VAE: maps (x, y) to c. Calls are encode(x, c), decode(z, c).
        model: Set to evaluation mode during a computation. Needed only if encode and decode are
            neither modules nor methods of a module.

    Raises:
        ValueError: The scale or likelihood is unknown, or sigma_x is not positive.

    Example:
        >>> encoder, decoder = nn.Linear(784, 4), nn.Sequential(nn.Linear(2, 784), nn.Sigmoid())
        >>> view = VaeView(lambda x: encoder(x.flatten(1)).chunk(2, dim=1), decoder)
        >>> view.scale, view.likelihood
        ('logvar', 'bernoulli')
    """

    encode: Callable[..., Any]
    decode: Callable[..., Any]
    scale: Scale = "logvar"
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli"
    sigma_x: float = 1.0
    condition: Condition | None = None
    model: nn.Module | None = None

    def __post_init__(self) -> None:
        if self.scale not in TO_SIGMA:
            raise ValueError(f"scale must be one of {', '.join(TO_SIGMA)}, got {self.scale!r}.")
        if self.likelihood not in ("bernoulli", "gaussian"):
            raise ValueError(f"likelihood must be bernoulli or gaussian, got {self.likelihood!r}.")
        if not self.sigma_x > 0:
            raise ValueError(f"sigma_x must be positive, got {self.sigma_x}.")

    @property
    def modules(self) -> tuple[nn.Module | None, ...]:
        """The modules that encode and decode belong to, and `model`. Unknown ones are None."""
        return (self.model, module_of(self.encode), module_of(self.decode))

    def conditions(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """Return the second argument of encode and decode: (c,), or () without a condition.

        Example:
            >>> view = VaeView(abs, abs, condition=lambda x, y: y[:, None])
            >>> view.conditions(torch.zeros(2, 784), torch.tensor([3, 7]))
            (tensor([[3],
                    [7]]),)
        """
        return () if self.condition is None else (self.condition(x, y),)

    def posterior(self, x: Tensor, conditions: tuple[Tensor, ...] = ()) -> tuple[Tensor, Tensor]:
        """Return (mu, sigma) of q(z|x), each (N, Z), for a batch.

        Raises:
            ValueError: encode returns something else than two tensors (N, Z).

        Example:
            >>> view = VaeView(lambda x: (x, torch.zeros_like(x)), abs)  # log σ² = 0
            >>> view.posterior(torch.tensor([[5.0]]))
            (tensor([[5.]]), tensor([[1.]]))
        """
        output = self.encode(x, *conditions)
        if not isinstance(output, tuple | list) or len(output) != 2:
            raise ValueError("encode must return a pair (mu, scale).")
        mu, scale = output
        if mu.dim() != 2 or mu.shape != scale.shape or len(mu) != len(x):
            raise ValueError(
                f"encode must return mu and scale of shape ({len(x)}, Z), but returned "
                f"{tuple(mu.shape)} and {tuple(scale.shape)}."
            )
        return mu, TO_SIGMA[self.scale](scale)


@dataclass(frozen=True, eq=False)
class Posterior:
    """The posteriors q(z|x) of a whole data set.

    Args:
        mu: Means, (N, Z).
        sigma: Standard deviations, (N, Z).
        labels: Classes, (N,).

    Example:
        >>> Posterior(torch.zeros(5, 2), torch.ones(5, 2), torch.zeros(5)).mu.shape
        torch.Size([5, 2])
    """

    mu: Tensor
    sigma: Tensor
    labels: Tensor


def collect_posterior(view: VaeView, loader: Batches) -> Posterior:
    """Encode a whole data set.

    Args:
        view: The VAE.
        loader: Yields batches (x, y) on the model's device.

    Returns:
        Means, standard deviations and labels, on the CPU, in the loader's order.

    Raises:
        ValueError: The loader is empty, or encode's output is not two tensors (N, Z).

    Example:
        >>> batches = [(torch.ones(3, 2), torch.tensor([0, 1, 1]))]
        >>> view = VaeView(lambda x: (2 * x, x), decode=abs, scale="sigma")
        >>> collect_posterior(view, batches).mu
        tensor([[2., 2.],
                [2., 2.],
                [2., 2.]])
    """
    mus, sigmas, labels = [], [], []
    with evaluation_mode(*view.modules):
        for x, y in loader:
            mu, sigma = view.posterior(x, view.conditions(x, y))
            mus.append(mu.cpu())
            sigmas.append(sigma.cpu())
            labels.append(y.cpu())
    _require_some(labels)
    return Posterior(torch.cat(mus), torch.cat(sigmas), torch.cat(labels))


def collect_codes(encode: Callable[[Tensor], Any], loader: Batches) -> tuple[Tensor, Tensor]:
    """Encode a whole data set with any encoder, for example an autoencoder's.

    Args:
        encode: Maps x to codes (N, …), or to a tuple whose first element is the codes.
        loader: Yields batches (x, y) on the model's device.

    Returns:
        codes (N, Z), one row per image, and labels (N,), on the CPU, in the loader's order.

    Raises:
        ValueError: The loader is empty.

    Example:
        >>> codes, labels = collect_codes(nn.Flatten(), [(torch.ones(3, 1, 2, 2), torch.zeros(3))])
        >>> codes.shape, labels.shape
        (torch.Size([3, 4]), torch.Size([3]))
    """
    codes, labels = [], []
    with evaluation_mode(module_of(encode)):
        for x, y in loader:
            output = encode(x)
            first = output[0] if isinstance(output, tuple | list) else output
            codes.append(first.flatten(1).cpu())
            labels.append(y.cpu())
    _require_some(labels)
    return torch.cat(codes), torch.cat(labels)


def _require_some(labels: list[Tensor]) -> None:
    if not labels:
        raise ValueError("The loader has no batch. Is the set empty, or smaller than a batch?")

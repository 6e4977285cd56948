"""How q(z|x) is described: parameterizations of σ, and reductions of one number per entry.

mu and the second parameter are (N, Z). A term is computed for each entry first, (N, ...), and is
then reduced: one number for each image, the mean over the images, or the total sum.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from autograder.checks.vocabulary import CheckFailed, expect, expect_tensor, kind

Unary = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Parameterization:
    """One way to describe σ.

    Attributes:
        name: The argument, such as "logvar".
        label: The argument in the names of mistakes, such as "log_sigma".
        symbol: The quantity, such as "log σ²".
        to_sigma: Computes σ from it.
        of_sigma: Computes it from σ.
        formula: σ as a formula of the argument, with `{}` in the argument's place.
        three: The argument at σ = 3, for messages.
        is_log: Whether it is a logarithm.
        given: The quantity, in a sentence for students who read it as something else.
        kl_slope: The derivative of the KL by it.
        z_slope: The derivative of z by it.
    """

    name: str
    label: str
    symbol: str
    to_sigma: Unary
    of_sigma: Unary
    formula: str
    three: str
    is_log: bool
    given: str
    kl_slope: str
    z_slope: str

    def read_as(self, other: "Parameterization") -> str:
        """Name the mistake of a student who reads this parameter as another one."""
        return f"{self.label}_read_as_{other.label}"

    def posterior(self, n: int, latent_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return random means of both signs and a σ on both sides of 1, (n, latent_dim) each."""
        sigma = (0.6 * torch.randn(n, latent_dim)).exp()
        return 1.5 * torch.randn(n, latent_dim), self.of_sigma(sigma)

    def prior(self, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mu = 0 and the parameter of σ = 1, each of this shape."""
        return torch.zeros(shape), self.of_sigma(torch.ones(shape))

    def slope(self, value: torch.Tensor) -> torch.Tensor:
        """Return ∂σ / ∂value, of the shape of `value`."""
        value = value.detach().requires_grad_()
        return torch.autograd.grad(self.to_sigma(value).sum(), value)[0]


LOGVAR = Parameterization(
    name="logvar",
    label="logvar",
    symbol="log σ²",
    to_sigma=lambda v: (0.5 * v).exp(),
    of_sigma=lambda s: 2 * s.log(),
    formula="exp(½ {})",
    three="2 log 3",
    is_log=True,
    given="It is log σ², and may be negative.",
    kl_slope="(σ² − 1) / 2",
    z_slope="(z − mu) / 2",
)
LOGSIGMA = Parameterization(
    name="logsigma",
    label="log_sigma",
    symbol="log σ",
    to_sigma=torch.exp,
    of_sigma=torch.log,
    formula="exp({})",
    three="log 3",
    is_log=True,
    given="It is log σ, and may be negative.",
    kl_slope="σ² − 1",
    z_slope="z − mu",
)
SIGMA = Parameterization(
    name="sigma",
    label="sigma",
    symbol="σ",
    to_sigma=lambda v: 1 * v,
    of_sigma=lambda s: 1 * s,
    formula="{}",
    three="3",
    is_log=False,
    given="It is σ itself: take no exponential and no root of it.",
    kl_slope="σ − 1/σ",
    z_slope="(z − mu) / σ",
)
# No assignment uses it. Students misread the other parameters as the variance.
VARIANCE = Parameterization(
    name="variance",
    label="variance",
    symbol="the variance σ²",
    to_sigma=torch.sqrt,
    of_sigma=torch.square,
    formula="√{}",
    three="9",
    is_log=False,
    given="It is σ².",
    kl_slope="(1 − 1/σ²) / 2",
    z_slope="(z − mu) / (2 σ²)",
)
PARAMETERIZATIONS = (LOGVAR, LOGSIGMA, SIGMA, VARIANCE)


def misreadings(own: Parameterization) -> tuple[Parameterization, ...]:
    """Return the parameterizations that a student may confuse with this one."""
    return tuple(other for other in PARAMETERIZATIONS if other is not own)


@dataclass(frozen=True)
class Reduction:
    """How one number per entry becomes a term of the loss.

    Attributes:
        of: Reduces (N, ...).
        says: The reduction in words, after a comma.
        repeated: Computes the reduced term of a batch with each image twice, from the term.
        doubled: The same in words.
        per_image: The divisor of the derivative of the sum of the entries, in words.
    """

    of: Unary
    says: str
    repeated: Unary
    doubled: str
    per_image: str = ""


EACH_IMAGE = Reduction(
    of=lambda entries: entries.flatten(1).sum(1),
    says="one number for each image",
    repeated=lambda term: torch.cat([term, term]),
    doubled="each number twice",
)
MEAN = Reduction(
    of=lambda entries: entries.sum() / len(entries),
    says="the mean over the images",
    repeated=lambda term: term,
    doubled="the same KL",
    per_image=" / N",
)
TOTAL = Reduction(
    of=torch.sum,
    says="summed over all images",
    repeated=lambda term: 2 * term,
    doubled="twice the KL",
)


def expect_one_each(
    got: Any,
    n: int,
    what: str,
    names: tuple[str, str] = ("batch_reduced", "not_summed"),
    width: int = 0,
) -> torch.Tensor:
    """Expect one number for each image, (n,).

    Args:
        got: What the submission returned.
        n: Number of images.
        what: Its name in the message.
        names: The mistakes of a value that is one number for the batch, and of one that has
            several numbers for each image.
        width: The number of latents, of a KL.

    Raises:
        CheckFailed: If it has another form.
    """
    if isinstance(got, float) or (isinstance(got, torch.Tensor) and got.dim() == 0):
        raise CheckFailed(
            f"{what} is one number for the whole batch. It should be one for each image, ({n},).",
            names[0],
        )
    expect(
        width in (0, n) or not isinstance(got, torch.Tensor) or tuple(got.shape) != (width,),
        f"{what} has one value for each latent: you sum over the images, not the latents. For "
        f"mu of shape ({n}, {width}), its shape should be ({n},).",
        "kl_wrong_axis",
    )
    if isinstance(got, torch.Tensor) and got.dim() >= 2 and got.numel() == n:
        shape = "(" + ", ".join(map(str, got.shape)) + ")"
        raise CheckFailed(
            f"{what} has one number for each image, but its shape is {shape}. It should be ({n},): "
            "remove the axis of length 1.",
            names[1],
        )
    if isinstance(got, torch.Tensor) and got.dim() >= 2 and got.shape[0] == n:
        raise CheckFailed(
            f"{what} has {got[0].numel()} numbers for each image. Sum them: its shape should be "
            f"({n},).",
            names[1],
        )
    return expect_tensor(got, (n,), what)


def expect_one_number(got: Any, what: str, mistake: str | None = None) -> torch.Tensor:
    """Expect one number for the whole batch, a tensor or a float.

    Args:
        got: What the submission returned.
        what: Its name in the message.
        mistake: The mistake of several numbers.

    Raises:
        CheckFailed: If it has another form.
    """
    if isinstance(got, torch.Tensor) and got.numel() > 1:
        raise CheckFailed(
            f"{what} should be one number for the whole batch, got {got.numel()} numbers.",
            mistake,
        )
    return expect_tensor(torch.tensor(got) if isinstance(got, float) else got, (), what)


def expect_posterior(got: Any, n: int, latent_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Expect mu and logsigma, (n, latent_dim) each."""
    expect(
        isinstance(got, tuple) and len(got) == 2,
        f"The encoder should return the two values (mu, logsigma), got {kind(got)}.",
    )
    return (
        expect_tensor(got[0], (n, latent_dim), "`mu`"),
        expect_tensor(got[1], (n, latent_dim), "`logsigma`"),
    )

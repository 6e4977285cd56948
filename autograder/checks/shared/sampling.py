"""Checks of a reparameterized draw, shared by several assignments.

Each takes `draw(mu, logvar) -> z`, or `draw(mu, logsigma) -> z` with the scale `LOG_SIGMA`.
Statistics are let pass within six standard errors, so that a right solution fails one of them about
twice in a thousand million runs; the kurtosis, which is skewed, less than once in ten million.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from autograder.checks.vocabulary import expect, expect_close, expect_grad, expect_tensor
from autograder.protocol.remote import Affine, RemoteObject

Draw = Callable[[torch.Tensor, torch.Tensor], Any]
ROWS, WIDTH = 40_000, 2
COUNT = ROWS * WIDTH
STANDARD_ERRORS = 6.0
SHARED = "All {} get the same noise. Draw one number for each entry of z."
NO_NOISE = "There is no noise in z: every draw is the same."
UNIFORM = "Your noise is uniform; it should be Gaussian."
NO_GRADIENT = (
    "No gradient reaches `{}` through z: is z detached, or drawn by something that passes no "
    "gradient? Only the noise is a constant."
)


@dataclass(frozen=True)
class Scale:
    """How a draw is told its spread.

    Attributes:
        name: The argument that says it.
        call: The call, for messages.
        power: The argument is log σ to this power.
        three: The argument at σ = 3, for messages.
        known: The spread that a known mistake gives at σ = 3, its name, and what to say.
    """

    name: str
    call: str
    power: float
    three: str
    known: tuple[tuple[float, str, str], ...]


LOGVAR = Scale(
    name="logvar",
    call="`reparameterize(mu, logvar)`",
    power=2,
    three="2 log 3",
    known=(
        (
            9.0,
            "logvar_read_as_log_sigma",
            "Your spread is exp(logvar), the variance: logvar is read as log σ. It is log σ².",
        ),
        (2 * math.log(3.0), "sigma_is_logvar", "You use logvar itself where σ is due."),
        (math.sqrt(3.0), "sigma_root_twice", "Your spread is √σ: one half too many."),
        (
            math.sqrt(2 * math.log(3.0)),
            "root_of_logvar",
            "Your spread is the root of logvar: logvar is a logarithm, and may be negative.",
        ),
        (
            math.log(10.0),
            "softplus_for_exp",
            "Your spread is the softplus of logvar: positive, but it undoes no logarithm.",
        ),
    ),
)
LOG_SIGMA = Scale(
    name="logsigma",
    call="`sample_with_reparam(mu, logsigma)`",
    power=1,
    three="log 3",
    known=(
        (
            math.sqrt(3.0),
            "log_sigma_read_as_logvar",
            "Your spread is √σ: logsigma is read as log σ². Here it is log σ.",
        ),
        (
            9.0,
            "variance_for_sigma",
            "Your spread is σ², the variance. The noise is stretched by the standard deviation.",
        ),
        (
            math.log(3.0),
            "exp_missing",
            "You use logsigma itself where σ is due: it is a logarithm, and may be negative.",
        ),
        (
            math.log(4.0),
            "softplus_for_exp",
            "Your spread is the softplus of logsigma: positive, but it undoes no logarithm.",
        ),
    ),
)

# For a draw that takes σ itself: hand its argument over through `exp`.
SIGMA = Scale(
    name="sigma",
    call="`gaussian(mu, sigma)`",
    power=1,
    three="3",
    known=(
        (
            9.0,
            "variance_for_sigma",
            "Your spread is σ², the variance. The noise is stretched by the standard deviation.",
        ),
        (
            math.sqrt(3.0),
            "sigma_read_as_variance",
            "Your spread is √σ: sigma is read as the variance. It is σ itself.",
        ),
        (
            math.exp(3.0),
            "sigma_read_as_log_sigma",
            "Your spread is exp(sigma): sigma is read as log σ. The encoder gives σ itself.",
        ),
        (
            math.exp(1.5),
            "sigma_read_as_logvar",
            "Your spread is exp(½ sigma): sigma is read as log σ². The encoder gives σ itself.",
        ),
    ),
)


def _draws(draw: Draw, mu: float, sigma: float, scale: Scale) -> torch.Tensor:
    """Draw many z of one mean and spread, (ROWS, WIDTH)."""
    shape = (ROWS, WIDTH)
    given = torch.full(shape, mu), torch.full(shape, scale.power * math.log(sigma))
    z = expect_tensor(draw(*given), shape, scale.call)
    values = len(z.unique())
    # One number everywhere is no noise at all, or, if another call gives another, shared noise.
    shared = values < COUNT // 4 and (
        values > 1 or not torch.equal(expect_tensor(draw(*given), shape, scale.call), z)
    )
    # Repeated numbers would make every statistic below a matter of luck.
    expect(not shared, SHARED.format("entries of a batch"), "shared_noise")
    return z


def expect_spread(draw: Draw, scale: Scale = LOGVAR) -> None:
    """Expect a standard deviation of σ.

    The sample deviation of n Gaussian draws has a standard error of σ / √(2n).
    """
    sigma = 3.0
    z = _draws(draw, 0.0, sigma, scale)
    spread = float(z.std())
    if abs(spread - sigma) <= STANDARD_ERRORS * sigma / math.sqrt(2 * COUNT):
        return
    shown = f" At {scale.name} = {scale.three} the spread should be 3, and is {spread:.3g}."
    expect(spread > 0.015, NO_NOISE + shown, "no_sampling")
    expect(abs(_kurtosis(z) - 1.8) > 0.1, UNIFORM + shown, "uniform_noise")
    at_one = float(_draws(draw, 0.0, 1.0, scale).std())
    expect(
        abs(spread - sigma * at_one) > 0.03 * spread,
        f"Your noise is scaled by σ as it should be, but is itself not standard normal: where σ is "
        f"1, its spread is {at_one:.3g}." + shown,
        "noise_spread",
    )
    known = (
        *scale.known,
        (
            1.0,
            "no_sigma",
            f"The noise is not scaled: its spread is 1 whatever {scale.name} says.",
        ),
    )
    for wrong, name, says in known:
        expect(abs(spread - wrong) > 0.03 * wrong, says + shown, name)
    expect(False, f"The spread of z does not follow {scale.name}." + shown)


def _kurtosis(z: torch.Tensor) -> float:
    """The fourth moment around the mean, in units of the squared variance."""
    return float(((z - z.mean()) ** 4).mean() / z.var() ** 2)


def expect_centre(draw: Draw, scale: Scale = LOGVAR) -> None:
    """Expect a mean of mu; the mean of n draws has a standard error of σ / √n."""
    mean = float(_draws(draw, 3.0, 1.0, scale).mean())
    names = {0.0: "mu_dropped", -3.0: "mu_negated", 6.0: "mu_doubled", 3.5: "uniform_noise"}
    near = [name for wrong, name in names.items() if abs(mean - wrong) < 0.1]
    expect(
        abs(mean - 3.0) <= STANDARD_ERRORS / math.sqrt(COUNT),
        f"z should be centred on mu. At mu = 3 its mean is {mean:.3g}.",
        near[0] if near else None,
    )


def expect_gaussian(draw: Draw, scale: Scale = LOGVAR) -> None:
    """Expect a kurtosis of 3; that of n Gaussian draws has a standard error of √(24 / n)."""
    # Not at σ = 1: where its logarithm is taken for σ, no noise would be left.
    z = _draws(draw, 0.0, 3.0, scale)
    expect(float(z.std()) > 1e-6, NO_NOISE, "no_sampling")
    kurtosis = _kurtosis(z)
    expect(
        abs(kurtosis - 3.0) <= STANDARD_ERRORS * math.sqrt(24 / COUNT),
        f"The noise does not look Gaussian: its kurtosis should be 3, and is {kurtosis:.2f}.",
        "uniform_noise" if abs(kurtosis - 1.8) < 0.1 else None,
    )


def expect_fresh_noise(draw: Draw, scale: Scale = LOGVAR) -> None:
    """Expect noise of its own for every entry, and new noise at every call, of any shape."""
    for shape in ((1, 5), (5, 1), (1, 1)):
        alone = draw(torch.zeros(shape), torch.zeros(shape))
        gone = isinstance(alone, torch.Tensor) and alone.dim() < 2
        expect(
            not gone or alone.numel() != math.prod(shape),
            f"With mu of shape {shape}, z has shape {tuple(alone.shape)}: one row alone, or one "
            "latent alone, keeps both axes.",
            "squeezed",
        )
        expect_tensor(alone, shape, scale.call)
    mu = torch.zeros(2000, 4)
    value = torch.full_like(mu, scale.power * math.log(3.0))
    first, again = (expect_tensor(draw(mu, value), (2000, 4), scale.call) for _ in range(2))
    same = torch.equal(first, again)
    expect(not same or float(first.std()) > 1e-6, NO_NOISE, "no_sampling")
    expect(
        not same,
        "Two calls draw the same noise. Is a seed set inside, or the noise drawn only once?",
        "reseeded",
    )
    for dim, what in ((0, "rows of a batch"), (1, "entries of a row")):
        expect(
            float(first.std(dim).min()) > 1e-6,
            SHARED.format(what),
            "shared_noise",
        )


def draw_gradients(z: torch.Tensor, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Expect that gradients flow from a draw to what it is told; return them.

    Args:
        z: The draw, (N, Z).
        inputs: The mean and what says the spread, by name, (N, Z) each.

    Raises:
        CheckFailed: If one of them is reached by none, or by zeros alone.
    """
    grads = expect_grad(z, inputs, "z", "detached")
    for name, grad in zip(inputs, grads, strict=True):
        expect(bool(grad.any()), NO_GRADIENT.format(name), "detached")
    return grads


def expect_pathwise_gradients(draw: Draw, scale: Scale = LOGVAR) -> None:
    """Expect ∂z/∂mu = 1, and ∂z/∂logvar = (z − mu) / 2 (Kingma & Welling 2014, section 2.4)."""
    mu = (1.5 * torch.randn(6, 5)).requires_grad_()
    value = torch.randn(6, 5).requires_grad_()
    z = expect_tensor(draw(mu, value), (6, 5), scale.call)
    by_mu, by_value = draw_gradients(z, {"mu": mu, scale.name: value})
    expect_close(by_mu, torch.ones_like(by_mu), "The gradient of z by mu")
    right = (z - mu).detach() / scale.power
    expect_close(by_value, right, f"The gradient of z by {scale.name}")


def expect_new_draws(
    model: RemoteObject,
    part: str,
    names: tuple[str, str],
    latents: int,
    call: Callable[[], torch.Tensor],
) -> None:
    """Expect that who calls a model's draw twice gets two draws, in training and in eval mode.

    Args:
        model: The model, with known parts. What stands in for its draw is replaced by one that
            adds standard normal noise to the mean.
        part: The draw's name.
        names: Its two arguments.
        latents: Size of a code, Z.
        call: Calls the method that is judged, always with the same images; gives a tensor.
    """
    mean_alone = Affine([torch.eye(latents), torch.zeros(latents, latents)])
    model.plug(part, mean_alone, noise=True, names=names)
    for mode in (model.train, model.eval):
        mode()
        expect(
            not torch.equal(call(), call()),
            f"The same images give the same codes every time: is a seed set before `{part}` is "
            "called?",
            "reseeded",
        )

"""Checks of a reparameterized draw, shared by several assignments.

Each takes `draw(mu, logvar) -> z`, or `draw(mu, logsigma) -> z` with the scale `LOG_SIGMA`.
Statistics are let pass within six standard errors, so that a right solution fails one of them about
twice in a thousand million runs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from autograder.checking import expect, expect_close, expect_grad, expect_tensor

Draw = Callable[[torch.Tensor, torch.Tensor], Any]
ROWS, WIDTH = 40_000, 2
COUNT = ROWS * WIDTH
STANDARD_ERRORS = 6.0
SHARED = "All {} get the same noise. Draw one number for each entry of z."
NO_NOISE = "There is no noise in z: every draw is the same."


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


def _draws(draw: Draw, mu: float, value: float, scale: Scale) -> torch.Tensor:
    shape = (ROWS, WIDTH)
    z = expect_tensor(draw(torch.full(shape, mu), torch.full(shape, value)), shape, scale.call)
    # Repeated numbers would make every statistic below a matter of luck.
    expect(
        not 1 < len(z.unique()) < COUNT // 4, SHARED.format("entries of a batch"), "shared_noise"
    )
    return z


def expect_spread(draw: Draw, scale: Scale = LOGVAR) -> None:
    """Expect a standard deviation of σ.

    The sample deviation of n Gaussian draws has a standard error of σ / √(2n).
    """
    sigma = 3.0
    spread = float(_draws(draw, 0.0, scale.power * math.log(sigma), scale).std())
    if abs(spread - sigma) <= STANDARD_ERRORS * sigma / math.sqrt(2 * COUNT):
        return
    shown = f" At {scale.name} = {scale.three} the spread should be 3, and is {spread:.3g}."
    known = (
        (0.0, "no_sampling", NO_NOISE),
        *scale.known,
        (
            1.0,
            "no_sigma",
            f"The noise is not scaled: its spread is 1 whatever {scale.name} says.",
        ),
        (
            sigma / math.sqrt(12),
            "uniform_noise",
            "Your noise is uniform on an interval of length 1; it should be Gaussian.",
        ),
    )
    for wrong, name, says in known:
        expect(abs(spread - wrong) > 0.03 * max(wrong, 0.5), says + shown, name)
    expect(False, f"The spread of z does not follow {scale.name}." + shown)


def expect_centre(draw: Draw, scale: Scale = LOGVAR) -> None:
    """Expect a mean of mu; the mean of n draws has a standard error of σ / √n."""
    mean = float(_draws(draw, 3.0, 0.0, scale).mean())
    names = {0.0: "mu_dropped", -3.0: "mu_negated", 6.0: "mu_doubled", 3.5: "uniform_noise"}
    near = [name for wrong, name in names.items() if abs(mean - wrong) < 0.1]
    expect(
        abs(mean - 3.0) <= STANDARD_ERRORS / math.sqrt(COUNT),
        f"z should be centred on mu. At mu = 3 its mean is {mean:.3g}.",
        near[0] if near else None,
    )


def expect_gaussian(draw: Draw, scale: Scale = LOGVAR) -> None:
    """Expect a kurtosis of 3; that of n Gaussian draws has a standard error of √(24 / n)."""
    z = _draws(draw, 0.0, 0.0, scale)
    expect(float(z.std()) > 1e-6, NO_NOISE, "no_sampling")
    kurtosis = float(((z - z.mean()) ** 4).mean() / z.var() ** 2)
    expect(
        abs(kurtosis - 3.0) <= STANDARD_ERRORS * math.sqrt(24 / COUNT),
        f"The noise does not look Gaussian: its kurtosis should be 3, and is {kurtosis:.2f}.",
        "uniform_noise" if abs(kurtosis - 1.8) < 0.1 else None,
    )


def expect_fresh_noise(draw: Draw, scale: Scale = LOGVAR) -> None:
    """Expect noise of its own for every entry, and new noise at every call."""
    at_prior = torch.zeros(2000, 4)
    first, again = (
        expect_tensor(draw(at_prior, at_prior), (2000, 4), scale.call) for _ in range(2)
    )
    expect(float(first.std()) > 1e-6, NO_NOISE, "no_sampling")
    expect(
        not torch.equal(first, again),
        "Two calls draw the same noise. Is a seed set inside, or the noise drawn only once?",
        "reseeded",
    )
    for dim, what in ((0, "rows of a batch"), (1, "entries of a row")):
        expect(
            float(first.std(dim).min()) > 1e-6,
            SHARED.format(what),
            "shared_noise",
        )


def expect_pathwise_gradients(draw: Draw, scale: Scale = LOGVAR) -> None:
    """Expect ∂z/∂mu = 1, and ∂z/∂logvar = (z − mu) / 2 (Kingma & Welling 2014, section 2.4)."""
    mu = (1.5 * torch.randn(6, 5)).requires_grad_()
    value = torch.randn(6, 5).requires_grad_()
    z = expect_tensor(draw(mu, value), (6, 5), scale.call)
    by_mu, by_value = expect_grad(z, {"mu": mu, scale.name: value}, "z", "detached")
    expect_close(by_mu, torch.ones_like(by_mu), "The gradient of z by mu")
    right = (z - mu).detach() / scale.power
    expect_close(by_value, right, f"The gradient of z by {scale.name}")

"""Checks of a reparameterized draw, shared by several assignments.

Each takes `draw(mu, logvar) -> z`. Statistics are let pass within six standard errors, so that a
right solution fails one of them about twice in a thousand million runs.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from autograder.checking import expect, expect_close, expect_grad, expect_tensor

Draw = Callable[[torch.Tensor, torch.Tensor], Any]
ROWS, WIDTH = 40_000, 2
COUNT = ROWS * WIDTH
STANDARD_ERRORS = 6.0
SHARED = "All {} get the same noise. Draw one number for each entry of z."
WHAT = "`reparameterize(mu, logvar)`"


def _draws(draw: Draw, mu: float, logvar: float) -> torch.Tensor:
    shape = (ROWS, WIDTH)
    z = expect_tensor(draw(torch.full(shape, mu), torch.full(shape, logvar)), shape, WHAT)
    # Repeated numbers would make every statistic below a matter of luck.
    expect(
        not 1 < len(z.unique()) < COUNT // 4, SHARED.format("entries of a batch"), "shared_noise"
    )
    return z


def expect_spread(draw: Draw) -> None:
    """Expect a standard deviation of exp(½ logvar).

    The sample deviation of n Gaussian draws has a standard error of σ / √(2n).
    """
    sigma = 3.0
    logvar = 2 * math.log(sigma)
    spread = float(_draws(draw, 0.0, logvar).std())
    if abs(spread - sigma) <= STANDARD_ERRORS * sigma / math.sqrt(2 * COUNT):
        return
    shown = f" At logvar = 2 log 3 the spread should be 3, and is {spread:.3g}."
    known = (
        (0.0, "no_sampling", "There is no noise in z: every draw is the same."),
        (
            sigma**2,
            "logvar_read_as_log_sigma",
            "Your spread is exp(logvar), the variance: logvar is read as log σ. It is log σ².",
        ),
        (logvar, "sigma_is_logvar", "You use logvar itself where σ is due."),
        (math.sqrt(sigma), "sigma_root_twice", "Your spread is √σ: one half too many."),
        (1.0, "no_sigma", "The noise is not scaled: its spread is 1 whatever logvar says."),
        (
            sigma / math.sqrt(12),
            "uniform_noise",
            "Your noise is uniform on an interval of length 1; it should be Gaussian.",
        ),
    )
    for wrong, name, says in known:
        expect(abs(spread - wrong) > 0.03 * max(wrong, 0.5), says + shown, name)
    expect(False, "The spread of z does not follow logvar." + shown)


def expect_centre(draw: Draw) -> None:
    """Expect a mean of mu; the mean of n draws has a standard error of σ / √n."""
    mean = float(_draws(draw, 3.0, 0.0).mean())
    names = {0.0: "mu_dropped", -3.0: "mu_negated", 6.0: "mu_doubled", 3.5: "uniform_noise"}
    near = [name for wrong, name in names.items() if abs(mean - wrong) < 0.1]
    expect(
        abs(mean - 3.0) <= STANDARD_ERRORS / math.sqrt(COUNT),
        f"z should be centred on mu. At mu = 3 its mean is {mean:.3g}.",
        near[0] if near else None,
    )


def expect_gaussian(draw: Draw) -> None:
    """Expect a kurtosis of 3; that of n Gaussian draws has a standard error of √(24 / n)."""
    z = _draws(draw, 0.0, 0.0)
    expect(float(z.std()) > 1e-6, "There is no noise in z: every draw is the same.", "no_sampling")
    kurtosis = float(((z - z.mean()) ** 4).mean() / z.var() ** 2)
    expect(
        abs(kurtosis - 3.0) <= STANDARD_ERRORS * math.sqrt(24 / COUNT),
        f"The noise does not look Gaussian: its kurtosis should be 3, and is {kurtosis:.2f}.",
        "uniform_noise" if abs(kurtosis - 1.8) < 0.1 else None,
    )


def expect_fresh_noise(draw: Draw) -> None:
    """Expect noise of its own for every entry, and new noise at every call."""
    at_prior = torch.zeros(2000, 4)
    first, again = (expect_tensor(draw(at_prior, at_prior), (2000, 4), WHAT) for _ in range(2))
    expect(
        float(first.std()) > 1e-6, "There is no noise in z: every draw is the same.", "no_sampling"
    )
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


def expect_pathwise_gradients(draw: Draw) -> None:
    """Expect ∂z/∂mu = 1 and ∂z/∂logvar = (z − mu) / 2 (Kingma & Welling 2014, section 2.4)."""
    mu = (1.5 * torch.randn(6, 5)).requires_grad_()
    logvar = torch.randn(6, 5).requires_grad_()
    z = expect_tensor(draw(mu, logvar), (6, 5), WHAT)
    by_mu, by_logvar = expect_grad(z, {"mu": mu, "logvar": logvar}, "z", "detached")
    expect_close(by_mu, torch.ones_like(by_mu), "The gradient of z by mu")
    expect_close(by_logvar, (z - mu).detach() / 2, "The gradient of z by logvar")

"""The KL divergence KL(N(mu, σ²) ‖ N(0, I)), its known mistakes and its checks.

The mistakes are written once, for one entry of (mu, σ). They are derived for each parameterization
and each reduction.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as closed_form

from autograder.checks.shared.chance import mean_error
from autograder.checks.shared.differences import rounding
from autograder.checks.shared.kl_terms import expect_known_terms
from autograder.checks.shared.networks import Checks, named_check
from autograder.checks.shared.parameterization import (
    EACH_IMAGE,
    LOGVAR,
    MEAN,
    TOTAL,
    VARIANCE,
    Parameterization,
    Reduction,
    misreadings,
)
from autograder.checks.vocabulary import (
    CheckFailed,
    Mistake,
    check,
    close,
    expect,
    expect_close,
    expect_grad,
)
from autograder.protocol.remote import Submission

Pair = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
SAMPLES = 200_000


def entries(mu: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Return the KL of each entry, (N, Z), in nats (Kingma & Welling 2014, appendix B)."""
    # The logarithm of σ² is defined even if σ is negative by mistake.
    return 0.5 * (mu**2 + sigma**2 - 1 - (sigma**2).log())


# Wrong factors of a whole term. The factor 2 has a name of its own in some terms.
FACTORS = (4.0, 0.5, 0.25, 3.0, 5.0, 10.0, 0.1, 100.0, 0.01)
# Batch sizes that students divide by where the number of images is needed.
BATCH_SIZES = (128, 64, 32, 256, 100, 50, 16, 512)
FIXED_DIVISOR = (
    "Your {what} is divided by {size}, whatever the number of images is. Divide it by the number "
    "of images in the batch, not by a constant or a variable of the notebook."
)
ONLY_ENTROPY = "Your KL does not contain the prior: it is only the entropy of the posterior{}."
ENTRY_MISTAKES: tuple[tuple[str, str, Pair], ...] = (
    (
        "kl_without_half",
        "Your KL is twice what it should be: a factor of ½ is missing.",
        lambda m, s: 2 * entries(m, s),
    ),
    (
        "kl_without_half",
        "A factor of ½ is missing in your KL.",
        lambda m, s: m**2 + s**2 - 1 - s.log(),
    ),
    (
        "kl_sigma_for_variance",
        "Your KL uses σ where σ² is needed.",
        lambda m, s: 0.5 * (m**2 + s - 1) - s.log(),
    ),
    (
        "kl_log_sigma_halved",
        "Your KL uses ½ log σ where log σ is needed: ½ log σ² is log σ.",
        lambda m, s: 0.5 * (m**2 + s**2 - 1 - s.log()),
    ),
    (
        "kl_sign",
        "Your KL has the wrong sign: it should be 0 at N(0, I) and positive everywhere else.",
        lambda m, s: -entries(m, s),
    ),
    (
        "kl_log_sign",
        "In your KL, log σ has the wrong sign: a small σ must make the KL larger.",
        lambda m, s: 0.5 * (m**2 + s**2 - 1) + s.log(),
    ),
    (
        "kl_mu_not_squared",
        "Your KL uses mu where mu² is needed.",
        lambda m, s: 0.5 * (m + s**2 - 1) - s.log(),
    ),
    (
        "kl_mu_absolute",
        "Your KL uses |mu| where mu² is needed.",
        lambda m, s: 0.5 * (m.abs() + s**2 - 1) - s.log(),
    ),
    (
        "kl_log_squared",
        "Your KL uses the square of a logarithm. There is no such term in it.",
        lambda m, s: 0.5 * (m**2 + s**2 - 1 - (2 * s.log()) ** 2),
    ),
    (
        "kl_log_squared",
        "Your KL uses the square of a logarithm. There is no such term in it.",
        lambda m, s: 0.5 * (m**2 + s**2 - 1) - s.log() ** 2,
    ),
    (
        "kl_log_absolute",
        "Your KL uses the absolute value of log σ. Use log σ itself: it may be negative.",
        lambda m, s: 0.5 * (m**2 + s**2 - 1) - s.log().abs(),
    ),
    *(
        (
            "kl_sigma_power",
            "Your KL uses another power of σ where σ² is needed.",
            lambda m, s, power=power: 0.5 * (m**2 + s**power - 1) - s.log(),
        )
        for power in (3, 4, 0.5)
    ),
    (
        "kl_variance_inverted",
        "Your KL uses 1/σ² where σ² is needed. Check the sign in the exponent.",
        lambda m, s: 0.5 * (m**2 + s**-2 - 1) - s.log(),
    ),
    (
        "kl_exp_twice",
        "Your KL uses exp(σ²) where σ² is needed: one exponential is too many.",
        lambda m, s: 0.5 * (m**2 + (s**2).exp() - 1) - s.log(),
    ),
    (
        "kl_wrong_base",
        "The σ² in your KL is a power of 2. Logarithm and exponential have base e here.",
        lambda m, s: 0.5 * (m**2 + s ** (2 * math.log(2)) - 1) - s.log(),
    ),
    (
        "kl_mu_exp",
        "Your KL uses exp(mu) where mu² is needed.",
        lambda m, s: 0.5 * (m.exp() + s**2 - 1) - s.log(),
    ),
    *(
        (
            "kl_log_shifted",
            "The logarithm in your KL is not that of σ: a number is added to its argument.",
            lambda m, s, shift=shift, power=power: (
                0.5 * (m**2 + s**2 - 1) - (s**power + shift).log() / power
            ),
        )
        for shift in (1.0, 0.1, 0.01, 0.001)
        for power in (1, 2)
    ),
    (
        "kl_other_prior",
        "Your KL is that from N(1, I). The mean of the prior is 0.",
        lambda m, s: 0.5 * ((m - 1) ** 2 + s**2 - 1) - s.log(),
    ),
    (
        "kl_absolute_entries",
        "Your KL adds up absolute values of its terms. Add the terms themselves.",
        lambda m, s: 0.5 * (m**2 + s**2 - 1).abs() - s.log(),
    ),
    (
        "kl_clamped_inside",
        "A part of your KL is clamped at 0. Its terms may be negative; only their sum is not.",
        lambda m, s: 0.5 * (m**2 + s**2 - 1).clamp(min=0) - s.log(),
    ),
    (
        "kl_mu_sign",
        "In your KL, mu² has the wrong sign: a mean far from 0 must make the KL larger.",
        lambda m, s: 0.5 * (s**2 - 1 - m**2) - s.log(),
    ),
    (
        "kl_variance_sign",
        "In your KL, σ² has the wrong sign: a large σ must make the KL larger.",
        lambda m, s: 0.5 * (m**2 - s**2 - 1) - s.log(),
    ),
    *(
        (
            "kl_mu_factor",
            "In your KL, mu² has the wrong factor.",
            lambda m, s, f=factor: 0.5 * (f * m**2 + s**2 - 1) - s.log(),
        )
        for factor in (0.5, 2.0)
    ),
    *(
        (
            "kl_variance_factor",
            "In your KL, σ² has the wrong factor: compare σ² with the other terms.",
            lambda m, s, f=factor: 0.5 * (m**2 + f * s**2 - 1) - s.log(),
        )
        for factor in (0.5, 2.0)
    ),
    (
        "kl_squares_doubled",
        "In your KL, a factor of ½ is missing for mu² and σ²: compare them with log σ.",
        lambda m, s: m**2 + s**2 - s.log() - 0.5,
    ),
    (
        "kl_log_sigma_doubled",
        "Your KL uses 2 log σ where log σ is needed.",
        lambda m, s: 0.5 * (m**2 + s**2 - 1) - 2 * s.log(),
    ),
    (
        "kl_without_constant",
        "A constant is missing in your KL: it is too large by ½ for each latent, and not 0 at "
        "N(0, I).",
        lambda m, s: entries(m, s) + 0.5,
    ),
    (
        "kl_without_log",
        "There is no log σ in your KL: without it, σ can shrink to zero.",
        lambda m, s: 0.5 * (m**2 + s**2 - 1),
    ),
    ("kl_only_entropy", ONLY_ENTROPY.format(""), lambda m, s: 0 * m - s.log()),
    (
        "kl_only_entropy",
        ONLY_ENTROPY.format(", with its constants"),
        lambda m, s: 0 * m - s.log() - 0.5 * (1 + math.log(2 * math.pi)),
    ),
    (
        "kl_constant_sign",
        "The constant of your KL has the wrong sign: the KL is too large by 1 for each latent, and "
        "not 0 at N(0, I).",
        lambda m, s: entries(m, s) + 1,
    ),
    ("kl_without_mu", "Your KL does not change with mu.", lambda m, s: entries(0 * m, s)),
    (
        "kl_reversed",
        "Your KL is that of N(0, I) from q. The order should be reversed: the mean is over q.",
        lambda m, s: s.log() + 0.5 * ((1 + m**2) / s**2 - 1),
    ),
    (
        "kl_in_bits",
        "Your KL is in bits. Use the natural logarithm: the other term is in nats.",
        lambda m, s: entries(m, s) / math.log(2),
    ),
    *(
        (
            "kl_factor",
            f"Your KL is {factor:g} times what it should be.",
            lambda m, s, f=factor: f * entries(m, s),
        )
        for factor in FACTORS
    ),
)

# The names of one mistake in the parameterizations that name it in their own way.
LABELS = {
    ("kl_sigma_for_variance", "logsigma"): "sigma_for_variance",
    ("kl_sigma_for_variance", "sigma"): "kl_sigma_not_squared",
    ("kl_log_sigma_halved", "logvar"): "kl_log_sigma_for_log_variance",
    ("kl_log_sigma_halved", "logsigma"): "log_sigma_halved",
    ("kl_without_constant", "logsigma"): "kl_without_one",
    ("kl_without_constant", "sigma"): "kl_without_one",
}

OVER_LATENTS = (
    "kl_mean_over_latents",
    "Your KL averages over the latents. It is the sum over them.",
)
OVER_PIXELS = (
    "kl_divided_by_pixels",
    "Your KL is divided by the number of pixels. Divide it by the number of images at most.",
)
REDUCTION_MISTAKES: dict[Reduction, tuple[tuple[str, str, Callable[..., torch.Tensor]], ...]] = {
    EACH_IMAGE: (
        (*OVER_LATENTS, lambda e: e.mean(1)),
        (*OVER_PIXELS, lambda e: e.sum(1) / 784),
        (
            "kl_divided_by_rows",
            "Your KL is divided by the number of rows. Each row should have its own KL.",
            lambda e: e.sum(1) / len(e),
        ),
        (
            "kl_same_for_all",
            "Every row has the same KL in your result: the mean over all rows.",
            lambda e: e.sum(1).mean().expand(len(e)),
        ),
    ),
    MEAN: (
        (
            "kl_not_averaged",
            "Your KL grows with the batch: it is summed over the images too. Sum over the latents, "
            "average over the images.",
            lambda e: e.sum(),
        ),
        (*OVER_LATENTS, lambda e: e.sum(1).mean() / e.shape[1]),
        (
            "kl_mean_of_everything",
            "Your KL is divided by the number of all entries. Sum over the latents, average over "
            "the images.",
            lambda e: e.mean() / len(e),
        ),
        (*OVER_PIXELS, lambda e: e.sum() / len(e) / 784),
        (
            "kl_divided_twice",
            "Your KL is divided by the number of images twice.",
            lambda e: e.sum() / len(e) ** 2,
        ),
        (
            "kl_dropped",
            "The loss does not change with mu and {name}: it does not contain the KL term.",
            lambda e: torch.zeros(()),
        ),
    ),
    TOTAL: (
        (
            "kl_mean",
            "Your KL averages over all of its entries. It is a total sum.",
            lambda e: e.mean(),
        ),
        (
            "kl_mean_over_images",
            "Your KL averages over the images, and the reconstruction loss is a total sum. Use the "
            "same reduction for both terms.",
            lambda e: e.sum() / len(e),
        ),
        (*OVER_LATENTS, lambda e: e.sum() / e.shape[1]),
    ),
}
READ_AS = "Your KL is what you get when {name} is read as {other}. {given}"
VARIANCE_READ_AS = "The σ² in your KL is what you get when {name} is read as {other}. {given}"
EXP_MISSING = (
    "Your KL uses {name} or its square where σ² is needed: {name} is a logarithm. How do you get "
    "σ² from it?"
)

EXP_CANCELS = (
    "Your KL does not change with {name}: σ² and log σ² are missing in it, or they cancel. {name} "
    "is a logarithm: how do you get σ² from it?"
)


def kl_mistakes(own: Parameterization, reduction: Reduction) -> tuple[Mistake, ...]:
    """Derive the known mistakes in a KL, the likeliest first.

    Args:
        own: The parameterization that the KL takes.
        reduction: How the right KL is reduced.

    Returns:
        Mistakes with formulas of mu and the second parameter, (N, Z) each.
    """
    found = []

    def add(name: str, says: str, of_both: Pair, reduce: Callable[..., torch.Tensor]) -> None:
        def formula(mu: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            return reduce(of_both(mu.double(), value.double()))

        label = LABELS.get((name, own.name), name)
        found.append(Mistake(label, says.replace("{name}", own.name), formula))

    def given(formula: Pair) -> Pair:
        return lambda mu, value: formula(mu, own.to_sigma(value))

    def read_as(other: Parameterization) -> Pair:
        return lambda mu, value: entries(mu, other.to_sigma(value))

    def variance_read_as(other: Parameterization) -> Pair:
        # The root of a negative value is not a number; its square is the value.
        def variance(value: torch.Tensor) -> torch.Tensor:
            return value if other is VARIANCE else other.to_sigma(value) ** 2

        return lambda mu, value: 0.5 * (mu**2 + variance(value) - 1) - own.to_sigma(value).log()

    def without_constant(formula: Pair) -> Pair:
        return lambda mu, value: formula(mu, value) + 0.5

    for name, says, formula in ENTRY_MISTAKES[:3]:
        add(name, says, given(formula), reduction.of)
    for other in misreadings(own):
        name = own.read_as(other)
        says = READ_AS.format(name=own.name, other=other.symbol, given=own.given)
        add(name, says, read_as(other), reduction.of)
        alone = variance_read_as(other)
        # If only the variance is misread, the logarithm itself has been used correctly.
        if own.is_log and not other.is_log:
            # ½ log σ² is ½ logvar: with logvar in the place of σ², the two cancel.
            cancels = own is LOGVAR and other is VARIANCE
            name, says = "exp_missing", EXP_CANCELS if cancels else EXP_MISSING
            add(name, says, without_constant(alone), reduction.of)
        else:
            says = VARIANCE_READ_AS.format(name=own.name, other=other.symbol, given=own.given)
        add(name, says, alone, reduction.of)
    says = f"In your KL, mu and {own.name} are exchanged."
    add(
        "kl_arguments_swapped",
        says,
        lambda mu, value: entries(value, own.to_sigma(mu)),
        reduction.of,
    )
    for name, says, formula in ENTRY_MISTAKES[3:]:
        add(name, says, given(formula), reduction.of)
    for name, says, reduce in REDUCTION_MISTAKES[reduction]:
        add(name, says, given(entries), reduce)
    for size in BATCH_SIZES:
        says = FIXED_DIVISOR.format(what="KL", size=size)
        add("kl_fixed_batch_size", says, given(entries), lambda e, size=size: _divided(e, size))
    return tuple(found)


def _divided(each: torch.Tensor, size: int) -> torch.Tensor:
    """Return the sum of all entries, divided by a fixed number."""
    return each.sum() / size


def kl_term(
    mu: torch.Tensor, value: torch.Tensor, own: Parameterization, reduction: Reduction
) -> torch.Tensor:
    """Return the right KL in float64, reduced."""
    return reduction.of(entries(mu.double(), own.to_sigma(value.double())))


def expect_kl_values(
    kl: Pair,
    own: Parameterization,
    reduction: Reduction,
    mistakes: Sequence[Mistake],
    *,
    tolerance: float = 1e-4,
) -> None:
    """Expect the closed form at random posteriors, for several images and for one."""
    # 7 and 1 / 11 are not in `FACTORS`: sums over images and means over latents are no factors.
    for n, latent_dim in ((7, 11), (1, 3), (3, 20)):
        inputs = own.posterior(n, latent_dim)
        right = kl_term(*inputs, own, reduction)

        def explain() -> None:
            expect_same_again(kl, *own.posterior(2, 4))
            expect_no_floor(kl, own)
            expect_no_cap(kl, own)
            expect_not_clamped(kl, own)
            expect_every_image(kl, own)
            expect_constants_inside(kl, own)
            expect_divided_by_images(kl, own, reduction)
            expect_known_terms(kl, own, reduction)
            expect_sum_over_latents(kl, own, reduction)

        try:
            got = kl(*inputs)
        except CheckFailed:
            expect_no_second_logarithm(kl, own)
            raise
        expect_close(
            got,
            right,
            "The KL",
            inputs,
            mistakes,
            tolerance=tolerance,
            rounding=rounding(kl),
            otherwise=explain,
        )


def expect_no_floor(kl: Pair, own: Parameterization) -> None:
    """Expect that the KL is not a positive constant near the prior.

    Raises:
        CheckFailed: If it is.
    """
    mu, value = own.prior(1, 4)
    at_prior, near = float(kl(mu, value).sum()), float(kl(mu + 0.05, value).sum())
    if rounding(kl) > 1e-3:
        return  # so small a difference is not measured
    # Each latent adds 0.05² / 2 to the right KL, 0.005 together.
    expect(
        at_prior < 0.01 or abs(near - at_prior) > 1e-3,
        f"Your KL is {at_prior:.4g} at N(0, I) and also near it: it has a lower limit, such as "
        '"free bits". The KL is 0 at N(0, I), without a limit.',
        "kl_floor",
    )


def expect_no_cap(kl: Pair, own: Parameterization) -> None:
    """Expect that the KL has no upper limit.

    Raises:
        CheckFailed: If it has one.
    """
    mu, value = own.prior(1, 4)
    far, farther = float(kl(mu + 30.0, value).sum()), float(kl(mu + 40.0, value).sum())
    expect(
        far != farther or far == 0,
        f"Your KL has an upper limit, {far:.4g}. It has none: do not clamp it.",
        "kl_cap",
    )


def expect_same_again(kl: Pair, mu: torch.Tensor, value: torch.Tensor) -> None:
    """Expect that the KL of the same arguments is the same number again."""
    once, again = (float(kl(mu, value).sum()) for _ in range(2))
    expect(
        once == again,
        f"Two calls with the same arguments return a KL of {once:.6g} and {again:.6g}. Use the "
        "closed form of its arguments alone, without random numbers or counters.",
        "kl_from_samples",
    )


def expect_not_clamped(kl: Pair, own: Parameterization) -> None:
    """Expect that the KL changes with σ for very small and for very large σ, at mu = 0."""
    sigmas = (0.01, 0.02, 20.0, 30.0)
    alike = [torch.zeros(1, 4), torch.ones(1, 4)]
    found = [float(kl(alike[0], own.of_sigma(sigma * alike[1])).sum()) for sigma in sigmas]
    if len(set(found)) == 1:
        return  # σ is not used at all
    if rounding(kl) > 1e-3:
        return  # a small σ² without a logarithm would be lost
    for first, side in ((0, "small"), (2, "large")):
        expect(
            found[first] != found[first + 1],
            f"Your KL is the same for σ = {sigmas[first]:g} and σ = {sigmas[first + 1]:g}: a "
            f"{side} {own.name} is clamped. Use {own.name} unchanged.",
            f"kl_{own.label}_clamped",
        )


def expect_every_image(kl: Pair, own: Parameterization) -> None:
    """Expect that the KL of a batch changes with the last image, unless mu is not used at all."""
    mu, value = own.posterior(4, 3)
    last, first = mu.clone(), mu.clone()
    last[-1] += 1.0
    first[0] += 1.0
    whole, by_first, by_last = (float(kl(m, value).sum()) for m in (mu, first, last))
    expect(
        by_last != whole or by_first == whole,
        "Your KL does not change with the last image of the batch. Use all rows of mu and "
        f"{own.name}.",
        "kl_of_one_image",
    )


def expect_constants_inside(kl: Pair, own: Parameterization) -> None:
    """Expect that no constant is added once in place of once for each latent."""
    few, many = (float(kl(*own.prior(1, latents)).sum()) for latents in (4, 8))
    # At N(0, I) only the constants are left: `once` + latents · `each`.
    once = 2 * few - many
    # Without its constants, such a KL is right everywhere.
    inputs = own.posterior(1, 4)
    gap = float(kl(*inputs).sum()) - float(entries(inputs[0], own.to_sigma(inputs[1])).sum())
    expect(
        abs(once) < 1e-3 or abs(gap - few) > 1e-3 * max(1.0, abs(gap)),
        f"Your KL contains a constant, {once:.3g}, once. A constant belongs inside the sum: once "
        "for each latent.",
        "kl_constant_once",
    )


def expect_divided_by_images(kl: Pair, own: Parameterization, reduction: Reduction) -> None:
    """Expect that a mean over the images is not divided by a number that is always the same.

    Raises:
        CheckFailed: If it is.
    """
    if reduction is not MEAN:
        return
    divisors = []
    for n in (2, 4):
        inputs = own.posterior(n, 6)
        total, got = entries(inputs[0], own.to_sigma(inputs[1])).sum(), float(kl(*inputs).sum())
        divisors.append(float(total) / got if got else math.nan)
    expect_no_fixed_divisor(divisors, "KL", "kl_fixed_batch_size")


def expect_no_fixed_divisor(divisors: Sequence[float], what: str, mistake: str) -> None:
    """Expect that a mean over the images of two batches is not divided by one whole number.

    Args:
        divisors: The sum over the images, divided by the submission's value, for two batches with
            different numbers of images.
        what: The term, for the message.
        mistake: The name of the known mistake.
    """
    first, second = divisors
    size = round(first) if math.isfinite(first) else 0
    expect(
        size < 2 or max(abs(first - size), abs(second - size)) > 1e-3 * size,
        FIXED_DIVISOR.format(what=what, size=size),
        mistake,
    )


def expect_sum_over_latents(kl: Pair, own: Parameterization, reduction: Reduction) -> None:
    """Expect a KL that is wrong for one latent, too; another one combines its entries wrongly.

    Raises:
        CheckFailed: If the KL of one latent of one image is right.
    """
    inputs = [own.posterior(*sizes) for sizes in [(1, 1)] * 5 + [(1, 6)]]
    got = [kl(*pair).detach() for pair in inputs]
    right = [
        close(one, kl_term(*pair, own, reduction)) for one, pair in zip(got, inputs, strict=True)
    ]
    rounded = all(bool((one == one.round()).all()) for one in got)
    expect(
        not rounded,
        "Your KL is always a whole number: it is rounded, and a rounded number has no gradient. "
        "Return it unchanged.",
        "kl_rounded",
    )
    if not all(right[:5]):
        return
    mu, value = inputs[5]
    other = torch.cat([mu[:, :1] + 1, mu[:, 1:]], 1)
    expect(
        right[5] or not torch.equal(kl(other, value).detach(), got[5]),
        "Your KL is right for one latent, and with several latents it does not change with the "
        "first one. Add the terms of all latents.",
        "kl_of_one_latent",
    )
    expect(
        right[5],
        "Your KL is right for one latent, but not for several: it is not the sum over the latents. "
        "Is each mu squared before the numbers are added?",
        "kl_not_a_sum",
    )
    raise CheckFailed(
        "Your KL is right for one image, but not for several: an image's KL uses numbers of other "
        "images. Is a mean or a sum taken over the wrong axis?",
        "kl_mixes_images",
    )


def expect_no_second_logarithm(kl: Pair, own: Parameterization) -> None:
    """Expect that a KL that is not finite is not finite for positive parameters either.

    Raises:
        CheckFailed: If only negative parameters are the reason.
    """
    if not own.is_log:
        return
    mu, value = own.posterior(4, 3)
    try:
        kl(mu, value.abs() + 0.1)
    except CheckFailed:
        return
    raise CheckFailed(
        f"Your KL is not a number where {own.name} is negative, at σ < 1. Do you take a logarithm "
        f"or a root of {own.name}? It is a logarithm already.",
        "kl_logarithm_twice",
    )


def expect_kl_gradient(kl: Pair, own: Parameterization, reduction: Reduction, what: str) -> None:
    """Expect the right gradients of the KL at a random posterior.

    Args:
        kl: The KL, a function of mu and the second parameter.
        own: What the second parameter is.
        reduction: How the KL is reduced.
        what: What gradients start from, for messages.

    Raises:
        CheckFailed: If a gradient is missing or wrong.
    """
    mu, value = (t.requires_grad_() for t in own.posterior(3, 5))
    inputs = {"mu": mu, own.name: value}
    got = kl(mu, value)
    try:
        grads = expect_grad(got, inputs, what, "kl_detached")
    except CheckFailed:
        for name, moved in (("mu", (mu + 1.0, value)), (own.name, (mu, value + 1.0))):
            expect(
                not torch.equal(kl(*moved).detach(), got.detach()),
                f"Your KL does not change with {name}, so it does not train the encoder's {name}.",
                "kl_term_missing",
            )
        raise
    expected = torch.autograd.grad(kl_term(mu, value, own, reduction).sum(), (mu, value))
    error = rounding(kl)
    right = close(got, kl_term(mu, value, own, reduction).detach(), rounding=error)

    def explain(name: str) -> None:
        expect(
            not right,
            f"Your KL has the right value, but only a part of its gradient reaches {name}. Is a "
            "part of it detached?",
            "kl_detached",
        )

    for name, grad, slope in zip(inputs, grads, expected, strict=True):
        expect_close(
            grad,
            slope,
            f"The gradient of the KL by {name}",
            otherwise=lambda name=name: explain(name),  # type: ignore[misc]
        )


def kl_checks(
    task: str,
    called: Callable[[Submission], Pair],
    own: Parameterization,
    reduction: Reduction,
    *,
    in_loss: bool = False,
    gradient: bool = True,
    more: Sequence[Mistake] = (),
    tolerance: float = 1e-4,
) -> Checks:
    """Make the checks of a KL divergence.

    Args:
        task: The task's id.
        called: Makes the submission's KL, a function of mu and the second parameter.
        own: What the second parameter is.
        reduction: How the KL is reduced.
        in_loss: Whether the KL is a term of the measured loss.
        gradient: Whether the measured KL carries gradients.
        more: Mistakes of this assignment, before those that every KL has.
        tolerance: For the closed form, relative to the largest value.
    """
    mistakes = (*more, *kl_mistakes(own, reduction))

    def right(mu: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return kl_term(mu, value, own, reduction)

    @named_check(
        task,
        "kl_closed_form",
        f"The KL equals its closed form at random mu and {own.name}, {reduction.says}.",
    )
    def test_kl_closed_form(submission: Submission) -> None:
        expect_kl_values(called(submission), own, reduction, mistakes, tolerance=tolerance)

    @check(task)
    def test_kl_known_numbers(submission: Submission) -> None:
        """The KL is 0 at the prior, and 2 at mu = 2 and σ = 1."""
        kl = called(submission)
        mu, value = own.prior(1, 1)
        for shift in (0.0, 2.0):
            what = f"The KL at mu = {shift:g}, σ = 1"
            inputs = mu + shift, value
            if not shift:
                expect_no_floor(kl, own)
            # At these posteriors several mistakes have one value: only the closed form names one.
            got = kl(*inputs)
            expect_close(got, right(*inputs), what, tolerance=tolerance, rounding=rounding(kl))
        expect_not_clamped(kl, own)

    @check(task)
    def test_kl_is_an_expectation(submission: Submission) -> None:
        """The KL is the mean of log q(z) − log p(z) over samples z from q.

        A right KL fails with a probability below 3e-10; see `chance`. The same tolerance applies to
        the comparison with torch's own closed form.
        """
        mu, value = own.posterior(1, 3)
        kl = called(submission)
        got = float(kl(mu, value))
        q, prior = Normal(mu, own.to_sigma(value)), Normal(0.0, 1.0)
        z = q.sample((SAMPLES,))
        ratios = (q.log_prob(z) - prior.log_prob(z)).sum(-1)[:, 0].double()
        mean = float(ratios.mean())
        near = mean_error(float(ratios.std()), SAMPLES) + 1e-3 + rounding(kl)
        expect(
            abs(got - mean) <= near,
            f"The mean of log q(z) − log p(z) over {SAMPLES:,} samples is {mean:.3f}; your KL is "
            f"{got:.3f}.",
        )
        library = float(closed_form(q, prior).sum())
        expect(
            abs(got - library) <= near,
            f"`torch.distributions` computes {library:.3f} for this KL; yours is {got:.3f}.",
        )

    @named_check(
        task,
        "kl_adds_over_latents",
        f"Twice the latents: twice the KL. Twice the images: {reduction.doubled}.",
    )
    def test_kl_adds_over_latents(submission: Submission) -> None:
        kl, (mu, value) = called(submission), own.posterior(3, 4)
        once = kl(mu, value)
        wide = kl(torch.cat([mu, mu], 1), torch.cat([value, value], 1))
        # `once` and `wide` are both rounded.
        error = 3 * rounding(kl)
        expect_close(wide, 2 * once, "The KL of every latent repeated", rounding=error)
        tall = kl(torch.cat([mu, mu]), torch.cat([value, value]))
        what = "The KL of every image repeated"
        expect_close(tall, reduction.repeated(once), what, rounding=error)

    @named_check(
        task,
        "kl_gradient",
        f"The KL trains the encoder: its gradients are mu{reduction.per_image} and "
        f"{_over(own.kl_slope, reduction.per_image)}.",
    )
    def test_kl_gradient(submission: Submission) -> None:
        what = "the loss" if in_loss else "the KL"
        expect_kl_gradient(called(submission), own, reduction, what)

    made = (
        test_kl_closed_form,
        test_kl_known_numbers,
        test_kl_is_an_expectation,
        test_kl_adds_over_latents,
    )
    return (*made, test_kl_gradient) if gradient else made


def _over(slope: str, divisor: str) -> str:
    return f"({slope}){divisor}" if divisor else slope

"""Checks of a reparameterized sample z = mu + σ ε, for every parameterization of σ.

A right sampler fails none of these checks with a probability above 3e-10; see `chance`.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

from autograder.checks.shared.chance import deviation_error, kurtosis_range, mean_error
from autograder.checks.shared.networks import Checks, named_check
from autograder.checks.shared.parameterization import LOGVAR, SIGMA, Parameterization, misreadings
from autograder.checks.shared.parts import expect_call_keeps
from autograder.checks.shared.repeats import distinct, expect_new_noise
from autograder.checks.shared.sampling_mistakes import (
    SampleMistake,
    expect_no_known_sample,
    kurtosis,
    moments,
)
from autograder.checks.vocabulary import (
    CheckFailed,
    check,
    expect,
    expect_close,
    expect_grad,
    expect_tensor,
    fail,
)
from autograder.protocol.remote import Affine, RemoteObject, Submission

# From mu and the second parameter, (N, Z) each, to z, (N, Z).
Sampler = Callable[[torch.Tensor, torch.Tensor], Any]
ROWS, WIDTH = 40_000, 2
COUNT = ROWS * WIDTH
# A small number that keeps σ from 0 is right: it changes this σ by less than a tenth.
SMALL = 0.02
SHARED = "All {} have the same noise. Sample one number for each entry of z."
FEW_NOISE = (
    "{:,} entries of z with one mean and one standard deviation have only {:,} different values. "
    "Sample one Gaussian number for each entry."
)
CLAMPED = "Many entries of z are exactly {:.3g} or {:.3g}: z or its noise is clamped."
IS_MU = "{} is mu itself. Add noise, scaled by σ."
NO_NOISE = "There is no noise in z: every sample is the same."
UNIFORM = "Your noise is uniform; it should be Gaussian."
# The names of the mistake that mu itself is decoded.
DECODES_MU = ("forward_decodes_mu", "decodes_mu")
NO_ELBO = "Then the loss of test images in eval mode is no ELBO. This costs no points."
MEAN_IN_EVAL = (
    "In eval mode your model uses mu itself and does not call `{0}` for a sample, or `{0}` returns "
    f"mu. {NO_ELBO}"
)
# For a sample that no method of its own returns.
IS_MEAN_IN_EVAL = f"In eval mode, {{}} is mu itself, without noise. {NO_ELBO}"
NO_GRADIENT = (
    "No gradient reaches `{}` through z. Is z detached, or sampled by a function that passes no "
    "gradient? Only the noise is a constant."
)
# The names of a misread parameter in this task, if they differ from those in a KL.
LABELS = {
    "logvar_read_as_sigma": "sigma_is_logvar",
    "logvar_read_as_variance": "root_of_logvar",
    "log_sigma_read_as_sigma": "exp_missing",
}


def known_deviations(own: Parameterization, sigma: float) -> tuple[tuple[float, str, str], ...]:
    """Derive the standard deviations of known mistakes, the likeliest first.

    Args:
        own: What the sampler's second argument is.
        sigma: The right standard deviation.

    Returns:
        For each mistake its standard deviation, its name, and a sentence.
    """
    value = own.of_sigma(torch.tensor(sigma))
    found = []
    for other in misreadings(own):
        name = own.read_as(other)
        says = (
            f"Your standard deviation is {other.formula.format(own.name)}: you read {own.name} as "
            f"{other.symbol}. {own.given}"
        )
        found.append((float(other.to_sigma(value)), LABELS.get(name, name), says))
    found += [
        (
            sigma**2,
            "variance_for_sigma",
            "Your standard deviation is σ², the variance. Multiply the noise by σ.",
        ),
        (math.sqrt(sigma), "sigma_root_twice", "Your standard deviation is √σ: one ½ is too many."),
        (
            1.0,
            "no_sigma",
            f"The noise is not scaled: its standard deviation is 1 for every {own.name}.",
        ),
    ]
    if own.is_log:
        says = f"Your standard deviation is the softplus of {own.name}. It does not invert the log."
        log = math.log(sigma)
        found += [
            (float(F.softplus(value)), "softplus_for_exp", says),
            (log, "exp_missing", "Your standard deviation is log σ: the exponential is missing."),
            (1 / sigma, "sigma_inverted", "Your standard deviation is 1/σ: check a sign."),
            (
                1 / sigma**2,
                "sigma_inverted",
                "Your standard deviation is 1/σ²: check a sign and a factor.",
            ),
            (
                sigma**4,
                "logarithm_doubled",
                f"Your standard deviation is σ⁴: {own.name} is multiplied by 2 before the "
                "exponential.",
            ),
            *(
                (
                    base**log,
                    "wrong_base",
                    f"Your standard deviation is a power of {base}. The logarithm is the natural "
                    "one: what inverts it?",
                )
                for base in (2, 10)
            ),
        ]
    return tuple(found)


def exchanged(own: Parameterization) -> tuple[SampleMistake, ...]:
    """Return the mistake of a sample whose two parameters are exchanged."""
    if not own.is_log:
        return ()

    def formula(mu: float, sigma: float, noise: torch.Tensor) -> torch.Tensor:
        mean, value = own.of_sigma(torch.tensor(sigma)), torch.tensor(mu)
        return mean + own.to_sigma(value) * noise

    says = (
        f"In z, mu and {own.name} are exchanged: the mean of z is {own.name}, and its standard "
        "deviation changes with mu. In which order are the two returned, and used?"
    )
    return (SampleMistake("mu_and_sigma_exchanged", says, formula),)


def _samples(
    sampler: Sampler, mu: float, sigma: float, own: Parameterization, what: str
) -> torch.Tensor:
    """Sample many z of one mean and standard deviation, (ROWS, WIDTH)."""
    shape = (ROWS, WIDTH)
    given = torch.full(shape, mu), own.of_sigma(torch.full(shape, sigma))
    z = expect_tensor(sampler(*given), shape, what)
    values = distinct(z)
    # One number everywhere is no noise; it is shared noise if another call returns another number.
    shared = values < COUNT // 4 and (
        values > 1 or not torch.equal(expect_tensor(sampler(*given), shape, what), z)
    )
    # Repeated numbers make the statistics below random.
    if shared:
        fail(*_shared(z))
    return z


def _shared(z: torch.Tensor) -> tuple[str, str]:
    """Say which entries of samples z, (N, Z), of one mean and deviation have the same noise.

    Returns:
        The message, and the name of the mistake.
    """
    low, high = float(z.min()), float(z.max())
    at_ends = min(float((z == end).double().mean()) for end in (low, high))
    if at_ends > 0.01 and distinct(z) > 100:
        return CLAMPED.format(low, high), "sample_clamped"
    rows, entries = float(z.std(0).max()) < 1e-6, float(z.std(1).max()) < 1e-6
    if not rows and not entries:
        return FEW_NOISE.format(z.numel(), distinct(z)), "shared_noise"
    both = rows and entries
    which = "entries of a batch" if both else "rows of a batch" if rows else "entries of a row"
    return SHARED.format(which), "shared_noise"


def sampling_checks(
    task: str,
    made: Callable[[Submission, bool], Any],
    own: Parameterization = LOGVAR,
    *,
    what: str,
    name: str = "",
    is_mu: str = IS_MU,
) -> Checks:
    """Make the checks of a reparameterized sample.

    Args:
        task: The task's id.
        made: Makes the submission's sampler, of a model in training mode if True.
        own: The parameterization of its second argument.
        what: The sample, for messages.
        name: The method's name, if the sampler is a method that can be called alone. Then its
            gradients, its inputs and its device are checked too.
        is_mu: The message for a sample that is mu itself, with `{}` in the place of `what`.
    """
    sigma = own.name if own is SIGMA else f"σ = {own.formula.format(own.name)}"
    uncapitalized = what[:1].lower() + what[1:]

    def many(submission: Submission, mu: float, sigma: float) -> torch.Tensor:
        return _samples(made(submission, True), mu, sigma, own, what)

    @named_check(
        task,
        "standard_deviation",
        f"The standard deviation of z is {sigma}, in training and in eval mode.",
    )
    def test_standard_deviation(submission: Submission) -> None:
        expect_standard_deviation(made(submission, True), own, what, is_mu)
        measured = made(submission, False)
        if gives_mean(measured, own):
            said = MEAN_IN_EVAL.format(name) if name else IS_MEAN_IN_EVAL.format(uncapitalized)
            submission.remark(said)
        else:
            expect_standard_deviation(measured, own, what, is_mu)

    @check(task)
    def test_centre(submission: Submission) -> None:
        """The mean of z is mu."""
        # A right mean fails with a probability of 1e-10.
        z = many(submission, 3.0, 2.0)
        mean = float(z.mean())
        names = {0.0: "mu_dropped", -3.0: "mu_negated", 6.0: "mu_doubled", 4.0: "uniform_noise"}
        near = [name for wrong, name in names.items() if abs(mean - wrong) < 0.1]
        # A wrong deviation, which another check tests, makes the mean uncertain.
        error = mean_error(max(2.0, float(z.std())), COUNT)
        if abs(mean - 3.0) > error:
            expect_no_known_sample(lambda mu, s: moments(many(submission, mu, s)), exchanged(own))
        expect(
            abs(mean - 3.0) <= error,
            f"The mean of z should be mu. At mu = 3 it is {mean:.3g}.",
            near[0] if near else None,
        )

    @check(task)
    def test_noise_is_gaussian(submission: Submission) -> None:
        """The noise is Gaussian: its fourth moment is 3 σ⁴."""
        # Not at σ = 1: a student who uses log σ for σ would have no noise there.
        z = many(submission, 0.0, 3.0)
        if float(z.std()) < 1e-6:
            expect_no_known_sample(lambda mu, s: moments(many(submission, mu, s)), exchanged(own))
        expect(bool(z.any()), is_mu.format(what), "no_sampling")
        expect(float(z.std()) > 1e-6, NO_NOISE, "no_sampling")
        fourth = kurtosis(z)
        # Gaussian noise fails with a probability below 1e-10.
        low, high = kurtosis_range(COUNT)
        if not low <= fourth <= high:
            expect_no_known_sample(lambda mu, s: moments(many(submission, mu, s)), exchanged(own))
        expect(
            low <= fourth <= high,
            f"The noise does not look Gaussian: its kurtosis should be 3; it is {fourth:.2f}.",
            "uniform_noise" if abs(fourth - 1.8) < 0.1 else None,
        )

    @check(task)
    def test_one_sample_for_each_entry(submission: Submission) -> None:
        """Every entry of z has its own noise, and every call uses new noise."""
        expect_fresh_noise(made(submission, True), own, what)

    @named_check(
        task,
        "gradients_pass",
        f"Gradients reach mu and {own.name}: ∂z/∂mu is 1 and ∂z/∂{own.name} is {own.z_slope}.",
    )
    def test_gradients_pass(submission: Submission) -> None:
        # ∂z/∂value is ε ∂σ/∂value (Kingma & Welling 2014, section 2.4).
        mu, value = (t.requires_grad_() for t in own.posterior(6, 5))
        z = expect_tensor(made(submission, True)(mu, value), (6, 5), what)
        inputs = {"mu": mu, own.name: value}
        by_mu, by_value = expect_grad(z, inputs, "z", "detached")
        for argument, grad in zip(inputs, (by_mu, by_value), strict=True):
            expect(bool(grad.any()), NO_GRADIENT.format(argument), "detached")
        expect_close(by_mu, torch.ones_like(by_mu), "The gradient of z by mu")
        right = (z - mu).detach() / own.to_sigma(value).detach() * own.slope(value)
        expect_close(by_value, right, f"The gradient of z by {own.name}")

    @named_check(
        task,
        "sample_keeps_its_inputs",
        f"mu and {own.name} are the same after the call as before.",
    )
    def test_inputs_kept(submission: Submission) -> None:
        inputs = dict(zip(("mu", own.name), own.posterior(6, 5), strict=True))
        expect_call_keeps(submission, made(submission, True).of_width(5), name, inputs)

    noise = (
        test_standard_deviation,
        test_centre,
        test_noise_is_gaussian,
        test_one_sample_for_each_entry,
    )
    return (*noise, test_gradients_pass, test_inputs_kept) if name else noise


def expect_standard_deviation(
    sampler: Sampler, own: Parameterization, what: str, is_mu: str = IS_MU
) -> None:
    """Expect a standard deviation of σ = 3.

    A right sampler fails with a probability below 1.5e-10 at each call.
    """
    sigma = 3.0
    z = _samples(sampler, 0.0, sigma, own, what)
    found = float(z.std())
    if abs(found - sigma) <= deviation_error(sigma, COUNT):
        small = float(_samples(sampler, 0.0, SMALL, own, what).std())
        expect(
            abs(small - SMALL) <= 0.1 * SMALL,
            f"The standard deviation of z is right at σ = 3. At σ = {SMALL} it is {small:.3g}: is "
            "σ clamped, or a number added to it?",
            "sigma_floor",
        )
        return
    shown = f" At {own.name} = {own.three} the standard deviation should be 3; it is {found:.3g}."
    # A root of a logarithm is not finite at σ < 1, which these samples include.
    below_one = sampler(*own.posterior(64, WIDTH))
    finite = isinstance(below_one, torch.Tensor) and bool(torch.isfinite(below_one).all())
    if finite:
        # Noise that mu multiplies is 0 above, and not here.
        expect_no_known_sample(
            lambda mu, s: moments(_samples(sampler, mu, s, own, what)), exchanged(own)
        )
    expect(bool(z.any()), is_mu.format(what) + shown, "no_sampling")
    expect(found > 0.015, NO_NOISE + shown, "no_sampling")
    expect(abs(kurtosis(z) - 1.8) > 0.1, UNIFORM + shown, "uniform_noise")
    at_one = float(_samples(sampler, 0.0, 1.0, own, what).std())
    expect(
        abs(found - sigma * at_one) > 0.03 * found,
        "You multiply the noise by σ, which is right. But the noise itself is not standard "
        f"normal: at σ = 1, its standard deviation is {at_one:.3g}." + shown,
        "noise_spread",
    )
    if finite:
        below, above = (float(_samples(sampler, 0.0, s, own, what).std()) for s in (0.5, 30.0))
        expect(
            abs(below - 0.5) > 0.02 or found > sigma or abs(above - found) > 0.03 * found,
            f"The standard deviation of z is right at σ = 0.5. But it is never above {found:.2g}: "
            "is σ clamped?" + shown,
            "sigma_clamped",
        )
    # Two formulas may be near each other at one σ. Above 1, the root of a logarithm is a number.
    second = 1.5
    other = float(_samples(sampler, 0.0, second, own, what).std())
    for (wrong, name, says), (there, *_) in zip(
        known_deviations(own, sigma), known_deviations(own, second), strict=True
    ):
        explained = abs(found - wrong) <= 0.03 * wrong and abs(other - there) <= 0.03 * there
        expect(not explained, says + shown, name)
    added = found - sigma
    expect(
        abs(added) < 0.05 or abs(other - second - added) > 0.03,
        f"The standard deviation of z is σ + {added:.2g}: a number is added to σ." + shown,
        "sigma_floor",
    )
    expect(False, f"The standard deviation of z does not follow {own.name}." + shown)


def gives_mean(sampler: Sampler, own: Parameterization) -> bool:
    """Return whether a sampler returns mu itself, whatever σ is."""
    mu, value = own.posterior(6, WIDTH)
    z = sampler(mu, value)
    return (
        isinstance(z, torch.Tensor)
        and z.shape == mu.shape
        and torch.allclose(z.to(mu), mu, atol=1e-4)
    )


@contextlib.contextmanager
def mean_in_eval_accepted(submission: Submission, part: str, mode: str) -> Iterator[None]:
    """Accept that a method decodes mu itself, in eval mode only; remark on it.

    Args:
        submission: The submission.
        part: The name of the sampling method.
        mode: The mode of the tested model, "train" or "eval".
    """
    try:
        yield
    except CheckFailed as verdict:
        if mode != "eval" or verdict.mistake not in DECODES_MU:
            raise
        submission.remark(MEAN_IN_EVAL.format(part))


def expect_fresh_noise(sampler: Sampler, own: Parameterization, what: str) -> None:
    """Expect separate noise for every entry, and new noise at every call, for any shape."""
    for shape in ((1, 5), (5, 1), (1, 1)):
        alone = sampler(*own.prior(*shape))
        found = tuple(alone.shape) if isinstance(alone, torch.Tensor) else shape
        expect(
            len(found) > 1 or math.prod(found) != math.prod(shape),
            f"With mu of shape {shape}, z has shape {found}. Keep both axes, also for one row or "
            "one latent.",
            "squeezed",
        )
        expect_tensor(alone, shape, what)
        expect(
            not isinstance(sampler, MethodSampler) or alone.dtype == torch.float32,
            f"{what} has the dtype {str(alone.dtype).removeprefix('torch.')}, although mu has "
            "float32: the decoder's weights have float32 too, and cannot be multiplied with it. "
            "NumPy's random numbers have float64.",
            "double_precision",
        )
    shape = (500, 4)
    # Not at mu = 0: noise that mu multiplies would be 0.
    given = torch.full(shape, 2.0), own.of_sigma(torch.full(shape, 3.0))
    first, again = (expect_tensor(sampler(*given), shape, what) for _ in range(2))
    same = torch.equal(first, again)
    expect(not same or float(first.std()) > 1e-6, NO_NOISE, "no_sampling")
    expect(
        not same,
        "Two calls return the same noise. Do you set a seed, or sample the noise only once?",
        "reseeded",
    )
    if isinstance(sampler, MethodSampler):
        method = sampler.of_width(shape[1])
        expect_new_noise(method, *given, name=method.path)
    own_noise = all(float(first.std(dim).min()) > 1e-6 for dim in (0, 1))
    if not own_noise:
        fail(*_shared(first))


class MethodSampler:
    """A method that samples, of models whose latent size is the width of what they are given.

    A method may read sizes from its model: `torch.randn(len(mu), self.latent_dim)` is right.

    Args:
        make: Makes a model with a number of latents.
        name: The method.
        train: Whether the models are in training mode.
    """

    def __init__(self, make: Callable[[int], RemoteObject], name: str, train: bool):
        self._make, self._name, self._train = make, name, train
        # One model for each width: noise that is sampled only once must be the same again.
        self._models: dict[int, RemoteObject] = {}

    def of_width(self, latent_dim: int) -> RemoteObject:
        """Return the method of a model with this number of latents."""
        if latent_dim not in self._models:
            model = self._models[latent_dim] = self._make(latent_dim)
            if self._train:
                model.train()
            else:
                model.eval()
        method: RemoteObject = getattr(self._models[latent_dim], self._name)
        return method

    def __call__(self, mu: torch.Tensor, value: torch.Tensor) -> Any:
        """Sample z from mu and the second parameter, (N, Z) each."""
        return self.of_width(mu.shape[-1])(mu, value)


def method_sampler(
    make: Callable[[Submission, int], RemoteObject], name: str
) -> Callable[[Submission, bool], MethodSampler]:
    """Return a function that makes a sampler from a model's method, for `sampling_checks`.

    Args:
        make: Makes the submission's model with a number of latents.
        name: The method.
    """

    def made(submission: Submission, train: bool) -> MethodSampler:
        return MethodSampler(lambda latent_dim: make(submission, latent_dim), name, train)

    return made


def expect_new_draws(
    model: RemoteObject,
    part: str,
    names: tuple[str, str],
    latents: int,
    call: RemoteObject,
    *args: torch.Tensor,
) -> None:
    """Expect that a model uses a new sample at each call, in training and in eval mode.

    Args:
        model: The model, with known parts. The stub of its sampling method is replaced by one that
            adds standard normal noise to the mean.
        part: The sampling method's name.
        names: Its two arguments.
        latents: Size of a code, Z.
        call: The tested method; its result depends on the sample.
        args: What to call it with.
    """
    mean_alone = Affine([torch.eye(latents), torch.zeros(latents, latents)])
    model.set_stub(part, mean_alone, noise=True, names=names)
    stub = getattr(model, part)
    for mode in ("train", "eval"):
        getattr(model, mode)()
        calls = len(stub.seen())
        try:
            expect_new_noise(call, *args, name=call.path or "forward")
        except CheckFailed:
            # Another check accepts a model that decodes mu itself in eval mode.
            if mode == "train" or len(stub.seen()) > calls:
                raise

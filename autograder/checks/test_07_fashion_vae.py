"""What `07_fashion_vae` is graded on."""

import math
from dataclasses import astuple, replace
from typing import Any

import torch

from autograder.checking import (
    CheckFailed,
    Mistake,
    Task,
    check,
    expect,
    expect_close,
    expect_grad,
    expect_tensor,
    kind,
)
from autograder.checks.convolutions import (
    EVERY,
    SMALL,
    Sizes,
    expect_images,
    expect_sizes_used,
    linear_size,
    shapes,
)
from autograder.checks.gaussian import negative_elbo, sample
from autograder.checks.parts import expect_own_rows, expect_pixel_range, model_or_bare
from autograder.checks.sampling import (
    SIGMA,
    STANDARD_ERRORS,
    Draw,
    expect_centre,
    expect_fresh_noise,
    expect_gaussian,
    expect_spread,
)
from autograder.checks.stored_loss import (
    BIASES,
    GRADIENT_MISTAKES,
    LOSS_MISTAKES,
    OUTPUT_MISTAKES,
    gradients,
    known_parts,
)
from autograder.checks.totals import KL_MISTAKES, RECON_MISTAKES, bce, kl
from autograder.submission import Affine, Other, Raised, RemoteObject, Submission
from autograder.training import Plan, expect_trained

PARTS = ("encoder", "decoder", "r_loss", "kl_loss", "gaussian")
TASKS = (
    Task("encoder", 14, "Encoder", parts=("encoder",)),
    Task("decoder", 14, "Decoder", parts=("decoder",)),
    Task("r_loss", 8, "Reconstruction loss", parts=("r_loss",)),
    Task("kl_loss", 10, "KL divergence", parts=("kl_loss",)),
    Task("gaussian", 10, "Reparameterized draw", parts=("gaussian",)),
    Task("forward", 10, "Forward and backward", parts=("forward", "backward"), uses=PARTS),
    Task("training", 8, "Training loss"),
    Task("top_two_dims", 6, "Dimensions that vary most"),
    Task("quantiles", 4, "Quantiles of the prior"),
    Task("perturb", 6, "One latent changed"),
)


def images(n: int) -> torch.Tensor:
    """Make n grey images, (n, 1, 28, 28)."""
    return torch.rand(n, 1, 28, 28)


def any_vae(submission: Submission) -> RemoteObject:
    """Make a model for its methods alone: one whose `__init__` fails will do."""
    return model_or_bare(submission, "VAE", *astuple(SMALL))


def posterior(n: int, latent_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Make means of both signs and standard deviations on both sides of 1, (n, latent_dim) each."""
    return 1.5 * torch.randn(n, latent_dim), (0.7 * torch.randn(n, latent_dim)).exp()


# Encoder


def encode(encoder: RemoteObject, x: torch.Tensor, sizes: Sizes = SMALL) -> list[torch.Tensor]:
    """Call `Encoder` and expect mu and sigma, (N, Z) each."""
    got = encoder(x)
    expect(
        isinstance(got, tuple) and len(got) == 2,
        f"`Encoder` should return the two values (mu, sigma), got {kind(got)}.",
    )
    shape = (len(x), sizes.lat)
    return [expect_tensor(t, shape, name) for t, name in zip(got, ("`mu`", "`sigma`"), strict=True)]


@check("encoder")
def test_encoder_shapes(submission: Submission) -> None:
    """Images go to mu and sigma, (N, Z) each, for k of 3 and 5 and any sizes, one image alone."""
    for sizes in EVERY:
        encoder = sizes.make(submission, "Encoder")
        for n in (6, 1):
            try:
                encode(encoder, images(n), sizes)
            except Raised:
                if (sizes.lat, sizes.printed_features) in shapes(encoder):
                    raise linear_size("Encoder", sizes) from None
                raise


@check("encoder")
def test_encoder_follows_its_sizes(submission: Submission) -> None:
    """The layers are made with c1, c2 and k."""
    expect_sizes_used(submission, "Encoder", images(2))


@check("encoder")
def test_sigma_is_positive(submission: Submission) -> None:
    """Standard deviations are positive; means have both signs."""
    sizes = replace(SMALL, lat=16)
    encoder = sizes.make(submission, "Encoder")
    mu, sigma = encode(encoder, 3 * torch.randn(128, 1, 28, 28), sizes)
    expect(
        bool((sigma > 0).all()) or bool((mu <= 0).any()),
        "sigma comes first, and mu second: return (mu, sigma).",
        "outputs_swapped",
    )
    expect(
        bool((sigma >= 0).all()),
        "`sigma` has negative values. A standard deviation has none: is the exponential still to "
        "be taken?",
        "sigma_is_log_sigma",
    )
    expect(
        bool((sigma > 0).all()),
        "`sigma` is exactly 0 for many images, as after a ReLU. A cloud without any width has an "
        "infinite KL: use a map whose values are positive.",
        "sigma_is_zero",
    )
    expect(
        bool((mu < 0).any() and (mu > 0).any()),
        "`mu` only ever has one sign: a mean may have any. Is there an activation after its layer?",
        "activation_on_head",
    )
    expect(
        not torch.allclose(mu.exp(), sigma, rtol=1e-3),
        "mu and sigma come from the same layer: each has its own.",
        "same_head",
    )


@check("encoder")
def test_encoder_is_not_linear(submission: Submission) -> None:
    """ReLUs stand between the encoder's layers."""
    encoder = SMALL.make(submission, "Encoder")
    a, b = 5 * torch.randn(2, 20, 1, 28, 28)
    middle, left, right = (encode(encoder, x)[0] for x in ((a + b) / 2, a, b))
    expect(
        not torch.allclose(middle, (left + right) / 2, atol=1e-4),
        "There is no activation between the encoder's layers: without one they are all together "
        "a single linear map.",
        "no_activation",
    )


@check("encoder")
def test_encoder_sees_the_image(submission: Submission) -> None:
    """Each row depends on its own image alone, and gradients pass."""
    encoder = SMALL.make(submission, "Encoder")
    expect_own_rows(
        lambda x: torch.cat(encode(encoder, x), dim=1),
        images(6),
        "Every image gets the same `mu` and `sigma`: is `x` used?",
        "What the encoder says of an image",
        "image_ignored",
    )
    x = images(3).requires_grad_()
    for number, name in enumerate(("mu", "sigma")):
        expect_grad(encode(encoder, x)[number], {"x": x}, f"`{name}`", "encoder_detached")


# Decoder


def decode(decoder: RemoteObject, z: torch.Tensor, sizes: Sizes = SMALL) -> torch.Tensor:
    """Call `Decoder` and expect images, (N, 1, 28, 28)."""
    return expect_images(decoder(z), len(z), sizes)


def works_on_features(decoder: RemoteObject, sizes: Sizes) -> bool:
    """Say whether a decoder takes features where codes are due."""
    try:
        got = decoder(torch.rand(2, sizes.features))
    except Raised:
        return False
    return isinstance(got, torch.Tensor) and got.shape == (2, 1, 28, 28)


@check("decoder")
def test_decoder_shape(submission: Submission) -> None:
    """Codes become images (N, 1, 28, 28), for k of 3 and 5 and any sizes, one code alone."""
    for sizes in EVERY:
        decoder = sizes.make(submission, "Decoder")
        for n in (6, 1):
            try:
                decode(decoder, torch.randn(n, sizes.lat), sizes)
            except Raised:
                expect(
                    not works_on_features(decoder, sizes),
                    "`Decoder` folds up z itself, as the assignment's original sheet says, which "
                    "is an erratum: a code has far too few numbers. What comes before the ReLU?",
                    "linear_left_out",
                )
                raise


@check("decoder")
def test_decoder_follows_its_sizes(submission: Submission) -> None:
    """The layers are made with c1, c2 and k."""
    expect_sizes_used(submission, "Decoder", torch.randn(2, SMALL.lat))


@check("decoder")
def test_decoder_range(submission: Submission) -> None:
    """Decoded pixels lie in [0, 1] and can be dark as well as bright."""
    sizes = replace(SMALL, c1=8)
    decoder = sizes.make(submission, "Decoder")
    expect_pixel_range(decode(decoder, 1e3 * torch.randn(64, sizes.lat), sizes))


@check("decoder")
def test_decoder_sees_the_sign(submission: Submission) -> None:
    """Negative numbers in a code count, too."""
    decoder = SMALL.make(submission, "Decoder")
    z = torch.randn(6, SMALL.lat)
    expect(
        not torch.allclose(decode(decoder, z), decode(decoder, z.clamp(min=0)), atol=1e-6),
        "`Decoder` cuts negative numbers off the code: a ReLU is applied to z itself, as the "
        "assignment's original sheet says, which is an erratum. The linear layer comes first.",
        "relu_on_code",
    )


@check("decoder")
def test_decoder_uses_the_code(submission: Submission) -> None:
    """Each image depends on its own code alone, and gradients pass."""
    decoder = SMALL.make(submission, "Decoder")
    expect_own_rows(
        lambda z: decode(decoder, z),
        torch.randn(6, SMALL.lat),
        "Every code gives the same image: is `z` used?",
        "A code decoded",
        "code_ignored",
    )
    z = torch.randn(3, SMALL.lat).requires_grad_()
    expect_grad(decode(decoder, z), {"z": z}, "the decoded pixels", "decoder_detached")


# The two terms of the loss


def total(got: Any, what: str) -> torch.Tensor:
    """Expect one number for the whole batch."""
    if isinstance(got, torch.Tensor) and got.numel() > 1:
        raise CheckFailed(
            f"{what} should be one number for the whole batch, got {kind(got)}: it is a total sum.",
            "not_summed",
        )
    return expect_tensor(torch.tensor(got) if isinstance(got, float) else got, (), what)


def r_loss(submission: Submission, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Call `r_loss` on outputs x and images y."""
    return total(any_vae(submission).r_loss(x, y), "`r_loss(x, y)`")


@check("r_loss")
def test_r_loss_value(submission: Submission) -> None:
    """The cross-entropy is summed over pixels and images."""
    # Greys and a batch of 3: swapped arguments and averages then all give other numbers.
    x, y = 0.05 + 0.9 * images(3), 0.05 + 0.9 * images(3)
    got = r_loss(submission, x, y)
    expect_close(got, bce(x, y), "The reconstruction loss", (x, y), RECON_MISTAKES)


@check("r_loss")
def test_r_loss_of_black_and_white(submission: Submission) -> None:
    """The same holds for black and white images, and for one alone."""
    x, y = 0.05 + 0.9 * images(1), images(1).round()
    expect_close(r_loss(submission, x, y), bce(x, y), "The reconstruction loss")


@check("r_loss")
def test_r_loss_gradient(submission: Submission) -> None:
    """The loss pulls the output towards the image."""
    x, y = 0.05 + 0.9 * images(3), images(3)
    x.requires_grad_()
    (grad,) = expect_grad(r_loss(submission, x, y), {"x": x}, "the loss", "recon_detached")
    (right,) = torch.autograd.grad(bce(x, y), x)
    expect_close(grad, right, "The gradient by the output")


def kl_loss(submission: Submission, mu: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Call `kl_loss`."""
    return total(any_vae(submission).kl_loss(mu, sigma), "`kl_loss(mu, sigma)`")


@check("kl_loss")
def test_kl_closed_form(submission: Submission) -> None:
    """The KL equals its closed form at random mu and sigma, summed over latents and images."""
    for n in (3, 1):
        mu, sigma = posterior(n, 4)
        got = kl_loss(submission, mu, sigma)
        expect_close(got, kl(mu, sigma), "The KL", (mu, sigma), KL_MISTAKES)


@check("kl_loss")
def test_kl_known_numbers(submission: Submission) -> None:
    """The KL is 0 at the prior, and 2 at mu = 2 and σ = 1."""
    one = torch.ones(1, 1)
    for mu, right in ((0 * one, 0.0), (2 * one, 2.0)):
        got = kl_loss(submission, mu, one)
        what = f"The KL at mu = {float(mu):g}, σ = 1"
        expect_close(got, torch.tensor(right), what, (mu, one), KL_MISTAKES)


@check("kl_loss")
def test_kl_is_an_expectation(submission: Submission) -> None:
    """The KL is the mean of log q(z) − log p(z) over draws from q, within six standard errors."""
    mu, sigma = posterior(1, 3)
    q, prior = torch.distributions.Normal(mu, sigma), torch.distributions.Normal(0.0, 1.0)
    z = q.sample((200_000,))
    ratios = (q.log_prob(z) - prior.log_prob(z)).sum(-1)[:, 0]
    got = float(kl_loss(submission, mu, sigma))
    error = float(ratios.std()) / math.sqrt(len(ratios))
    expect(
        abs(got - float(ratios.mean())) <= STANDARD_ERRORS * error + 1e-4,
        f"Averaged over draws, log q(z) − log p(z) is {float(ratios.mean()):.3f}; your KL says "
        f"{got:.3f}.",
    )


@check("kl_loss")
def test_kl_gradient(submission: Submission) -> None:
    """The KL trains the encoder: its gradients are mu, and σ − 1/σ."""
    mu, sigma = (t.requires_grad_() for t in posterior(3, 5))
    inputs = {"mu": mu, "sigma": sigma}
    value = kl_loss(submission, mu, sigma)
    by_mu, by_sigma = expect_grad(value, inputs, "the KL", "kl_detached")
    expect_close(by_mu, mu.detach(), "The gradient of the KL by mu")
    expect_close(by_sigma, (sigma - 1 / sigma).detach(), "The gradient of the KL by sigma")


# The draw


def draw(vae: RemoteObject) -> Draw:
    """The submission's `gaussian`, as a function of mu and log σ."""
    return lambda mu, log_sigma: vae.gaussian(mu, log_sigma.exp())


@check("gaussian")
def test_spread(submission: Submission) -> None:
    """The standard deviation of z is sigma, in training and in eval mode."""
    vae = any_vae(submission)
    for mode in (vae.train, vae.eval):
        mode()
        expect_spread(draw(vae), SIGMA)


@check("gaussian")
def test_centre(submission: Submission) -> None:
    """The draw z is centred on mu."""
    expect_centre(draw(any_vae(submission)), SIGMA)


@check("gaussian")
def test_noise_is_gaussian(submission: Submission) -> None:
    """The noise is Gaussian: its fourth moment is 3 σ⁴."""
    expect_gaussian(draw(any_vae(submission)), SIGMA)


@check("gaussian")
def test_one_draw_for_each_number(submission: Submission) -> None:
    """Every entry of z has noise of its own, new at every call."""
    expect_fresh_noise(draw(any_vae(submission)), SIGMA)


@check("gaussian")
def test_gradients_pass(submission: Submission) -> None:
    """Gradients reach mu and sigma: ∂z/∂mu is 1 and ∂z/∂sigma is (z − mu) / σ."""
    mu, sigma = (t.requires_grad_() for t in posterior(6, 5))
    z = expect_tensor(any_vae(submission).gaussian(mu, sigma), (6, 5), "`gaussian(mu, sigma)`")
    by_mu, by_sigma = expect_grad(z, {"mu": mu, "sigma": sigma}, "z", "detached")
    expect_close(by_mu, torch.ones_like(by_mu), "The gradient of z by mu")
    expect_close(by_sigma, ((z - mu) / sigma).detach(), "The gradient of z by sigma")


# Forward and backward. Known linear maps stand in for the parts, so that only the wiring is judged.


@check("forward")
def test_vae_holds_its_parts(submission: Submission) -> None:
    """`VAE(c1, c2, lat, k)` holds an `Encoder` and a `Decoder` of these sizes."""
    sizes = EVERY[1]
    try:
        alone = {name.lower(): sizes.make(submission, name) for name in ("Encoder", "Decoder")}
    except Raised:
        return  # Nothing to compare with: what is wrong with them is for their own checks to say.
    vae = sizes.make(submission, "VAE")
    if not vae.parameters():
        vae(images(1))  # Says so itself where nothing has been started.
    for part, module in alone.items():
        expect(
            shapes(vae, f"{part}.") == shapes(module),
            f"`self.{part}` of `VAE(c1, c2, lat, k)` has not the layers of a "
            f"`{part.capitalize()}(c1, c2, lat, k)`: are all four sizes passed on, in this order?",
            "sizes_not_passed",
        )


def stored_loss(vae: RemoteObject) -> torch.Tensor:
    """Read the loss that `forward` has stored."""
    try:
        loss = vae.loss.value()
    except Raised as error:
        raise CheckFailed(
            f"`forward` stores no loss: reading `self.loss` raised {error}.", "loss_not_stored"
        ) from None
    expect(
        not isinstance(loss, float),
        "`self.loss` is a plain number: nothing can be backpropagated from it. Store the tensor.",
        "loss_detached",
    )
    return expect_tensor(loss, (), "`self.loss`")


@check("forward")
def test_forward_wiring(submission: Submission) -> None:
    """`forward` returns the output alone and stores the sum of both terms, in train and eval."""
    vae = any_vae(submission)
    parts = known_parts(vae)
    for n, mode in ((5, vae.train), (5, vae.eval), (1, vae.eval)):
        mode()
        x = images(n)
        got = vae(x)
        expect(
            not isinstance(got, tuple),
            f"`forward` should return the decoder's output alone, got {kind(got)}.",
            "not_alone",
        )
        what, inputs = "What `forward` returns", (parts, x)
        output = expect_tensor(got, (n, 1, 28, 28), what)
        expect_close(output, parts.output(x), what, inputs, OUTPUT_MISTAKES)
        expect_close(stored_loss(vae), parts.loss(x), "`self.loss`", inputs, LOSS_MISTAKES)


@check("forward")
def test_backward(submission: Submission) -> None:
    """After `backward`, every part has the gradient of the stored loss."""
    vae = any_vae(submission)
    parts = known_parts(vae)
    parts.biases.requires_grad_()
    x = images(4)
    vae(x)
    stored_loss(vae)
    vae.backward()
    found = [
        getattr(getattr(vae, part).biases, str(number)).grad.value() for part, number in BIASES
    ]
    expect(
        any(grad is not None for grad in found),
        "After `backward` no part has a gradient. It should start backpropagation from the stored "
        "loss, which must still hang on what it was computed from.",
        "no_backward",
    )
    got = torch.stack([torch.zeros(()) if grad is None else grad for grad in found])
    right = gradients(parts.loss(x), parts)
    expect_close(got, right, "The gradient after `backward`", (parts, x), GRADIENT_MISTAKES)


# The whole model


def loss_of(
    batch: tuple[torch.Tensor, ...], x_hat: torch.Tensor, mu: torch.Tensor, sigma: torch.Tensor
) -> torch.Tensor:
    """The loss in nats per image."""
    return negative_elbo(x_hat, batch[0], mu, 2 * sigma.log())


def loss_through_the_code(model: Any, x: torch.Tensor) -> torch.Tensor:
    """The loss where the code is drawn here: nothing of the image can pass beside it."""
    mu, sigma = model.encoder(x)
    return loss_of((x,), model.decoder(sample(mu, 2 * sigma.log())), mu, sigma)


PLAN = Plan(
    model="VAE",
    data="fashion_mnist",
    epochs=5,
    below=265.0,
    unit="nats per image",
    batch=lambda x, labels: (x,),
    loss=loss_of,
    confirm=loss_through_the_code,
    sizes=("c1", "c2", "lat", "k"),
    confirmed=(
        "With each code drawn from your model's own mu and sigma, and decoded by your decoder"
    ),
)


@check("training")
def test_training_loss(submission: Submission) -> None:
    """Trained from scratch with your settings, the loss falls below 265 within 5 epochs."""
    expect_trained(submission, TASKS, PLAN)


# The latent space


def two_dims(got: Any) -> torch.Tensor:
    """Expect two integers, however they are held."""
    items = list(got) if isinstance(got, tuple | torch.Tensor) and len(got) == 2 else []
    whole = [
        int(item)
        for item in items
        if type(item) is int
        or (isinstance(item, torch.Tensor) and item.dim() == 0 and not item.is_floating_point())
    ]
    expect(len(whole) == 2, f"`top_two_dims` should return two integers, got {kind(got)}.")
    return torch.tensor(whole)


def codes_to_rank() -> torch.Tensor:
    """Make codes (200, 12) in which every measure but the variance ranks the dimensions wrongly.

    Each of the mistaken measures below has a pair of dimensions of its own.
    """
    z = torch.randn(200, 12)
    z = (z - z.mean(0)) / z.std(0)
    z *= torch.tensor([0.1, 0.5, 0.7, 3.0, 0.5, 0.2, 0.5, 0.5, 2.7, 0.7, 0.7, 2.5])
    z += torch.tensor([0.0, 8.6, 0.0, 0.0, 0.0, 0.0, -12.0, 0.0, 0.0, 0.0, 0.0, 8.5])
    z[0, 4], z[1, 7] = 25.0, -24.0
    return z


def ranked(measure: torch.Tensor) -> torch.Tensor:
    """The two places with the highest measure, the highest first."""
    return measure.argsort(descending=True)[:2]


TOP_MISTAKES = (
    Mistake(
        "order_reversed",
        "The two dimensions are right, but their order isn't: the highest variance comes first.",
        lambda z: ranked(z.var(0)).flip(0),
    ),
    Mistake(
        "lowest_variance",
        "These are the dimensions with the lowest variance. Which way does your sort run?",
        lambda z: ranked(-z.var(0)),
    ),
    Mistake(
        "lowest_variance",
        "These are the dimensions with the lowest variance. Which way does your sort run?",
        lambda z: ranked(-z.var(0)).flip(0),
    ),
    Mistake(
        "wrong_axis",
        "You rank the images, not the dimensions: take the variance over the rows.",
        lambda z: ranked(z.var(1)),
    ),
    Mistake(
        "mean_for_variance",
        "You rank by the mean. The variance is about the spread around it.",
        lambda z: ranked(z.mean(0)),
    ),
    Mistake(
        "mean_for_variance",
        "You rank by the size of the mean. The variance is about the spread around it.",
        lambda z: ranked(z.mean(0).abs()),
    ),
    Mistake(
        "mean_not_subtracted",
        "You rank by the mean square. The variance is taken around the mean.",
        lambda z: ranked((z**2).mean(0)),
    ),
    Mistake(
        "range_for_variance",
        "You rank by the distance between extremes, which a single image can change.",
        lambda z: ranked(z.amax(0) - z.amin(0)),
    ),
    Mistake(
        "extreme_for_variance",
        "You rank by the largest values. The variance is about all of them.",
        lambda z: ranked(z.amax(0)),
    ),
)


@check("top_two_dims")
def test_top_two_dims(submission: Submission) -> None:
    """The two dimensions with the highest variance come back, the highest first."""
    for shuffle in (torch.arange(12), torch.randperm(12)):
        z = codes_to_rank()[:, shuffle]
        got = two_dims(submission.object("top_two_dims")(z))
        expect_close(got, ranked(z.var(0)), "`top_two_dims(embeddings)`", (z,), TOP_MISTAKES)


@check("top_two_dims")
def test_top_two_dims_of_an_array(submission: Submission) -> None:
    """A NumPy array of any size is as good as a tensor."""
    for n, latent_dim in ((40, 2), (3, 25)):
        z = torch.randn(n, latent_dim, dtype=torch.float64)
        got = two_dims(submission.object("top_two_dims")(submission.hold(z, as_array=True)))
        expect_close(got, ranked(z.var(0)), "`top_two_dims(embeddings)` of an array")


def quantiles(low: float = 0.05, high: float = 0.95, n: int = 7) -> torch.Tensor:
    """Where N(0, 1) lies below with n evenly spaced probabilities, (n,)."""
    return torch.special.ndtri(torch.linspace(low, high, n, dtype=torch.float64))


EVEN = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
QUANTILE_MISTAKES = (
    Mistake(
        "probabilities_for_values",
        "These are the probabilities themselves. `norm.ppf` turns them into values.",
        lambda: EVEN,
    ),
    Mistake(
        "linspace_for_quantiles",
        "Your values are evenly spaced. It is their probabilities that should be.",
        lambda: torch.linspace(float(quantiles()[0]), float(quantiles()[-1]), 7),
    ),
    Mistake(
        "cdf_for_quantiles",
        "`norm.cdf` goes from a value to a probability; you need the way back.",
        lambda: torch.special.ndtr(EVEN),
    ),
    Mistake(
        "density_for_quantiles",
        "`norm.pdf` is the density. You need the inverse of the distribution function.",
        lambda: torch.exp(-0.5 * EVEN**2) / math.sqrt(2 * math.pi),
    ),
    Mistake(
        "order_reversed",
        "Your values run downwards; they should ascend.",
        lambda: quantiles().flip(0),
    ),
)


@check("quantiles")
def test_quantiles(submission: Submission) -> None:
    """`values` holds norm.ppf of 7 evenly spaced probabilities from 0.05 to 0.95."""
    value = submission.value("values")
    if isinstance(value, Other) and value.kind == "ellipsis":
        raise CheckFailed("`values` is not filled in yet.", todo=True)
    if isinstance(value, tuple):
        value = torch.tensor([float(item) for item in value], dtype=torch.float64)
    expect(
        isinstance(value, torch.Tensor) and not bool(torch.isinf(value).any()),
        "The ends of `values` are infinite: no draw ever lies at probability 0 or 1. Stay between "
        "0.05 and 0.95.",
        "infinite_ends",
    )
    got = expect_tensor(value, (7,), "`values`")
    expect_close(got, quantiles(), "`values`", (), QUANTILE_MISTAKES, tolerance=1e-3)


def decoder_of_known_images(submission: Submission, lat: int) -> tuple[RemoteObject, torch.Tensor]:
    """Make a decoder with its own layers that decodes by a known map, and give that (lat, 784)."""
    decoder = replace(SMALL, lat=lat).make(submission, "Decoder")
    weights = torch.randn(lat, 28 * 28)
    decoder.plug("forward", Affine([weights], (1, 28, 28)), squash=True, names=("z",))
    return decoder, weights


def decoded(codes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """What the known decoder makes of codes (n, Z), (n, 1, 28, 28)."""
    return (codes.float() @ weights).sigmoid().unflatten(1, (1, 28, 28))


def one_changed(lat: int, dim: int, values: torch.Tensor) -> torch.Tensor:
    """Codes that are 0 but for one dimension, (n, lat)."""
    codes = torch.zeros(len(values), lat, dtype=values.dtype)
    codes[:, dim] = values
    return codes


PERTURB_MISTAKES = (
    Mistake(
        "every_dimension_moves",
        "Every dimension of the code takes the value. Only `dim` should; hold the rest at 0.",
        lambda w, dim, v: decoded(v[:, None].expand(-1, len(w)), w),
    ),
    Mistake(
        "wrong_dimension",
        "Another dimension is changed than `dim`.",
        lambda w, dim, v: decoded(one_changed(len(w), dim - 1, v), w),
    ),
    Mistake(
        "wrong_dimension",
        "Another dimension is changed than `dim`: dimensions count from 0.",
        lambda w, dim, v: decoded(one_changed(len(w), (dim + 1) % len(w), v), w),
    ),
    Mistake(
        "base_is_one",
        "The other dimensions are 1. Hold them at 0, the middle of the prior.",
        lambda w, dim, v: decoded(one_changed(len(w), dim, v - 1) + 1, w),
    ),
    Mistake(
        "quantile_inside",
        "`perturb` takes `norm.ppf` of its values. They are quantiles already: use them as they "
        "are.",
        lambda w, dim, v: decoded(one_changed(len(w), dim, torch.special.ndtri(v)), w),
    ),
    Mistake(
        "own_values",
        "`perturb` uses values of its own, not those that it is given.",
        lambda w, dim, v: decoded(one_changed(len(w), dim, quantiles(n=len(v))), w),
    ),
    Mistake(
        "order_reversed",
        "The images come in the opposite order to the values.",
        lambda w, dim, v: decoded(one_changed(len(w), dim, v.flip(0)), w),
    ),
)


def perturbed(submission: Submission, lat: int, dim: int, values: torch.Tensor) -> torch.Tensor:
    """Call `perturb` on a decoder of known images, and compare."""
    decoder, weights = decoder_of_known_images(submission, lat)
    array = submission.hold(values, as_array=True)
    what = "`perturb(decoder, dim, values)`"
    pixels, again = (
        expect_tensor(
            submission.object("perturb")(decoder, dim, array), (len(values), 1, 28, 28), what
        )
        for _ in range(2)
    )
    expect(
        torch.equal(pixels, again),
        "Two calls give different images: something in the code is drawn. Hold the rest at 0, the "
        "middle of the prior.",
        "base_is_drawn",
    )
    right = decoded(one_changed(lat, dim, values), weights)
    expect_close(pixels, right, what, (weights, dim, values), PERTURB_MISTAKES)
    return pixels


@check("perturb")
def test_perturb(submission: Submission) -> None:
    """Each value gives the image of a code that is 0 but for it."""
    # Values between 0 and 1, where a second `norm.ppf` would show.
    perturbed(submission, 4, 1, torch.rand(7, dtype=torch.float64) * 0.9 + 0.05)


@check("perturb")
def test_perturb_of_any_decoder(submission: Submission) -> None:
    """The latent size is the decoder's, and any number of values will do."""
    for lat, dim, n in ((9, 8, 3), (2, 0, 1)):
        try:
            perturbed(submission, lat, dim, torch.randn(n, dtype=torch.float64))
        except Raised:
            expect(
                not works_with_own_size(submission),
                f"`perturb` works for a decoder with the latent size of your `model` alone, and "
                f"not for one with {lat}: ask the decoder that comes in for its size.",
                "latent_size_fixed",
            )
            raise


def works_with_own_size(submission: Submission) -> bool:
    """Say whether `perturb` raises nothing for a decoder with the notebook's own `lat`."""
    lat = submission.value("lat")
    if type(lat) is not int or not 0 < lat <= 1000:
        return False
    try:
        submission.object("perturb")(
            decoder_of_known_images(submission, lat)[0],
            0,
            submission.hold(torch.zeros(2, dtype=torch.float64), as_array=True),
        )
    except Raised:
        return False
    return True

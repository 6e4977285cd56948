"""Known maps (stubs) in place of the parts of a VAE whose `forward` stores its loss."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from autograder.checks.shared.elbo import sum_mistakes
from autograder.checks.vocabulary import Mistake
from autograder.protocol.remote import Affine, RemoteObject

LATENTS, PIXELS = 3, 28 * 28
# Every bias of the stubs, by part and number. They receive gradients as parameters do.
BIASES = (
    ("encoder", 0),
    ("encoder", 1),
    ("gaussian", 0),
    ("decoder", 0),
    ("r_loss", 0),
    ("kl_loss", 0),
)


@dataclass(frozen=True)
class KnownParts:
    """The functions that the stubs compute, and their biases, in the order of `BIASES`."""

    mu: torch.Tensor
    sigma: torch.Tensor
    by_mu: torch.Tensor
    by_sigma: torch.Tensor
    decoder: torch.Tensor
    r_output: torch.Tensor
    r_image: torch.Tensor
    kl_mu: torch.Tensor
    kl_sigma: torch.Tensor
    biases: torch.Tensor

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map images (N, 1, 28, 28) to mu and sigma, (N, 3) each."""
        rows = x.flatten(1)
        return rows @ self.mu + self.biases[0], rows @ self.sigma + self.biases[1]

    def sample(self, mu: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Compute what replaces the sample, (N, 3)."""
        return mu @ self.by_mu + sigma @ self.by_sigma + self.biases[2]

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Map codes (N, 3) to images (N, 1, 28, 28)."""
        return (z @ self.decoder + self.biases[3]).sigmoid().unflatten(1, (1, 28, 28))

    def output(self, x: torch.Tensor) -> torch.Tensor:
        """Return what `forward` returns, (N, 1, 28, 28)."""
        return self.decode(self.sample(*self.encode(x)))

    def recon(self, output: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """Compute what replaces the reconstruction loss, a scalar."""
        parts = output.flatten(1) @ self.r_output + image.flatten(1) @ self.r_image
        return (parts + self.biases[4]).sum()

    def kl(self, mu: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Compute what replaces the KL, a scalar."""
        return (mu @ self.kl_mu + sigma @ self.kl_sigma + self.biases[5]).sum()

    def terms(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the two terms of the loss that `forward` stores."""
        return self.recon(self.output(x), x), self.kl(*self.encode(x))

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        """Return the loss that `forward` stores."""
        recon, kl = self.terms(x)
        return recon + kl


def known_parts(vae: RemoteObject) -> KnownParts:
    """Replace a model's five parts by known maps."""
    parts = KnownParts(
        mu=torch.randn(PIXELS, LATENTS) / 28,
        sigma=torch.rand(PIXELS, LATENTS) / PIXELS,
        by_mu=torch.randn(LATENTS, LATENTS),
        by_sigma=torch.randn(LATENTS, LATENTS),
        decoder=torch.randn(LATENTS, PIXELS),
        r_output=torch.randn(PIXELS) / 7,
        r_image=torch.randn(PIXELS) / 7,
        kl_mu=4 * torch.rand(LATENTS) - 2,
        kl_sigma=4 * torch.rand(LATENTS),
        # A student may assert that both terms are positive: their biases are 7 times as large as
        # the deviation of the rest.
        biases=torch.tensor([0.3, 0.5, -0.2, 0.1, 25.0, 20.0]),
    )
    bias = parts.biases.tolist()
    vae.set_stub(
        "encoder",
        Affine([parts.mu], bias=bias[0]),
        Affine([parts.sigma], bias=bias[1]),
        names=("x",),
        takes=[(1, 28, 28)],
    )
    vae.set_stub(
        "gaussian", Affine([parts.by_mu, parts.by_sigma], bias=bias[2]), names=("mu", "sigma")
    )
    vae.set_stub(
        "decoder",
        Affine([parts.decoder], (1, 28, 28), bias=bias[3]),
        squash=True,
        names=("z",),
    )
    vae.set_stub(
        "r_loss",
        Affine([parts.r_output, parts.r_image], bias=bias[4], total=True),
        names=("x", "y"),
    )
    vae.set_stub(
        "kl_loss",
        Affine([parts.kl_mu, parts.kl_sigma], bias=bias[5], total=True),
        names=("mu", "sigma"),
    )
    return parts


DECODES_MU = (
    "decodes_mu",
    "`forward` decodes mu itself. Sample z with `self.gaussian` first, also in eval mode: the "
    "loss needs a sample.",
)
SAMPLE_SWAPPED = (
    "gaussian_swapped",
    "`forward` calls `self.gaussian` with sigma first. The order is (mu, sigma).",
)
SIGMA_FUNCTIONS: tuple[tuple[str, Callable[[torch.Tensor], torch.Tensor]], ...] = (
    ("the exponential", torch.exp),
    ("the exponential of one half", lambda sigma: (0.5 * sigma).exp()),
    ("the logarithm", torch.log),
    ("the square", torch.square),
    ("the root", torch.sqrt),
)
OUTPUT_MISTAKES = (
    Mistake(*DECODES_MU, lambda p, x: p.decode(p.encode(x)[0])),
    Mistake(*SAMPLE_SWAPPED, lambda p, x: p.decode(p.sample(*p.encode(x)[::-1]))),
    Mistake(
        "squashed_twice",
        "`forward` applies a second sigmoid to the decoder's output.",
        lambda p, x: p.output(x).sigmoid(),
    ),
    *(
        Mistake(
            "sigma_changed",
            f"`forward` calls `self.gaussian` with {what} of sigma. The encoder returns sigma "
            "itself: use it unchanged.",
            lambda p, x, f=function: p.decode(p.sample(p.encode(x)[0], f(p.encode(x)[1]))),
        )
        for what, function in SIGMA_FUNCTIONS
    ),
    Mistake(
        "returns_input",
        "`forward` returns its input images. It should return the decoder's output.",
        lambda p, x: x,
    ),
)


UNEQUAL = (
    "terms_unequal",
    "The two terms of your loss are divided by different numbers. Both should be total sums: "
    "divide neither.",
)
LOSS_MISTAKES = (
    *(
        Mistake(m.name, m.says, lambda p, x, f=m.formula: f(*p.terms(x)))
        for m in sum_mistakes("the stored loss", sign="loss_sign")
    ),
    Mistake(
        "loss_averaged",
        "Your loss is divided by the number of images. It should be a total sum.",
        lambda p, x: p.loss(x) / len(x),
    ),
    Mistake(*UNEQUAL, lambda p, x: p.terms(x)[0] / len(x) + p.terms(x)[1]),
    Mistake(*UNEQUAL, lambda p, x: p.terms(x)[0] + p.terms(x)[1] / len(x)),
    Mistake(*UNEQUAL, lambda p, x: p.terms(x)[0] / PIXELS + p.terms(x)[1]),
    Mistake(
        "r_loss_swapped",
        "`forward` calls `self.r_loss` with the image first, as the assignment's original "
        "sheet does in this one place. The order is (output, image).",
        lambda p, x: p.recon(x, p.output(x)) + p.terms(x)[1],
    ),
    Mistake(
        "kl_loss_swapped",
        "`forward` calls `self.kl_loss` with sigma first. The order is (mu, sigma).",
        lambda p, x: p.terms(x)[0] + p.kl(*p.encode(x)[::-1]),
    ),
    Mistake(*DECODES_MU, lambda p, x: p.recon(p.decode(p.encode(x)[0]), x) + p.terms(x)[1]),
    *(
        Mistake(
            "sigma_changed",
            f"`forward` calls `self.kl_loss` with {what} of sigma. The encoder returns sigma "
            "itself: use it unchanged.",
            lambda p, x, f=function: p.terms(x)[0] + p.kl(p.encode(x)[0], f(p.encode(x)[1])),
        )
        for what, function in SIGMA_FUNCTIONS
    ),
    Mistake(
        "kl_of_the_code",
        "`forward` calls `self.kl_loss` with z in the place of mu. The KL needs the mean itself.",
        lambda p, x: p.terms(x)[0] + p.kl(p.sample(*p.encode(x)), p.encode(x)[1]),
    ),
    Mistake(
        "targets_rounded",
        "The reconstruction loss in `forward` compares the output with images that are rounded to "
        "black and white. Compare it with the images themselves.",
        lambda p, x: p.recon(p.output(x), x.round()) + p.terms(x)[1],
    ),
)


def gradients(loss: torch.Tensor, parts: KnownParts) -> torch.Tensor:
    """Return the gradients of a loss by every bias, in the order of `BIASES`; 0 for none."""
    (grad,) = torch.autograd.grad(loss, parts.biases, allow_unused=True)
    return torch.zeros(len(BIASES)) if grad is None else grad


def _cut(what: str, loss: Callable[[KnownParts, torch.Tensor], torch.Tensor]) -> Mistake:
    """Return the mistake of a loss in which `what` is detached."""
    return Mistake(
        "loss_detached",
        f"No gradient passes through {what} in `forward`. Is it detached?",
        lambda p, x: gradients(loss(p, x), p),
    )


def _with_codes(p: KnownParts, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Return the loss with these codes, (N, 3), and the right KL."""
    return p.recon(p.decode(z), x) + p.terms(x)[1]


def _of_posterior(
    p: KnownParts, x: torch.Tensor, mu: torch.Tensor, sigma: torch.Tensor
) -> torch.Tensor:
    """Return the loss of this posterior, (N, 3) each."""
    return p.recon(p.decode(p.sample(mu, sigma)), x) + p.kl(mu, sigma)


GRADIENT_MISTAKES = (
    _cut("z", lambda p, x: _with_codes(p, x, p.sample(*p.encode(x)).detach())),
    _cut(
        "mu and sigma",
        lambda p, x: _of_posterior(p, x, *(t.detach() for t in p.encode(x))),
    ),
    _cut("mu", lambda p, x: _of_posterior(p, x, p.encode(x)[0].detach(), p.encode(x)[1])),
    _cut("sigma", lambda p, x: _of_posterior(p, x, p.encode(x)[0], p.encode(x)[1].detach())),
    _cut(
        "mu of the sample",
        lambda p, x: _with_codes(p, x, p.sample(p.encode(x)[0].detach(), p.encode(x)[1])),
    ),
    _cut(
        "sigma of the sample",
        lambda p, x: _with_codes(p, x, p.sample(p.encode(x)[0], p.encode(x)[1].detach())),
    ),
    _cut(
        "mu in the KL",
        lambda p, x: p.terms(x)[0] + p.kl(p.encode(x)[0].detach(), p.encode(x)[1]),
    ),
    _cut(
        "sigma in the KL",
        lambda p, x: p.terms(x)[0] + p.kl(p.encode(x)[0], p.encode(x)[1].detach()),
    ),
    _cut("the output", lambda p, x: p.recon(p.output(x).detach(), x) + p.terms(x)[1]),
    Mistake(
        "loss_sign",
        "`backward` starts from the negative of the stored loss. Training would increase the loss.",
        lambda p, x: -gradients(p.loss(x), p),
    ),
    Mistake(
        "backward_twice",
        "After `backward` the gradients are twice as large as those of the stored loss. Is it "
        "called twice?",
        lambda p, x: 2 * gradients(p.loss(x), p),
    ),
    Mistake(
        "loss_averaged",
        "`backward` starts from the stored loss divided by the number of images. Start from the "
        "stored loss itself.",
        lambda p, x: gradients(p.loss(x), p) / len(x),
    ),
    Mistake(
        "loss_detached",
        "No gradient flows through the KL. Is it detached, or a plain number? Both terms "
        "train the model.",
        lambda p, x: gradients(p.terms(x)[0], p),
    ),
    Mistake(
        "loss_detached",
        "No gradient flows through the reconstruction loss. Is it detached, or a plain "
        "number? Both terms train the model.",
        lambda p, x: gradients(p.terms(x)[1], p),
    ),
)

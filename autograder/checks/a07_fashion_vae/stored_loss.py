"""Known maps in the place of the parts of a VAE whose `forward` stores its loss."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from autograder.checks.vocabulary import Mistake
from autograder.protocol.remote import Affine, RemoteObject

LATENTS, PIXELS = 3, 28 * 28
# Every bias of the stand-ins, by part and number: gradients reach them as they reach parameters.
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
    """What the stand-ins compute, and their biases, in the order of `BIASES`."""

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
        """Images (N, 1, 28, 28) to mu and sigma, (N, 3) each."""
        rows = x.flatten(1)
        return rows @ self.mu + self.biases[0], rows @ self.sigma + self.biases[1]

    def draw(self, mu: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """What stands in for the draw, (N, 3)."""
        return mu @ self.by_mu + sigma @ self.by_sigma + self.biases[2]

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Codes (N, 3) to images (N, 1, 28, 28)."""
        return (z @ self.decoder + self.biases[3]).sigmoid().unflatten(1, (1, 28, 28))

    def output(self, x: torch.Tensor) -> torch.Tensor:
        """What `forward` returns, (N, 1, 28, 28)."""
        return self.decode(self.draw(*self.encode(x)))

    def recon(self, output: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """What stands in for the reconstruction loss, a scalar."""
        parts = output.flatten(1) @ self.r_output + image.flatten(1) @ self.r_image
        return (parts + self.biases[4]).sum()

    def kl(self, mu: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """What stands in for the KL, a scalar."""
        return (mu @ self.kl_mu + sigma @ self.kl_sigma + self.biases[5]).sum()

    def terms(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The two terms of the loss that `forward` stores."""
        return self.recon(self.output(x), x), self.kl(*self.encode(x))

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        """The loss that `forward` stores."""
        recon, kl = self.terms(x)
        return recon + kl


def known_parts(vae: RemoteObject) -> KnownParts:
    """Put known maps in the place of a model's five parts."""
    parts = KnownParts(
        mu=torch.randn(PIXELS, LATENTS) / 28,
        sigma=torch.rand(PIXELS, LATENTS) / PIXELS,
        by_mu=torch.randn(LATENTS, LATENTS),
        by_sigma=torch.randn(LATENTS, LATENTS),
        decoder=torch.randn(LATENTS, PIXELS),
        r_output=torch.randn(PIXELS) / 7,
        r_image=torch.randn(PIXELS) / 7,
        kl_mu=4 * torch.randn(LATENTS),
        kl_sigma=4 * torch.randn(LATENTS),
        biases=torch.tensor([0.3, 0.5, -0.2, 0.1, 0.7, 0.4]),
    )
    bias = parts.biases.tolist()
    vae.plug(
        "encoder",
        Affine([parts.mu], bias=bias[0]),
        Affine([parts.sigma], bias=bias[1]),
        names=("x",),
    )
    vae.plug("gaussian", Affine([parts.by_mu, parts.by_sigma], bias=bias[2]), names=("mu", "sigma"))
    vae.plug(
        "decoder",
        Affine([parts.decoder], (1, 28, 28), bias=bias[3]),
        squash=True,
        names=("z",),
    )
    vae.plug(
        "r_loss",
        Affine([parts.r_output, parts.r_image], bias=bias[4], total=True),
        names=("x", "y"),
    )
    vae.plug(
        "kl_loss",
        Affine([parts.kl_mu, parts.kl_sigma], bias=bias[5], total=True),
        names=("mu", "sigma"),
    )
    return parts


DECODES_MU = (
    "decodes_mu",
    "`forward` decodes mu itself: draw z with `self.gaussian` first, in eval mode too. The loss "
    "needs a sample.",
)
DRAW_SWAPPED = (
    "gaussian_swapped",
    "`forward` calls `self.gaussian` with sigma first; it takes (mu, sigma).",
)
OUTPUT_MISTAKES = (
    Mistake(*DECODES_MU, lambda p, x: p.decode(p.encode(x)[0])),
    Mistake(*DRAW_SWAPPED, lambda p, x: p.decode(p.draw(*p.encode(x)[::-1]))),
    Mistake(
        "squashed_twice",
        "`forward` applies a sigmoid to what the decoder has already squashed.",
        lambda p, x: p.output(x).sigmoid(),
    ),
    Mistake("returns_input", "`forward` returns the images that it was given.", lambda p, x: x),
)


def _of_terms(
    formula: Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor],
) -> Callable[[KnownParts, torch.Tensor], torch.Tensor]:
    """Make a mistaken loss of the two right terms and the number of images."""
    return lambda p, x: formula(*p.terms(x), len(x))


UNEQUAL = (
    "terms_unequal",
    "The two terms of your loss are divided by different numbers. Both are total sums, and stay "
    "so.",
)
LOSS_MISTAKES = (
    Mistake(
        "kl_dropped", "The KL is not in the loss that is stored.", _of_terms(lambda r, kl, n: r)
    ),
    Mistake(
        "recon_dropped",
        "The reconstruction loss is not in the loss that is stored.",
        _of_terms(lambda r, kl, n: kl),
    ),
    Mistake(
        "kl_subtracted",
        "Your loss takes the KL away. A code has to be paid for: both terms are added.",
        _of_terms(lambda r, kl, n: r - kl),
    ),
    Mistake(
        "loss_sign",
        "Your loss has the wrong sign: training makes it smaller, so it has to be small where the "
        "model is good.",
        _of_terms(lambda r, kl, n: -r - kl),
    ),
    Mistake(
        "loss_averaged",
        "Your loss is divided by the number of images. Here it is a total sum.",
        _of_terms(lambda r, kl, n: (r + kl) / n),
    ),
    Mistake(*UNEQUAL, _of_terms(lambda r, kl, n: r / n + kl)),
    Mistake(*UNEQUAL, _of_terms(lambda r, kl, n: r + kl / n)),
    Mistake(*UNEQUAL, _of_terms(lambda r, kl, n: r / PIXELS + kl)),
    Mistake(
        "r_loss_swapped",
        "`forward` calls `self.r_loss` with the image first, as the assignment's original sheet "
        "does in this one place; it takes (output, image).",
        lambda p, x: p.recon(x, p.output(x)) + p.terms(x)[1],
    ),
    Mistake(
        "kl_loss_swapped",
        "`forward` calls `self.kl_loss` with sigma first; it takes (mu, sigma).",
        lambda p, x: p.terms(x)[0] + p.kl(*p.encode(x)[::-1]),
    ),
    Mistake(*DECODES_MU, lambda p, x: p.recon(p.decode(p.encode(x)[0]), x) + p.terms(x)[1]),
)


def gradients(loss: torch.Tensor, parts: KnownParts) -> torch.Tensor:
    """The gradient of a loss by every bias, in the order of `BIASES`; 0 where none arrives."""
    (grad,) = torch.autograd.grad(loss, parts.biases, allow_unused=True)
    return torch.zeros(len(BIASES)) if grad is None else grad


GRADIENT_MISTAKES = (
    Mistake(
        "loss_detached",
        "No gradient comes back through the KL: is it detached, or a plain number? Both terms "
        "train the model.",
        lambda p, x: gradients(p.terms(x)[0], p),
    ),
    Mistake(
        "loss_detached",
        "No gradient comes back through the reconstruction loss: is it detached, or a plain "
        "number? Both terms train the model.",
        lambda p, x: gradients(p.terms(x)[1], p),
    ),
)

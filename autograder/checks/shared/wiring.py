"""Known linear maps in the place of a VAE's parts, so that its `forward` is judged alone.

Where there is a condition c (N, C), it is joined to the image and to the code; `*c` is (c,) or ().
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from autograder.checks.vocabulary import Mistake, expect
from autograder.protocol.remote import Affine, RemoteObject

# What `reparameterize` is told, for a model that calls it by these names.
TOLD = ("mu", "logvar")


@dataclass(frozen=True)
class KnownParts:
    """What each part does when linear maps stand in for all of them."""

    encoder: torch.Tensor
    mu_layer: torch.Tensor
    logvar_layer: torch.Tensor
    by_mu: torch.Tensor
    by_logvar: torch.Tensor
    decoder: torch.Tensor

    def heads(self, x: torch.Tensor, *c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (N, 1, 28, 28) to mu and logvar, (N, 3) each."""
        hidden = torch.cat([x.flatten(1), *c], 1) @ self.encoder
        return hidden @ self.mu_layer, hidden @ self.logvar_layer

    def decode(self, z: torch.Tensor, *c: torch.Tensor) -> torch.Tensor:
        """Codes (N, 3) to images (N, 1, 28, 28)."""
        return (torch.cat([z, *c], 1) @ self.decoder).unflatten(1, (1, 28, 28))

    def decode_draw(self, mu: torch.Tensor, logvar: torch.Tensor, *c: torch.Tensor) -> torch.Tensor:
        """What the stand-ins of `reparameterize` and `decoder` make of mu and logvar."""
        return self.decode(mu @ self.by_mu + logvar @ self.by_logvar, *c)


def known_parts(vae: RemoteObject, condition: int = 0) -> KnownParts:
    """Put known linear maps in the place of a model's parts; `condition` is C."""
    features, latents = 6, 3
    parts = KnownParts(
        # Features stay positive: an activation between encoder and heads changes nothing.
        encoder=torch.cat([torch.rand(784, features) / 784, torch.rand(condition, features)]),
        mu_layer=torch.randn(features, latents),
        logvar_layer=torch.randn(features, latents),
        by_mu=torch.randn(latents, latents),
        by_logvar=torch.randn(latents, latents),
        decoder=torch.randn(latents + condition, 784),
    )
    vae.plug("encoder", Affine([parts.encoder]))
    vae.plug("mu_layer", Affine([parts.mu_layer]))
    vae.plug("logvar_layer", Affine([parts.logvar_layer]))
    vae.plug("reparameterize", Affine([parts.by_mu, parts.by_logvar]), names=TOLD)
    vae.plug("decoder", Affine([parts.decoder], (1, 28, 28)))
    return parts


class KnownVae:
    """Known linear maps in the parts of a VAE whose encoder gives mu and logvar, (N, 3) each.

    Args:
        vae: The model whose parts are replaced.
        channels: Channels of an image, C.
        size: Its side, S.
    """

    def __init__(self, vae: RemoteObject, channels: int, size: int):
        self.shape = (channels, size, size)
        pixels = math.prod(self.shape)
        self.mu, self.logvar = torch.randn(2, pixels, 3) / math.sqrt(pixels)
        self.by_mu, self.by_logvar = torch.randn(2, 3, 3)
        self.decoder = torch.randn(3, pixels)
        vae.plug("encoder", Affine([self.mu]), Affine([self.logvar]), names=("x",))
        vae.plug("reparameterize", Affine([self.by_mu, self.by_logvar]), names=TOLD)
        vae.plug("decoder", Affine([self.decoder], self.shape), squash=True, names=("z",))

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images to mu and logvar."""
        return x.flatten(1) @ self.mu, x.flatten(1) @ self.logvar

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Codes to images."""
        return (z @ self.decoder).sigmoid().unflatten(1, self.shape)

    def decode_draw(self, mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
        """What the stand-ins of `reparameterize` and `decoder` make of mu and logvar."""
        return self.decode(mu @ self.by_mu + logvar @ self.by_logvar)


HEADS_SWAPPED = Mistake(
    "outputs_swapped",
    "`mu` and `logvar` have changed places in what `forward` returns.",
    lambda parts, mu, logvar, *c: logvar,
)


def _activated(head: str) -> tuple[Mistake, ...]:
    """The mistakes of an activation after a head, "mu" or "logvar", in `forward`."""

    def after(activation: Callable[[torch.Tensor], torch.Tensor]) -> Mistake:
        return Mistake(
            "activation_on_head",
            f"`forward` puts an activation on `{head}`: a mean and a log-variance may have any "
            "value, so leave them as they come.",
            lambda parts, mu, logvar, *c: activation(mu if head == "mu" else logvar),
        )

    return after(F.relu), after(F.softplus), after(torch.tanh), after(torch.sigmoid)


HEAD_MISTAKES = {"mu": (HEADS_SWAPPED, *_activated("mu")), "logvar": _activated("logvar")}
FORWARD_MISTAKES = (
    Mistake(
        "forward_decodes_mu",
        "`forward` decodes mu itself: draw z with `self.reparameterize` first, in eval mode too. "
        "The loss needs a sample.",
        lambda parts, mu, logvar, *c: parts.decode(mu, *c),
    ),
    Mistake(
        "reparameterize_swapped",
        "`forward` calls `self.reparameterize` with logvar first; it takes (mu, logvar).",
        lambda parts, mu, logvar, *c: parts.decode_draw(logvar, mu, *c),
    ),
    Mistake(
        "squashed_twice",
        "`forward` applies a sigmoid to what the decoder has already squashed.",
        lambda parts, mu, logvar, *c: parts.decode_draw(mu, logvar, *c).sigmoid(),
    ),
)


def expect_joined(
    seen: torch.Tensor, left: torch.Tensor | None, c: torch.Tensor, part: str
) -> None:
    """Expect that a part was called with rows [left, c], if it was called.

    Args:
        seen: What its stand-in was called with.
        left: What c is joined to, (N, L); None for codes, which are judged by what is decoded.
        c: The conditions, (N, C), no two rows alike.
        part: Its name.

    Raises:
        CheckFailed: With the mistake that such rows come from.
    """
    if not len(seen):
        return
    n, condition = c.shape
    width = left.shape[1] if left is not None else 3
    call = f"`forward` calls `self.{part}`"
    expect(
        seen.shape[1] != width,
        f"{call} without the condition. Both parts see it.",
        f"condition_missing_in_{part}",
    )
    expect(
        seen.shape[1] != width + 1 or condition == 1,
        f"{call} with one number for the condition. Classes have no order: join c as it is.",
        "condition_as_number",
    )
    expect(
        tuple(seen.shape) == (n, width + condition),
        f"{call} with rows of shape {tuple(seen.shape)}; they should be {(n, width + condition)}.",
    )
    seen, c = seen.double(), c.double()
    last = seen[:, width:]
    if torch.allclose(last, c, atol=1e-5):
        expect(
            left is None or torch.allclose(seen[:, :width], left.double(), atol=1e-5),
            f"{call} with rows that end in c, but do not begin with what c is joined to.",
        )
        return
    expect(
        not torch.allclose(seen[:, :condition], c, atol=1e-5),
        f"{call} with the condition first. It comes last.",
        "condition_first",
    )
    expect(
        float(last.std(1).max()) > 1e-6,
        f"{call} with a condition that is the same number everywhere: c is not in it.",
        f"condition_missing_in_{part}",
    )
    own = torch.cdist(last, c).argmin(1)
    expect(
        not torch.allclose(last, c[own], atol=1e-5),
        f"{call} with the conditions of other images: each travels with its own.",
        "conditions_out_of_order",
    )
    expect(False, f"{call} with rows that do not end in c.")

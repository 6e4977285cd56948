"""Known linear maps (stubs) in the place of a VAE's parts, so that only `forward` is tested.

If there is a condition c (N, C), it is joined to the image and to the code; `*c` is (c,) or ().
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from autograder.checks.vocabulary import Mistake, expect, expect_close, expect_tensor, kind
from autograder.protocol.remote import Affine, RemoteObject

# The arguments of `reparameterize`, for a model that passes them by name.
TOLD = ("mu", "logvar")
# The sizes of a model with stubs: `forward` may read them from the model.
LATENTS, FEATURES = 3, 48


class KnownVae:
    """Known linear maps in the place of a VAE's parts; codes have 3 numbers.

    Args:
        vae: The model whose parts are replaced.
        shape: The shape of an image, (C, H, W).
        condition: Size of the condition.
        layers: True for a model whose `encoder` returns features for `mu_layer` and
            `logvar_layer`. False if `encoder` returns both mu and logvar; then the decoder ends
            in a sigmoid.
    """

    def __init__(
        self,
        vae: RemoteObject,
        shape: tuple[int, int, int] = (1, 28, 28),
        condition: int = 0,
        *,
        layers: bool = True,
    ):
        self.shape, self.squash = shape, not layers
        pixels = math.prod(shape)
        self.by_mu, self.by_logvar = torch.randn(2, LATENTS, LATENTS)
        self.decoder = torch.randn(LATENTS + condition, pixels)
        if layers:
            # Features stay positive: an activation between encoder and heads changes nothing.
            encoder = [torch.rand(pixels, FEATURES) / pixels, torch.rand(condition, FEATURES)]
            heads = torch.randn(2, FEATURES, LATENTS) * math.sqrt(6 / FEATURES)
            vae.set_stub("encoder", Affine([torch.cat(encoder)]))
            vae.set_stub("mu_layer", Affine([heads[0]]))
            vae.set_stub("logvar_layer", Affine([heads[1]]))
            self.mu, self.logvar = torch.cat(encoder) @ heads
        else:
            self.mu, self.logvar = torch.randn(2, pixels, LATENTS) / math.sqrt(pixels)
            vae.set_stub("encoder", Affine([self.mu]), Affine([self.logvar]), names=("x",))
        vae.set_stub("reparameterize", Affine([self.by_mu, self.by_logvar]), names=TOLD)
        names = () if layers else ("z",)
        vae.set_stub("decoder", Affine([self.decoder], shape), squash=self.squash, names=names)

    def heads(self, x: torch.Tensor, *c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute mu and logvar of images, (N, 3) each."""
        rows = torch.cat([x.flatten(1), *c], 1)
        return rows @ self.mu, rows @ self.logvar

    def decode(self, z: torch.Tensor, *c: torch.Tensor) -> torch.Tensor:
        """Compute the images of codes (N, 3)."""
        pixels = torch.cat([z, *c], 1) @ self.decoder
        return (pixels.sigmoid() if self.squash else pixels).unflatten(1, self.shape)

    def decode_draw(self, mu: torch.Tensor, logvar: torch.Tensor, *c: torch.Tensor) -> torch.Tensor:
        """Compute the images that the stubs of `reparameterize` and `decoder` return."""
        return self.decode(mu @ self.by_mu + logvar @ self.by_logvar, *c)


HEADS_SWAPPED = Mistake(
    "outputs_swapped",
    "`forward` returns `mu` and `logvar` in the wrong order.",
    lambda parts, mu, logvar, *c: logvar,
)


def _activated(head: str) -> tuple[Mistake, ...]:
    """Return the mistakes of an activation after a head, "mu" or "logvar", in `forward`."""

    def after(activation: Callable[[torch.Tensor], torch.Tensor]) -> Mistake:
        return Mistake(
            "activation_on_head",
            f"`forward` applies an activation to `{head}`. A mean and a log-variance may have any "
            "value: return them unchanged.",
            lambda parts, mu, logvar, *c: activation(mu if head == "mu" else logvar),
        )

    return after(F.relu), after(F.softplus), after(torch.tanh), after(torch.sigmoid)


HEAD_MISTAKES = {"mu": (HEADS_SWAPPED, *_activated("mu")), "logvar": _activated("logvar")}
FORWARD_MISTAKES = (
    Mistake(
        "forward_decodes_mu",
        "`forward` decodes mu itself. Sample z with `self.reparameterize` first, in eval mode too: "
        "the loss needs a sample.",
        lambda parts, mu, logvar, *c: parts.decode(mu, *c),
    ),
    Mistake(
        "reparameterize_swapped",
        "`forward` calls `self.reparameterize` with logvar first; the order is (mu, logvar).",
        lambda parts, mu, logvar, *c: parts.decode_draw(logvar, mu, *c),
    ),
    Mistake(
        "squashed_twice",
        "`forward` applies a sigmoid to the decoder's output. The decoder has already applied it.",
        lambda parts, mu, logvar, *c: parts.decode_draw(mu, logvar, *c).sigmoid(),
    ),
)


def expect_outputs(
    got: Any, parts: KnownVae, x: torch.Tensor, *c: torch.Tensor, name: str = "x_hat"
) -> None:
    """Expect the outputs that `forward` should return for the known parts.

    Args:
        got: The submission's outputs.
        parts: The known parts.
        x: The images.
        c: Their condition (N, C), or nothing.
        name: The name of the first value.

    Raises:
        CheckFailed: If a value is wrong, with the known mistake.
    """
    expect(
        isinstance(got, tuple) and len(got) == 3,
        f"`forward` should return the three values ({name}, mu, logvar), got {kind(got)}.",
    )
    mu, logvar = parts.heads(x, *c)
    inputs = (parts, mu, logvar, *c)
    x_hat = expect_tensor(got[0], tuple(x.shape), f"`{name}`")
    for head, value, expected in zip(TOLD, got[1:], (mu, logvar), strict=True):
        value = expect_tensor(value, (len(x), LATENTS), f"`{head}`")
        expect_close(value, expected, f"`{head}`", inputs, HEAD_MISTAKES[head])
    right = parts.decode_draw(mu, logvar, *c)
    expect_close(x_hat, right, f"`{name}`", inputs, FORWARD_MISTAKES)


def expect_joined(
    seen: torch.Tensor, left: torch.Tensor | None, c: torch.Tensor, part: str
) -> None:
    """Expect that a part was called with rows [left, c], if it was called.

    Args:
        seen: The inputs of its stub.
        left: What c is joined to, (N, L); None for codes, which are tested by the decoded images.
        c: The conditions, (N, C), all rows different.
        part: Its name.

    Raises:
        CheckFailed: With the known mistake that produces such rows.
    """
    if not len(seen):
        return
    n, condition = c.shape
    width = left.shape[1] if left is not None else 3
    call = f"`forward` calls `self.{part}`"
    expect(
        seen.shape[1] != width,
        f"{call} without the condition. Both the encoder and the decoder need it.",
        f"condition_missing_in_{part}",
    )
    expect(
        seen.shape[1] != width + 1 or condition == 1,
        f"{call} with one number for the condition. Classes have no order: join c unchanged.",
        "condition_as_number",
    )
    expect(
        tuple(seen.shape) == (n, width + condition),
        f"{call} with rows of shape {tuple(seen.shape)}; expected {(n, width + condition)}.",
    )
    seen, c = seen.double(), c.double()
    last = seen[:, width:]
    if torch.allclose(last, c, atol=1e-5):
        expect(
            left is None or torch.allclose(seen[:, :width], left.double(), atol=1e-5),
            f"{call} with rows that end in c, but do not begin with the image.",
        )
        return
    expect(
        not torch.allclose(seen[:, :condition], c, atol=1e-5),
        f"{call} with the condition first. It should be last.",
        "condition_first",
    )
    expect(
        float(last.std(1).max()) > 1e-6,
        f"{call} with a condition that is the same number everywhere. Join c itself.",
        f"condition_missing_in_{part}",
    )
    own = torch.cdist(last, c).argmin(1)
    expect(
        not torch.allclose(last, c[own], atol=1e-5),
        f"{call} with the conditions of other images. Each image needs its own condition.",
        "conditions_out_of_order",
    )
    expect(False, f"{call} with rows that do not end in c. Join c last.")

"""Known linear maps (stubs) in the place of a VAE's parts, so that only `forward` is tested.

If there is a condition c (N, C), it is joined to the image and to the code; `*c` is (c,) or ().
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F

from autograder.checks.shared.gradients import Biases, expect_gradients
from autograder.checks.vocabulary import (
    Mistake,
    close,
    expect,
    expect_close,
    expect_tensor,
    fail,
    kind,
)
from autograder.protocol.remote import Affine, Raised, RemoteObject

# The arguments of `reparameterize`, for a model that passes them by name.
TOLD = ("mu", "logvar")
# The sizes of a model with stubs: `forward` may read them from the model.
LATENTS, FEATURES = 3, 48


class KnownVae:
    """Known linear maps in the place of a VAE's parts; codes have 3 numbers.

    The stubs of encoder and decoder refuse the shapes that the submission's own parts refuse.

    Args:
        vae: The model whose parts are replaced.
        shape: The shape of an image, (C, H, W).
        condition: Size of the condition.
        layers: True for a model whose `encoder` takes rows and returns features for `mu_layer` and
            `logvar_layer`. False if `encoder` takes images and returns both mu and logvar; then the
            decoder has the argument `z`.

    Attributes:
        parts: The number of outputs of each part; first those that are nearest to x_hat.
        images: Whether `encoder` takes images; see `layers`.
    """

    def __init__(
        self,
        vae: RemoteObject,
        shape: tuple[int, int, int] = (1, 28, 28),
        condition: int = 0,
        *,
        layers: bool = True,
    ):
        self.vae, self.shape, self.images = vae, shape, not layers
        pixels = math.prod(shape)
        # The codes are large, so that a code that is cut off has another image.
        self.by_mu, self.by_logvar = 0.4 * torch.randn(2, LATENTS, LATENTS)
        by_condition = torch.randn(condition, pixels) / math.sqrt(max(condition, 1))
        self.decoder = torch.cat([0.4 * torch.randn(LATENTS, pixels), by_condition])
        takes = (pixels + condition,) if layers else shape
        if layers:
            # Features stay positive: an activation between encoder and heads changes nothing.
            by_pixels = torch.rand(pixels, FEATURES) / pixels
            self.encoder = torch.cat([by_pixels, torch.rand(condition, FEATURES) / pixels])
            # A feature of an image is about ¼.
            self.heads_of = _heads(FEATURES, mean=0.25, spread=0.5)
            vae.set_stub("encoder", Affine([self.encoder]), takes=[takes])
            vae.set_stub("mu_layer", Affine([self.heads_of[0]]))
            vae.set_stub("logvar_layer", Affine([self.heads_of[1]]))
            self.mu, self.logvar = self.encoder @ self.heads_of
        else:
            self.mu, self.logvar = _heads(pixels, mean=0.5, spread=3.0)
            outputs = Affine([self.mu]), Affine([self.logvar])
            vae.set_stub("encoder", *outputs, names=("x",), takes=[takes])
        vae.set_stub("reparameterize", Affine([self.by_mu, self.by_logvar]), names=TOLD)
        self.parts = {"decoder": 1, "reparameterize": 1}
        self.parts |= {"mu_layer": 1, "logvar_layer": 1, "encoder": 1} if layers else {"encoder": 2}
        vae.set_stub(
            "decoder",
            Affine([self.decoder], shape),
            squash=True,
            names=() if layers else ("z",),
            takes=[(LATENTS + condition,)],
        )

    def heads(self, x: torch.Tensor, *c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute mu and logvar of images, (N, 3) each."""
        rows = torch.cat([x.flatten(1), *c], 1)
        return rows @ self.mu, rows @ self.logvar

    def decode(self, z: torch.Tensor, *c: torch.Tensor) -> torch.Tensor:
        """Compute the images of codes (N, 3)."""
        return self._pixels(torch.cat([z, *c], 1) @ self.decoder)

    def decode_draw(self, mu: torch.Tensor, logvar: torch.Tensor, *c: torch.Tensor) -> torch.Tensor:
        """Compute the images that the stubs of `reparameterize` and `decoder` return."""
        return self.decode(mu @ self.by_mu + logvar @ self.by_logvar, *c)

    def run(self, biases: Biases, x: torch.Tensor, *c: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute x_hat, mu and logvar with a bias added to each output of each part."""
        rows = torch.cat([x.flatten(1), *c], 1)
        if self.images:
            mu, logvar = (
                rows @ weight + bias
                for weight, bias in zip((self.mu, self.logvar), biases["encoder"], strict=True)
            )
        else:
            hidden = rows @ self.encoder + biases["encoder"][0]
            mu = hidden @ self.heads_of[0] + biases["mu_layer"][0]
            logvar = hidden @ self.heads_of[1] + biases["logvar_layer"][0]
        z = mu @ self.by_mu + logvar @ self.by_logvar + biases["reparameterize"][0]
        pixels = torch.cat([z, *c], 1) @ self.decoder + biases["decoder"][0]
        return self._pixels(pixels), mu, logvar

    def _pixels(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.sigmoid().unflatten(1, self.shape)


# mu and logvar of a usual image. The first and the second latent are so far from 0 that an
# activation or a limit changes them. A limit of logvar at −10 and 10 is right, and changes nothing.
USUAL = ((-4.0, 4.0, 0.6), (-5.5, 5.5, 0.7))


def _heads(inputs: int, mean: float, spread: float) -> torch.Tensor:
    """Make the weights of both heads, (2, inputs, 3), with about `USUAL` for usual inputs.

    Args:
        inputs: The number of inputs.
        mean: The mean of an input.
        spread: The standard deviation of the weights, relative to their mean.
    """
    usual = torch.tensor(USUAL)[:, None] / (mean * inputs)
    return usual * (1 + spread * torch.randn(2, inputs, LATENTS))


HEADS_SWAPPED = Mistake(
    "outputs_swapped",
    "`forward` returns `mu` and `logvar` in the wrong order.",
    lambda parts, x, mu, logvar, *c: logvar,
)


def _activated(head: str) -> tuple[Mistake, ...]:
    """Return the mistakes of an activation after a head, "mu" or "logvar", in `forward`."""

    def after(activation: Callable[[torch.Tensor], torch.Tensor]) -> Mistake:
        return Mistake(
            "activation_on_head",
            f"`forward` applies an activation to `{head}`. A mean and a log-variance may have any "
            "value: return them unchanged.",
            lambda parts, x, mu, logvar, *c: activation(mu if head == "mu" else logvar),
        )

    return after(F.relu), after(F.softplus), after(torch.tanh), after(torch.sigmoid)


SIGMA_FOR_LOGVAR = ("exp_in_forward", "`forward` returns {} in the place of logvar.")
HEAD_MISTAKES = {
    "mu": (
        HEADS_SWAPPED,
        *_activated("mu"),
        Mistake(
            "returns_code",
            "`forward` returns z in the place of mu. The KL needs the mean itself.",
            lambda parts, x, mu, logvar, *c: mu @ parts.by_mu + logvar @ parts.by_logvar,
        ),
    ),
    "logvar": (
        Mistake(
            "one_head",
            "`forward` returns mu in the place of logvar. Which layer computes logvar?",
            lambda parts, x, mu, logvar, *c: mu,
        ),
        Mistake(
            SIGMA_FOR_LOGVAR[0],
            SIGMA_FOR_LOGVAR[1].format("exp(½ logvar), which is σ,"),
            lambda parts, x, mu, logvar, *c: (0.5 * logvar).exp(),
        ),
        Mistake(
            SIGMA_FOR_LOGVAR[0],
            SIGMA_FOR_LOGVAR[1].format("exp(logvar), which is σ²,"),
            lambda parts, x, mu, logvar, *c: logvar.exp(),
        ),
        *_activated("logvar"),
    ),
}
FORWARD_MISTAKES = (
    Mistake(
        "forward_decodes_mu",
        "`forward` decodes mu itself. Sample z with `self.reparameterize` first, in eval mode too: "
        "the loss needs a sample.",
        lambda parts, x, mu, logvar, *c: parts.decode(mu, *c),
    ),
    Mistake(
        "reparameterize_swapped",
        "`forward` calls `self.reparameterize` with logvar first; the order is (mu, logvar).",
        lambda parts, x, mu, logvar, *c: parts.decode_draw(logvar, mu, *c),
    ),
    *(
        Mistake(
            "reparameterize_given_sigma",
            f"`forward` calls `self.reparameterize` with exp({inside}). Its second argument is "
            "logvar itself.",
            lambda parts, x, mu, logvar, *c, half=half: parts.decode_draw(
                mu, (half * logvar).exp(), *c
            ),
        )
        for half, inside in ((0.5, "½ logvar"), (1.0, "logvar"))
    ),
    Mistake(
        "squashed_twice",
        "`forward` applies a sigmoid to the output of `self.decoder`. The sigmoid belongs in the "
        "decoder, whose images are already in [0, 1].",
        lambda parts, x, mu, logvar, *c: parts.decode_draw(mu, logvar, *c).sigmoid(),
    ),
    Mistake(
        "returns_image",
        "`forward` returns the images themselves, without the model.",
        lambda parts, x, mu, logvar, *c: x,
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
    inputs = (parts, x, mu, logvar, *c)
    expect_heads_in_order(got, parts, mu, logvar, *c)
    shapes = [tuple(value.shape) if isinstance(value, torch.Tensor) else () for value in got]
    expect(
        shapes[0] == tuple(x.shape) or tuple(x.shape) not in shapes,
        f"`forward` returns the images as value {shapes.index(tuple(x.shape)) + 1} of 3. The order "
        f"is ({name}, mu, logvar)."
        if tuple(x.shape) in shapes
        else "",
        "outputs_swapped",
    )
    if isinstance(got[0], torch.Tensor) and not bool(torch.isfinite(got[0]).all()):
        expect_all_called(parts.vae, parts.parts)  # it tells more than the values
    x_hat = expect_tensor(got[0], tuple(x.shape), f"`{name}`")
    for head, value, expected in zip(TOLD, got[1:], (mu, logvar), strict=True):
        value = expect_tensor(value, (len(x), LATENTS), f"`{head}`")
        if not close(value, expected):
            expect_images_given(seen_by(parts.vae, "encoder"), x)
            expect_features_given(parts, head, x, *c)
            expect_not_cut_off(value, expected, head, HEAD_MISTAKES[head], inputs)
        expect_close(value, expected, f"`{head}`", inputs, HEAD_MISTAKES[head])
    right = parts.decode_draw(mu, logvar, *c)
    if not close(x_hat, right) and not any(
        close(x_hat, mistake.formula(*inputs)) for mistake in FORWARD_MISTAKES
    ):
        expect_no_skip(x_hat, right, x)
        expect_all_called(parts.vae, parts.parts)
        expect_pixels_not_cut_off(x_hat, right)
        expect_code_kept(seen_by(parts.vae, "decoder"), mu @ parts.by_mu + logvar @ parts.by_logvar)
        expect_different_codes_given(seen_by(parts.vae, "decoder"), len(x))
    expect_close(x_hat, right, f"`{name}`", inputs, FORWARD_MISTAKES)


def expect_heads_in_order(
    got: tuple[Any, ...], parts: KnownVae, mu: torch.Tensor, logvar: torch.Tensor, *c: torch.Tensor
) -> None:
    """Expect that mu and logvar are not exchanged when they are computed.

    If they are exchanged only when they are returned, z was sampled from the right ones.

    Args:
        got: The submission's outputs, three values.
        parts: The known parts.
        mu: The right means, (N, 3).
        logvar: The right log-variances, (N, 3).
        c: Their condition (N, C), or nothing.

    Raises:
        CheckFailed: If they are.
    """
    values = [value.double() if isinstance(value, torch.Tensor) else value for value in got]
    if not all(isinstance(value, torch.Tensor) for value in values):
        return
    if not close(values[1], logvar) or not close(values[2], mu):
        return
    says = (
        "In `forward`, the two values that `self.encoder` returns are exchanged: the first one is "
        "mu, and the second one is logvar."
        if parts.images
        else "In `forward`, `mu` is the output of `self.logvar_layer`, and `logvar` is the output "
        "of `self.mu_layer`."
    )
    expect(not close(values[0], parts.decode_draw(logvar, mu, *c)), says, "heads_exchanged")


def expect_not_cut_off(
    value: torch.Tensor,
    right: torch.Tensor,
    head: str,
    mistakes: Iterable[Mistake],
    inputs: tuple[Any, ...],
) -> None:
    """Expect that wrong values of a head are not the right ones between two limits.

    Args:
        value: The submission's values, (N, 3).
        right: The right values, of the same shape.
        head: "mu" or "logvar".
        mistakes: The known mistakes of the head. If one of them computes the values, it is named.
        inputs: The arguments of their formulas.

    Raises:
        CheckFailed: If they are.
    """
    low, high = float(value.min()), float(value.max())
    if not close(value, right.clamp(low, high)) or low == high:
        return
    if any(close(value, mistake.formula(*inputs)) for mistake in mistakes):
        return
    sides = []
    if float(right.max()) > high + 1e-3:
        sides.append(f"above at {high:.3g}")
    if float(right.min()) < low - 1e-3:
        sides.append(f"below at {low:.3g}")
    expect(
        not sides,
        f"`forward` cuts `{head}` off {' and '.join(sides)}. A mean and a log-variance may have "
        "any value: return what the layer computes.",
        "head_cut_off",
    )


def expect_pixels_not_cut_off(x_hat: torch.Tensor, right: torch.Tensor) -> None:
    """Expect that wrong images are not the right ones between two limits.

    Limits of 0 and 1 change nothing: the right images are in [0, 1].

    Args:
        x_hat: The images, (N, C, H, W).
        right: The right images, of the same shape.

    Raises:
        CheckFailed: If they are.
    """
    low, high = float(x_hat.min()), float(x_hat.max())
    expect(
        low == high or not close(x_hat, right.clamp(low, high)),
        f"`forward` clamps the output of `self.decoder` to [{low:.3g}, {high:.3g}]. Return the "
        "images as the decoder returns them.",
        "clamped",
    )


def expect_code_kept(seen: torch.Tensor, code: torch.Tensor) -> None:
    """Expect that the decoder was not called with the right code between two limits.

    Args:
        seen: The inputs of the decoder, the last ones from the images; the code is first.
        code: The right codes, (N, Z).

    Raises:
        CheckFailed: If it was.
    """
    if len(seen) < len(code) or seen[0].numel() < code.shape[1]:
        return
    given = seen[-len(code) :].flatten(1)[:, : code.shape[1]].double()
    low, high = float(given.min()), float(given.max())
    expect(
        low == high or close(given, code) or not close(given, code.clamp(low, high)),
        f"`forward` cuts the code off: the decoder gets numbers from {low:.3g} to {high:.3g}, and "
        "the code has larger ones. The decoder should get the code unchanged.",
        "code_cut_off",
    )


def expect_not_original(x_hat: torch.Tensor, x: torch.Tensor) -> None:
    """Expect that the output of `forward` is not the images that it got."""
    expect(
        not close(x_hat, x),
        "`forward` returns the images themselves. Return what the decoder returns for their codes.",
        "returns_image",
    )


def expect_different_codes_given(seen: torch.Tensor, n: int) -> None:
    """Expect that the decoder was not called with the same code for all of n images.

    Args:
        seen: The inputs of the decoder, the last ones from the images; the code is first.
        n: The number of images.

    Raises:
        CheckFailed: If it was.
    """
    if n < 2 or len(seen) < n or seen.dim() != 2:
        return
    codes = seen[-n:, :LATENTS]
    same = float(codes.std(0).max()) < 1e-6
    expect(
        not same,
        "The decoder does not get z: in the place of z, it gets the same numbers for every image"
        + (", which are 0." if not bool(codes.any()) else "."),
        "code_not_given",
    )


def expect_forward_gradients(
    parts: KnownVae, x: torch.Tensor, *c: torch.Tensor, name: str = "x_hat"
) -> None:
    """Expect that gradients reach every part from x_hat, mu and logvar; see `expect_outputs`."""
    expect_gradients(
        parts.vae,
        lambda: parts.vae.trace(x, *c),
        lambda biases: parts.run(biases, x, *c),
        parts.parts,
        (name, *TOLD),
    )


def seen_by(vae: RemoteObject, part: str) -> torch.Tensor:
    """Return the inputs of a stub, one row for each; shape (0,) if it was not called."""
    try:
        seen = getattr(vae, part).seen()
    except Raised:  # its inputs had different widths
        return torch.empty(0)
    return seen if isinstance(seen, torch.Tensor) else torch.empty(0)


def expect_all_called(vae: RemoteObject, parts: Iterable[str]) -> None:
    """Expect that `forward` has called each of these stubs."""
    for part in parts:
        expect(
            len(seen_by(vae, part)) > 0,
            f"`forward` does not call `self.{part}`. Call the model's own parts, so that each of "
            "them can be tested alone.",
            "part_not_called",
        )


def expect_accepted_shape(parts: KnownVae, x: torch.Tensor) -> None:
    """Expect that the encoder was not called with images if it takes rows, or the reverse.

    Args:
        parts: The known parts, after a call of `forward` that has failed.
        x: The images, (N, C, H, W).

    Raises:
        CheckFailed: If the encoder was called with inputs of the wrong shape.
    """
    shape = tuple(seen_by(parts.vae, "encoder").shape)
    expect(
        parts.images or len(shape) < 3,
        f"`forward` calls `self.encoder` with images of shape {shape}. It takes rows of "
        f"{x[0].numel()} values: flatten each image first.",
        "image_not_flattened",
    )
    expect(
        not parts.images or len(shape) != 2,
        f"`forward` calls `self.encoder` with rows of shape {shape}. It takes images of shape "
        f"{tuple(x.shape)}.",
        "image_flattened",
    )


def expect_images_given(seen: torch.Tensor, x: torch.Tensor, method: str = "forward") -> None:
    """Expect that the encoder was called with the images themselves; name what was done to them.

    Args:
        seen: The inputs of the encoder, the last ones from the images.
        x: The images, (N, C, H, W).
        method: The method that called it, for the message.

    Raises:
        CheckFailed: If it was called with other values.
    """
    rows = x.flatten(1)
    if len(seen) < len(x) or seen[0].numel() < rows.shape[1]:
        return
    given = seen[-len(x) :].flatten(1)[:, : rows.shape[1]].double()
    if close(given, rows):
        return
    call = f"`{method}` does not call `self.encoder` with the images themselves"
    expect(
        not close(given, rows.round()),
        f"{call}: their grey pixels are rounded to black and white.",
        "image_rounded",
    )
    factor, _, shift, left = _fit(given, rows, torch.zeros_like(rows))
    added = f" {'+' if shift >= 0 else '−'} {abs(shift):.3g}" if abs(shift) > 1e-4 else ""
    expect(
        left > 1e-3,
        f"{call}: a pixel p becomes {factor:.3g} · p{added}. The images are already in [0, 1].",
        "image_rescaled",
    )
    fail(f"{call}: their pixels have other values or another order.", "image_changed")


def expect_features_given(parts: KnownVae, head: str, x: torch.Tensor, *c: torch.Tensor) -> None:
    """Expect that a head was called with the encoder's features of images x, if it was called."""
    if parts.images:
        return
    seen = seen_by(parts.vae, f"{head}_layer").double()
    features = torch.cat([x.flatten(1), *c], 1).double() @ parts.encoder.double()
    expect(
        len(seen) < len(x) or close(seen[-len(x) :], features),
        f"`forward` does not call `self.{head}_layer` with what `self.encoder` returns: the "
        "features are changed between the two.",
        "features_changed",
    )


def expect_no_skip(x_hat: torch.Tensor, right: torch.Tensor, x: torch.Tensor) -> None:
    """Expect that wrong images are not a sum of decoded images and original images."""
    _, skipped, _, left = _fit(x_hat.double(), right.double(), x.double())
    expect(
        left > 1e-3 or abs(skipped) < 1e-3,
        "`forward` adds the original images to the decoded ones. So they do not have to pass "
        "through the code: return what `self.decoder` returns.",
        "skips_the_code",
    )


def _fit(
    value: torch.Tensor, first: torch.Tensor, second: torch.Tensor
) -> tuple[float, float, float, float]:
    """Fit value = a · first + b · second + c; return a, b, c and the largest error."""
    columns = [first.double().flatten(), second.double().flatten()]
    table = torch.stack([*columns, torch.ones_like(columns[0])], 1)
    factors = torch.linalg.pinv(table) @ value.double().flatten()
    left = float((table @ factors - value.double().flatten()).abs().max())
    a, b, c = factors.tolist()
    return a, b, c, left


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
    if not len(seen) or seen.dim() < 2:
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
        if left is not None:
            expect_images_given(seen, left)
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

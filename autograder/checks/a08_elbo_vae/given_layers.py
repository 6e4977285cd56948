"""Values that an encoder of the given layers should return, and known mistakes in them."""

import torch
import torch.nn.functional as F

from autograder.checks.vocabulary import Mistake, expect
from autograder.protocol.remote import RemoteObject

ENCODER_MISTAKES = (
    Mistake(
        "outputs_swapped",
        "mu and logsigma are swapped: `linear21` computes mu, `linear22` computes logsigma, and "
        "mu is returned first.",
        lambda mu, logsigma, plain: torch.stack([logsigma, mu]),
    ),
    Mistake(
        "sigma_for_log_sigma",
        "The second value is exp(logsigma), which is σ. `encoder` should return log σ.",
        lambda mu, logsigma, plain: torch.stack([mu, logsigma.exp()]),
    ),
    Mistake(
        "sigma_for_log_sigma",
        "The second value is exp(2 logsigma), which is σ². `encoder` should return log σ.",
        lambda mu, logsigma, plain: torch.stack([mu, (2 * logsigma).exp()]),
    ),
    Mistake(
        "log_variance",
        "The second value is twice the expected value: it is log σ². `encoder` should return "
        "log σ.",
        lambda mu, logsigma, plain: torch.stack([mu, 2 * logsigma]),
    ),
    Mistake(
        "same_head",
        "mu and logsigma come from the same layer. Each needs its own layer.",
        lambda mu, logsigma, plain: torch.stack([mu, mu]),
    ),
    Mistake(
        "no_activation",
        "There is no ReLU between the encoder's layers. Without it, two linear layers are "
        "equivalent to one.",
        lambda mu, logsigma, plain: plain,
    ),
)


def expect_given_layers(
    vae: RemoteObject, x: torch.Tensor, got: torch.Tensor, hidden_dim: int
) -> None:
    """Expect that an encoder's output is not a known mistake.

    Other outputs may be correct, too, with another activation for example. An encoder with layers
    other than `linear1`, `linear21` and `linear22` is not tested here.

    Args:
        vae: The model.
        x: Images, (N, D).
        got: The encoder's output for them: mu and logsigma, (2, N, Z).
        hidden_dim: Number of hidden features.
    """
    weights = {name: p.double() for name, p in vae.parameters().items()}
    latents = got.shape[2]
    shapes = {
        "linear1": (hidden_dim, x.shape[1]),
        "linear21": (latents, hidden_dim),
        "linear22": (latents, hidden_dim),
    }
    for name, shape in shapes.items():
        found = weights.get(f"{name}.weight"), weights.get(f"{name}.bias")
        if found[0] is None or found[1] is None or tuple(found[0].shape) != shape:
            return

    def linear(name: str, rows: torch.Tensor) -> torch.Tensor:
        return F.linear(rows, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def heads(hidden: torch.Tensor) -> torch.Tensor:
        return torch.stack([linear("linear21", hidden), linear("linear22", hidden)])

    before = linear("linear1", x.double())
    for mistake in ENCODER_MISTAKES:
        wrong = mistake.formula(*heads(before.relu()), heads(before))
        expect(not torch.allclose(got, wrong, atol=1e-4), mistake.says, mistake.name)

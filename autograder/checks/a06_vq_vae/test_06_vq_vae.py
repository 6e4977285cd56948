"""Tasks and checks of `06_vq_vae`."""

from typing import Any

import torch

from autograder.checks.a06_vq_vae import (
    missing_layers,
    moving_averages,
    quantizer,
    vq_networks,
    whole_model,
)
from autograder.checks.a06_vq_vae.vq import nearest, perplexity, to_maps, to_rows
from autograder.checks.bounds import course_bounds
from autograder.checks.confirmation import Apart
from autograder.checks.deformed import deformed_photos
from autograder.checks.shared.answers import expect_like
from autograder.checks.shared.networks import module_checks
from autograder.checks.shared.parts import expect_inputs_kept, images
from autograder.checks.training import RemotePart, TrainingSpec, expect_trained, live_sentence
from autograder.checks.vocabulary import (
    CheckFailed,
    Mistake,
    Task,
    check,
    expect,
    expect_close,
    expect_tensor,
    kind,
)
from autograder.protocol.remote import RemoteObject, Submission

TASKS = (
    Task("units", 5, "Units"),
    Task("nearest_code", 10, "Nearest code", parts=("vq_vae",), classes=("VectorQuantizer",)),
    Task("straight_through", 10, "Straight-through output", parts=("vq_vae",), no_seed=False),
    Task("vq_loss", 15, "Codebook and commitment loss", parts=("vq_vae",), no_seed=False),
    Task("perplexity", 5, "Perplexity", parts=("vq_vae",), no_seed=False),
    Task("ema", 10, "Moving averages", parts=("vq_vae",), classes=("VectorQuantizerEMA",)),
    Task(
        "residual",
        5,
        "Residual blocks",
        parts=("encoder", "decoder"),
        classes=("Residual", "ResidualStack"),
    ),
    Task("encoder", 5, "Encoder", parts=("encoder",), classes=("Encoder",)),
    Task("decoder", 5, "Decoder", parts=("decoder",), classes=("Decoder",)),
    Task("model", 5, "Whole model", parts=("forward",), uses=("encoder", "vq_vae", "decoder")),
    Task("training", 5, "Training"),
)


# Units


UNITS_SAY = "Use the same units in the numerator and the denominator"

NORMALIZE_MISTAKES = (
    Mistake(
        "range_doubled",
        f"`normalize` maps pixels to [-1, 1]. It should only subtract one half. {UNITS_SAY}: a "
        "range that is twice as wide has four times the variance.",
        lambda x: 2 * x - 1,
    ),
    Mistake(
        "not_shifted",
        "`normalize` returns pixels in [0, 1]. It should return pixels in [−½, ½], so that "
        "grey becomes 0.",
        lambda x: x,
    ),
    Mistake(
        "mean_subtracted",
        "`normalize` subtracts the mean of its own input. Subtract the same number from all "
        "images: one half.",
        lambda x: x - x.mean(),
    ),
    Mistake(
        "scaled_by_255",
        "`normalize` divides by 255. Its images are in [0, 1] already.",
        lambda x: x / 255 - 0.5,
    ),
    Mistake(
        "inverted",
        "`normalize` inverts the images: black becomes white. Subtract one half from the pixels.",
        lambda x: 0.5 - x,
    ),
)

VARIANCE_MISTAKES = (
    Mistake(
        "range_doubled",
        "`data_variance` is four times too large: it is the variance of pixels in [-1, 1]. "
        f"{UNITS_SAY}.",
        lambda x: 4 * x.var(),
    ),
    Mistake(
        "variance_of_bytes",
        f"`data_variance` is the variance of bytes from 0 to 255. {UNITS_SAY}.",
        lambda x: 255**2 * x.var(),
    ),
    Mistake(
        "deviation_for_variance",
        "`data_variance` is the standard deviation. The variance is its square.",
        lambda x: x.std(),
    ),
    Mistake(
        "variance_within_images",
        "`data_variance` is the mean of the variances of single images. It ignores the "
        "differences between images: compute it over all entries together.",
        lambda x: x.flatten(1).var(1).mean(),
    ),
    Mistake(
        "variance_within_channels",
        "`data_variance` is the mean of the variances of the three colours. It ignores the "
        "differences between colours: compute it over all entries together.",
        lambda x: x.var((0, 2, 3)).mean(),
    ),
    Mistake(
        "variance_of_pixels",
        "`data_variance` is the mean of the variances of single pixels. It ignores the differences "
        "between pixels: compute it over all entries together.",
        lambda x: x.var(0).mean(),
    ),
    Mistake(
        "variance_not_centred",
        "`data_variance` is the mean square. Subtract the mean first.",
        lambda x: (x - 0.5).pow(2).mean(),
    ),
)


def photographs(n: int) -> torch.Tensor:
    """Make n images of different brightness with a colour cast, (n, 3, 32, 32), in [0, 1]."""
    cast = torch.tensor([0.0, 0.15, 0.3])[:, None, None]
    return cast + 0.4 * torch.rand(n, 1, 1, 1) + 0.3 * torch.rand(n, 3, 32, 32) ** 2


@check("units")
def test_normalize(submission: Submission) -> None:
    """`normalize` shifts images from [0, 1] to [−½, ½]."""
    x = torch.rand(3, 3, 8, 12)
    got = submission.object("normalize")(x)
    got = expect_tensor(got, x.shape, "`normalize(x)`")
    expect_close(got, x - 0.5, "`normalize(x)`", (x,), NORMALIZE_MISTAKES)


@check("units")
def test_data_variance(submission: Submission) -> None:
    """`data_variance` is the variance of all entries together, in units of the model's input."""
    x = photographs(20)
    got = submission.object("data_variance")(x)
    got = torch.tensor(got) if isinstance(got, float) else got
    got = expect_tensor(got, (), "`data_variance(x)`")
    expect_close(got, x.var(), "`data_variance(x)`", (x,), VARIANCE_MISTAKES)


@check("units")
def test_units_leave_images(submission: Submission) -> None:
    """The images that `normalize` and `data_variance` get do not change."""
    for name in ("normalize", "data_variance"):
        expect_inputs_kept(submission, name, {"x": images(3, 3, 8)})


# Training


IN_USE = 4.0


def share_of_variance(batch: tuple[torch.Tensor, ...], x_recon: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error of a batch, in units of the data's variance."""
    error = expect_like(x_recon, batch[0], "`x_recon`") - batch[0]
    return (error**2 / batch[1]).mean()


def codebook_and_places(model: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the codebook of a trained model, and its encoder's output for the quantizer."""
    if isinstance(model, RemoteObject | Apart):
        codebook, given = model.vq_vae.embedding.weight.value(), model.given("vq_vae", x)
        z = given[0] if isinstance(given, tuple) and given else given
    else:
        part = model.vq_vae
        weight = part.remote.embedding.weight if isinstance(part, RemotePart) else None
        codebook = weight.value() if weight is not None else part.embedding.weight.detach()
        z = model.encoder(x)
    if not isinstance(codebook, torch.Tensor) or codebook.dim() != 2:
        raise CheckFailed(
            f"`vq_vae.embedding.weight` should have shape (K, D), got {kind(codebook)}."
        )
    codebook = expect_tensor(codebook, codebook.shape, "`vq_vae.embedding.weight`").float()
    shape = (len(x), codebook.shape[1], x.shape[2] // 4, x.shape[3] // 4)
    return codebook, expect_tensor(z, shape, "The quantizer's input").float()


def error_through_the_codebook(model: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the reconstruction loss if only indices reach the decoder; expect enough of them."""
    x = x - 0.5
    codebook, z = codebook_and_places(model, x)
    indices = nearest(to_rows(z), codebook)
    x_recon = model.decoder(to_maps(codebook[indices], z).contiguous())
    used = float(perplexity(torch.nn.functional.one_hot(indices, len(codebook))))
    expect(
        used > IN_USE,
        f"The model uses effectively only {used:.1f} code vectors (perplexity, over {len(x):,} "
        f"images). It should use more than {IN_USE:g}. Are there enough code vectors, and is "
        "their scale that of the encoder's outputs?",
        "codebook_collapsed",
    )
    x_recon = expect_tensor(x_recon, x.shape, "`x_recon`")
    return (x_recon.float() - x).pow(2).mean() / x.var()


BOUNDS = course_bounds(__name__, epochs=15, below=0.15, below_new=0.2)
SPEC = TrainingSpec(
    model="Model",
    data="photo_patches",
    images=2000,
    unit="of the data's variance",
    batch=lambda x, labels: (x - 0.5, x.var().expand(len(x), 1, 1, 1)),
    loss=share_of_variance,
    confirm=error_through_the_codebook,
    new_images=deformed_photos,
    untrained=0.8,
    decoding=("decoder", "vq_vae"),
    sizes=(
        "num_hiddens",
        "num_residual_layers",
        "num_residual_hiddens",
        "num_embeddings",
        "embedding_dim",
        "commitment_cost",
        "decay",
    ),
    confirmed=(
        "With each position replaced by the nearest vector of your codebook, selected by the "
        "grader, and decoded"
    ),
    digits=3,
    data_full="cifar10",
    headline=0.056,
    remark=(
        "0.056 is the value of the published example, after 10,000 updates of 32 images of "
        "CIFAR-10, with 128 channels and 512 vectors of 64. The row above is the notebook's "
        "small model (32 channels, 64 vectors of 4) on the colour images of this machine. "
        "`headlines.md` lists the published sizes."
    ),
    **BOUNDS,
)


@check(
    "training",
    live=live_sentence(SPEC, "the loss, with over 4 codes in use,"),
    says=f"Trained from scratch, the loss is below {SPEC.below:g} after {SPEC.epochs} epochs, with "
    "over 4 codes in use.",
)
def test_training(submission: Submission) -> None:
    """Train the model; its loss must be below the bound, with over 4 codes in use."""
    cost = submission.value("commitment_cost")
    if not isinstance(cost, int | float):
        raise CheckFailed("`commitment_cost` is not filled in yet.", todo=True)
    expect(
        cost > 0,
        "`commitment_cost` is 0. Hand in a model that is trained with the commitment loss. The "
        "model without it is for the comparison only.",
        "no_commitment",
    )
    expect_trained(submission, TASKS, SPEC)


FAMILIES = (
    quantizer.CHECKS,
    module_checks(moving_averages),
    vq_networks.CHECKS,
    missing_layers.CHECKS,
    module_checks(whole_model),
)

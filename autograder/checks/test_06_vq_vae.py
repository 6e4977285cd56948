"""What `06_vq_vae` is graded on."""

from collections.abc import Iterator
from typing import Any

import torch

from autograder.checking import (
    NOT_STARTED,
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
from autograder.checks.parts import expect_own_rows
from autograder.checks.quantizer import (
    BETA,
    codebook_of,
    expect_encodings,
    expect_loss,
    expect_order,
    expect_perplexity,
    expect_pull,
    make_quantizer,
    maps,
    places,
    quantize,
    scalar,
)
from autograder.checks.vq import (
    EMA_LOSS_MISTAKES,
    EMA_MISTAKES,
    EMA_PULL_MISTAKES,
    cut_wrongly,
    encode,
    first_averages,
    first_update,
    layouts,
    mean_square,
    nearest,
    perplexity,
    smoothed,
    to_maps,
    to_rows,
)
from autograder.checks.vq_networks import (
    PAST,
    decoded,
    encoded,
    expect_layers_count,
    new_network,
    with_weights,
)
from autograder.submission import Affine, Raised, RemoteObject, Submission
from autograder.training import Plan, RemotePart, expect_trained

TASKS = (
    Task("units", 5, "Units"),
    Task("nearest_code", 10, "Nearest code", parts=("vq_vae",)),
    Task("straight_through", 10, "Straight-through output", parts=("vq_vae",)),
    Task("vq_loss", 15, "Codebook and commitment loss", parts=("vq_vae",)),
    Task("perplexity", 5, "Perplexity", parts=("vq_vae",)),
    Task("ema", 10, "Moving averages", parts=("vq_vae",)),
    Task("residual", 5, "Residual blocks", parts=("encoder", "decoder")),
    Task("encoder", 5, "Encoder", parts=("encoder",)),
    Task("decoder", 5, "Decoder", parts=("decoder",)),
    Task("model", 5, "Whole model", parts=("forward",), uses=("encoder", "vq_vae", "decoder")),
    Task("training", 5, "Training"),
)


# Units


UNITS_SAY = "The same units above and below the line"

NORMALIZE_MISTAKES = (
    Mistake(
        "range_doubled",
        "`normalize` stretches pixels to [-1, 1]; a shift by one half is all. "
        f"{UNITS_SAY}: a range twice as wide has four times the variance.",
        lambda x: 2 * x - 1,
    ),
    Mistake(
        "not_shifted", "`normalize` leaves pixels in [0, 1]; grey should become 0.", lambda x: x
    ),
    Mistake("inverted", "`normalize` turns black into white.", lambda x: 0.5 - x),
)

VARIANCE_MISTAKES = (
    Mistake(
        "range_doubled",
        f"`data_variance` is four times too large: it is that of pixels in [-1, 1]. {UNITS_SAY}.",
        lambda x: 4 * x.var(),
    ),
    Mistake(
        "variance_of_bytes",
        f"`data_variance` is that of bytes from 0 to 255. {UNITS_SAY}.",
        lambda x: 255**2 * x.var(),
    ),
    Mistake(
        "deviation_for_variance",
        "`data_variance` is the standard deviation; the variance is its square.",
        lambda x: x.std(),
    ),
    Mistake(
        "variance_within_images",
        "`data_variance` is the mean of the images' own variances: it misses how images differ.",
        lambda x: x.flatten(1).var(1).mean(),
    ),
    Mistake(
        "variance_not_centred",
        "`data_variance` is a mean square: subtract the mean first.",
        lambda x: (x - 0.5).pow(2).mean(),
    ),
)


def photographs(n: int) -> torch.Tensor:
    """Make n colour images of different brightness, (n, 3, 32, 32), in [0, 1]."""
    return 0.6 * torch.rand(n, 1, 1, 1) + 0.4 * torch.rand(n, 3, 32, 32) ** 2


@check("units")
def test_normalize(submission: Submission) -> None:
    """`normalize` shifts images from [0, 1] to [−½, ½]."""
    x = torch.rand(3, 3, 8, 12)
    got = submission.object("normalize")(x)
    got = expect_tensor(got, x.shape, "`normalize(x)`")
    expect_close(got, x - 0.5, "`normalize(x)`", (x,), NORMALIZE_MISTAKES)


@check("units")
def test_data_variance(submission: Submission) -> None:
    """`data_variance` is the variance of all entries together, in the units the model sees."""
    x = photographs(20)
    got = submission.object("data_variance")(x)
    got = torch.tensor(got) if isinstance(got, float) else got
    got = expect_tensor(got, (), "`data_variance(x)`")
    expect_close(got, x.var(), "`data_variance(x)`", (x,), VARIANCE_MISTAKES)


# The quantizer


@check("nearest_code")
def test_nearest_code(submission: Submission) -> None:
    """Each place picks the nearest code vector, whatever H and W; `encodings` says which."""
    for shape in ((2, 4, 3, 5), (1, 3, 1, 2), (3, 2, 4, 1)):
        codebook = codebook_of(9, shape[1])
        z = maps(shape, codebook)
        answer = quantize(make_quantizer(submission, codebook), z)
        expect_encodings(answer, z, codebook)


@check("nearest_code")
def test_codebook_is_trained(submission: Submission) -> None:
    """The codebook is (K, D), holds different vectors, and is a trainable parameter."""
    quantizer = submission.new("VectorQuantizer", 7, 3, BETA)
    codebook = expect_tensor(
        quantizer.embedding.weight.value(), (7, 3), "The codebook, `embedding.weight`,"
    )
    expect(
        float(codebook.std(0).min()) > 0,
        "All code vectors start out the same: they could never part again.",
    )
    expect(
        "embedding.weight" in quantizer.parameters(),
        "The codebook is no trainable parameter: the optimizer will not find it.",
    )


@check("straight_through")
def test_quantized_is_code(submission: Submission) -> None:
    """`quantized` holds, at each place, the code vector that was picked there."""
    for shape in ((2, 4, 3, 5), (1, 3, 1, 2)):
        codebook = codebook_of(9, shape[1])
        z = maps(shape, codebook)
        answer = quantize(make_quantizer(submission, codebook), z)
        got = expect_tensor(answer.quantized, shape, "`quantized`")
        picked = answer.picked(codebook, z)
        expect(
            not torch.allclose(got, z.double(), atol=1e-5),
            "`quantized` has the values of z: value and gradient have changed places. Forward it "
            "is the code vector, and only backward it behaves like z.",
            "straight_through_reversed",
        )
        right, *others = layouts(picked, z)
        fits = [torch.allclose(got, layout, atol=1e-4) for layout in (right, *others)]
        rows_are_right = torch.equal(
            torch.as_tensor(answer.encodings).double(), encode(z, codebook)
        )
        # Rows that were cut wrongly fit together again in the same wrong way: one slip, not two.
        if fits[0] or (any(fits) and not rows_are_right):
            continue
        expect(
            not fits[1],
            "`quantized` holds the right code vectors in the wrong places: rows are (N, H, W, D), "
            "and a reshape to (N, D, H, W) moves no axis.",
            "not_permuted_back",
        )
        expect_close(got, right, "`quantized`")


@check("straight_through")
def test_gradient_passes_straight_through(submission: Submission) -> None:
    """Any gradient at `quantized` arrives at z as it is."""
    z, weights = places(8, 4).requires_grad_(), torch.randn(8, 4, 1, 1)
    answer = quantize(make_quantizer(submission, codebook_of(9, 4)), z)
    got = expect_tensor(answer.quantized, z.shape, "`quantized`")
    (grad,) = expect_grad(got * weights, {"z": z}, "`quantized`", "no_straight_through")
    expect(
        float(grad.abs().max()) > 0,
        "The gradient that reaches z from `quantized` is 0: copy it past the argmin.",
        "no_straight_through",
    )
    expect_close(grad, weights, "The gradient at z, for a known one at `quantized`,")


@check("straight_through")
def test_decoder_leaves_codebook(submission: Submission) -> None:
    """The gradient at `quantized` does not reach the codebook: only the codebook loss moves it."""
    z = places(8, 4).requires_grad_()
    quantizer = make_quantizer(submission, codebook_of(9, 4))
    got = expect_tensor(quantize(quantizer, z).quantized, z.shape, "`quantized`")
    if not got.requires_grad:
        return  # Said by the check above.
    got.sum().backward()
    grad = quantizer.embedding.weight.grad.value()
    expect(
        grad is None or float(torch.as_tensor(grad).abs().max()) == 0,
        "The decoder's gradient moves the code vectors too: it should pass them by and reach z "
        "alone.",
        "decoder_moves_codebook",
    )


# The loss


@check("vq_loss")
def test_vq_loss_value(submission: Submission) -> None:
    """The loss is (1 + β) times the mean of (z − e)², over all elements."""
    for n, dim, beta in ((12, 4, BETA), (1, 3, 2.0)):
        z, codebook = places(n, dim), codebook_of(9, dim)
        expect_loss(quantize(make_quantizer(submission, codebook, beta), z), z, codebook, beta)


@check("vq_loss")
def test_vq_loss_is_a_mean_over_places(submission: Submission) -> None:
    """The same holds with several places in an image."""
    # Each image is one constant: the order in which places and channels are cut can't matter.
    z = torch.randn(5, 1, 1, 1).expand(5, 4, 2, 3).contiguous()
    codebook = codebook_of(9, 4)
    expect_loss(quantize(make_quantizer(submission, codebook), z), z, codebook, BETA)


@check("vq_loss")
def test_pull_on_encoder(submission: Submission) -> None:
    """The loss pulls z towards its code vector, with weight β: its gradient is 2β (z − e) / n."""
    expect_pull(submission, 0, BETA, "The gradient of the loss at z, times n / 2,")


@check("vq_loss")
def test_pull_on_codebook(submission: Submission) -> None:
    """The loss pulls each code vector towards its z, with weight 1: 2 (e − z) / n, added up."""
    expect_pull(submission, 1, 1.0, "The gradient of the loss at the codebook, times n / 2,")


# Perplexity


USES = ((3, 1), (4,), (2, 2, 2, 2, 2), (7, 3, 1, 1))


@check("perplexity")
def test_perplexity(submission: Submission) -> None:
    """Two code vectors used 3 : 1 give 1.755, a single one 1, and K used alike K."""
    for uses in USES:
        codebook = codebook_of(5, 3)
        chosen = torch.repeat_interleave(torch.arange(len(uses)), torch.tensor(uses))
        z = codebook[chosen][:, :, None, None]
        answer = quantize(make_quantizer(submission, codebook), z)
        expect_perplexity(answer, z, codebook)


# Moving averages. ε is large here, so that smoothing shows.


GAMMA, EPSILON = 0.7, 0.5
EMA = "VectorQuantizerEMA"


def averaging(submission: Submission, codebook: torch.Tensor) -> RemoteObject:
    """Make a quantizer with moving averages."""
    return make_quantizer(submission, codebook, name=EMA, decay=GAMMA, epsilon=EPSILON)


def clusters() -> tuple[torch.Tensor, torch.Tensor]:
    """Make 60 single places and a codebook of 4, nearest to very unequal shares of them."""
    codebook = torch.eye(4, 3) * torch.tensor([1.0, 1.5, 2.0]) - 0.2
    chosen = torch.repeat_interleave(torch.arange(4), torch.tensor([30, 18, 9, 3]))
    return codebook[chosen][:, :, None, None] + 0.1 * places(60, 3), codebook


def batches(submission: Submission) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Make single places, then images of several, where the way that rows are cut matters."""
    yield clusters()
    # Other rows make other encodings: where these have failed, that is said already.
    if "nearest_code" not in submission.failed:
        codebook = codebook_of(4, 3)
        yield maps((2, 3, 3, 5), codebook), codebook


@check("ema")
def test_ema_buffers(submission: Submission) -> None:
    """`cluster_size` starts at zeros, `cluster_sum` as a copy of the codebook."""
    quantizer = submission.new(EMA, 7, 3, BETA)
    codebook = expect_tensor(quantizer.embedding.weight.value(), (7, 3), "`embedding.weight`")
    size = expect_tensor(quantizer.cluster_size.value(), (7,), "`cluster_size`")
    total = expect_tensor(quantizer.cluster_sum.value(), (7, 3), "`cluster_sum`")
    expect_close(size, torch.zeros(7), "`cluster_size` at the start")
    expect_close(total, codebook, "`cluster_sum` at the start")
    state = quantizer.state_dict()
    expect(
        {"cluster_size", "cluster_sum"} <= set(state),
        "`cluster_size` and `cluster_sum` are no buffers: they would not be saved with the model, "
        "nor move to another device with it.",
        "averages_not_buffers",
    )


@check("ema")
def test_ema_quantizes_first(submission: Submission) -> None:
    """A batch is quantized with the codebook as it was, and only then updates it."""
    for z, codebook in batches(submission):
        quantizer = averaging(submission, codebook)
        answer = quantize(quantizer, z)
        if "nearest_code" not in submission.failed:
            expect_encodings(answer, z, codebook)
        picked = answer.picked(codebook, z)
        moved = answer.picked(quantizer.embedding.weight.value(), z)
        if "straight_through" not in submission.failed:
            got = expect_tensor(answer.quantized, z.shape, "`quantized`")
            expect_order(to_rows(got), picked, moved, "`quantized` in training mode")
        expect_commitment(scalar(answer.loss, "`loss`"), z.double(), picked, moved)


def expect_commitment(
    got: torch.Tensor, z: torch.Tensor, picked: torch.Tensor, moved: torch.Tensor
) -> None:
    """Expect β times the commitment loss.

    Args:
        got: The loss, a scalar.
        z: What was quantized, (N, D, H, W).
        picked: The code vectors before the update, (N·H·W, D).
        moved: The same ones after it.
    """

    def commitment(rows: torch.Tensor, codes: torch.Tensor = picked) -> torch.Tensor:
        return BETA * mean_square(rows - codes)

    rows = to_rows(z)
    mistakes = (*EMA_LOSS_MISTAKES, *cut_wrongly(z, commitment))
    right, late = commitment(rows), commitment(rows, moved)
    expect_order(got, right, late, "The loss", (rows - picked, BETA), mistakes)


@check("ema")
def test_ema_gradients(submission: Submission) -> None:
    """The loss moves z alone, with 2β (z − e) / n, and a second step can follow."""
    z, codebook = clusters()
    quantizer = averaging(submission, codebook)
    for step in range(2):
        z = z.detach().requires_grad_()
        before = quantizer.embedding.weight.value()
        answer = quantize(quantizer, z)
        loss = scalar(answer.loss, "`loss`")
        (grad,) = expect_grad(loss, {"z": z}, "the loss", "commitment_detached")
        gap = to_rows(z.detach().double()) - answer.picked(before, z)
        got = to_rows(grad) * z.numel() / 2
        # A loss of 0 moves nothing for another reason.
        mistakes = EMA_PULL_MISTAKES if float(loss.detach()) > 0 else ()
        what = f"The gradient at z in step {step + 1}, times n / 2,"
        expect_close(got, BETA * gap, what, (gap, BETA), mistakes)
    expect(
        not isinstance(quantizer.embedding.weight.grad.value(), torch.Tensor),
        "A gradient reaches the codebook, and the optimizer would move it too: the averages alone "
        "should.",
        "ema_codebook_gets_gradient",
    )


@check("ema")
def test_ema_update(submission: Submission) -> None:
    """In training mode the codebook becomes averaged sums over smoothed averaged sizes."""
    for z, codebook in batches(submission):
        expect_updates(averaging(submission, codebook), z, codebook)


def expect_updates(quantizer: RemoteObject, z: torch.Tensor, codebook: torch.Tensor) -> None:
    """Expect the right codebook after one update, and after two."""
    rows = to_rows(z).double()
    answer = quantize(quantizer, z)
    answer.picked(codebook, z)
    encodings = torch.as_tensor(answer.encodings).detach().double()
    got = expect_tensor(quantizer.embedding.weight.value(), codebook.shape, "The new codebook")
    inputs = (codebook.double(), rows, encodings, GAMMA, EPSILON)
    cuts = cut_wrongly(z.double(), lambda rows: first_update(inputs[0], rows, *inputs[2:]))
    mistakes = (*EMA_MISTAKES, *cuts)
    expect_close(got, first_update(*inputs), "The new codebook", inputs, mistakes)

    # The second update: it goes on from the averages, whether sizes are kept smoothed or not.
    size, total = first_averages(*inputs[:4])
    again = torch.as_tensor(quantize(quantizer, z).encodings).double()
    total = GAMMA * total + (1 - GAMMA) * again.T @ rows
    rights = [
        total / smoothed(GAMMA * kept + (1 - GAMMA) * again.sum(0), EPSILON)[:, None]
        for kept in (size, smoothed(size, EPSILON))
    ]
    got = expect_tensor(quantizer.embedding.weight.value(), codebook.shape, "The new codebook")
    if not torch.allclose(got, rights[1], atol=1e-4):
        expect_close(got, rights[0], "The codebook after a second update")


@check("ema")
def test_ema_rests_in_eval(submission: Submission) -> None:
    """In eval mode nothing is updated."""
    z, codebook = clusters()
    quantizer = averaging(submission, codebook)
    quantizer.eval()
    quantize(quantizer, z)
    for name, before in (
        ("embedding.weight", codebook),
        ("cluster_sum", codebook),
        ("cluster_size", torch.zeros(4)),
    ):
        after = torch.as_tensor(quantizer.state_dict()[name])
        expect(
            torch.equal(after, before),
            f"`{name}` changes in eval mode too: test images would move the codebook.",
            "updates_in_eval",
        )


@check("ema")
def test_ema_quantizes_alike(submission: Submission) -> None:
    """Codes, output and perplexity are those of `VectorQuantizer`."""
    codebook, weights = codebook_of(9, 4), torch.randn(2, 4, 3, 5)
    z = maps((2, 4, 3, 5), codebook)
    quantizer = averaging(submission, codebook)
    quantizer.eval()
    z.requires_grad_()
    answer = quantize(quantizer, z)
    if "nearest_code" not in submission.failed:
        expect_encodings(answer, z.detach(), codebook)
        if "straight_through" not in submission.failed:
            got = expect_tensor(answer.quantized, z.shape, "`quantized`")
            right = to_maps(answer.picked(codebook, z), z)
            expect_close(got.detach(), right, "`quantized`")
            (grad,) = expect_grad(got * weights, {"z": z}, "`quantized`", "no_straight_through")
            expect_close(grad, weights, "The gradient at z, for a known one at `quantized`,")
    if "perplexity" not in submission.failed:
        expect_perplexity(answer, z.detach(), codebook)


# Residual blocks. With all weights at 0 a correction vanishes, and what is left is the way past it.


@check("residual")
def test_residual_adds_its_input(submission: Submission) -> None:
    """`Residual` is x + f(x): with f at 0, x comes out as it went in."""
    for shape in ((2, 6, 4, 7), (1, 6, 3, 3)):
        x = torch.randn(shape)
        block = with_weights(submission.new("Residual", 6, 6, 5), x, 0.0)
        got = expect_tensor(block(x), shape, "`Residual(...)(x)`")
        if torch.allclose(got, x.relu().double(), atol=1e-5):
            remark = (
                "Your `Residual` computes relu(x) + f(x): a ReLU that works in place overwrites x "
                "before it is added. It counts as right, since many use it so."
            )
            if remark not in submission.remarks:
                submission.remarks.append(remark)
            continue
        expect_close(got, x, "With f at 0, `Residual(...)(x)`", (x,), PAST)


@check("residual")
def test_residual_corrects(submission: Submission) -> None:
    """The correction f does something, and gradients pass around it."""
    x = torch.randn(2, 6, 4, 7).requires_grad_()
    block = with_weights(submission.new("Residual", 6, 6, 5), x, 0.5)
    got = expect_tensor(block(x), x.shape, "`Residual(...)(x)`")
    same = torch.allclose(got, x.double()) or torch.allclose(got, x.relu().double())
    expect(not same, "f has no effect: the block puts out its input, whatever its weights.")
    expect_grad(got, {"x": x}, "the block", "residual_detached")


@check("residual")
def test_stack_has_its_own_blocks(submission: Submission) -> None:
    """`ResidualStack` has as many blocks as it is told, each with weights of its own."""
    counts = []
    for layers in (1, 2, 3):
        stack = submission.new("ResidualStack", 6, 6, layers, 5)
        expect_tensor(stack(torch.randn(2, 6, 4, 7)), (2, 6, 4, 7), "`ResidualStack(...)(x)`")
        counts.append(sum(p.numel() for p in stack.parameters().values()))
    shown = f"1, 2 and 3 blocks have {counts[0]:,}, {counts[1]:,} and {counts[2]:,} parameters."
    expect(
        counts[0] > 0,
        "The stack has no trainable parameters: layers in a plain Python list are not found. Where "
        "does PyTorch look?",
        "layers_not_registered",
    )
    expect(
        len(set(counts)) > 1,
        f"{shown} Either there is always one block, or the same one several times: multiplying a "
        "list copies references.",
        "shared_layers",
    )
    expect(counts[2] - counts[1] == counts[1] - counts[0] > 0, shown)


@check("residual")
def test_stack_ends_in_relu(submission: Submission) -> None:
    """`ResidualStack` ends in a ReLU."""
    x = torch.randn(2, 6, 4, 7)
    # Without weights a block is x, or its positive part: the ReLU's output is the same.
    stack = with_weights(submission.new("ResidualStack", 6, 6, 2, 5), x, 0.0)
    got = expect_tensor(stack(x), x.shape, "`ResidualStack(...)(x)`")
    expect(
        not torch.allclose(got, x.double(), atol=1e-5),
        "`ResidualStack` puts out negative values: a ReLU belongs at its end.",
        "stack_without_relu",
    )


# Encoder and decoder


@check("encoder")
def test_encoder_shape(submission: Submission) -> None:
    """Images (N, C, H, W) become features (N, num_hiddens, H/4, W/4), square or not."""
    for shape in ((2, 3, 32, 32), (1, 3, 16, 24), (3, 1, 32, 16)):
        encoded(new_network(submission, "Encoder", shape[1]), torch.randn(shape))
    expect_layers_count(submission, "Encoder", 3)


@check("encoder")
def test_encoder_sees_the_image(submission: Submission) -> None:
    """Different images get different features, each by its own image alone."""
    encoder = new_network(submission, "Encoder", 3)
    x = 3 * torch.randn(4, 3, 16, 24)
    expect_own_rows(
        lambda rows: encoded(encoder, rows),
        x,
        "Every image gets the same features: is `x` used?",
        "The features of an image encoded",
    )
    x.requires_grad_()
    expect_grad(encoded(encoder, x), {"x": x}, "the features", "encoder_detached")


@check("decoder")
def test_decoder_shape(submission: Submission) -> None:
    """Places (N, D, H/4, W/4) become colour images (N, 3, H, W), square or not."""
    for shape in ((2, 5, 8, 8), (1, 5, 4, 6), (3, 2, 8, 4)):
        decoded(new_network(submission, "Decoder", shape[1]), torch.randn(shape))
    expect_layers_count(submission, "Decoder", 3)


@check("decoder")
def test_decoder_range(submission: Submission) -> None:
    """Decoded pixels can be dark as well as bright: −½ and ½ are within reach."""
    pixels = decoded(new_network(submission, "Decoder", 5), 1e3 * torch.randn(8, 5, 8, 8))
    low, high = float(pixels.min()), float(pixels.max())
    expect(
        low < 0,
        f"Decoded pixels run from {low:.3g} to {high:.3g}, and are never negative; the images lie "
        "between −½ and ½. What does your last layer allow?",
        "output_never_negative",
    )
    expect(
        low < -0.45 and high > 0.45,
        f"Decoded pixels stay between {low:.2f} and {high:.2f}, however extreme the code: black or "
        "white is out of reach.",
        "output_range",
    )


@check("decoder")
def test_decoder_uses_the_code(submission: Submission) -> None:
    """Another code gives another image, and each image depends on its own code alone."""
    decoder = new_network(submission, "Decoder", 5)
    z = torch.randn(4, 5, 4, 6)
    expect_own_rows(
        lambda rows: decoded(decoder, rows),
        z,
        "Every code gives the same image: is `quantized` used?",
        "A code decoded",
    )
    z.requires_grad_()
    expect_grad(decoded(decoder, z), {"quantized": z}, "the image", "decoder_detached")


# The whole model, with known linear maps in the place of its parts


def new_model(submission: Submission, beta: float = BETA, decay: float = 0) -> RemoteObject:
    """Make a small model."""
    return submission.new("Model", 8, 1, 4, 6, 2, beta, decay)


def cannot_run(submission: Submission, *parts: str) -> bool:
    """Say whether a part has failed, so that the model can't be judged with its own ones."""
    if not set(parts) & submission.failed:
        return False
    if "model" in submission.failed:
        raise CheckFailed(NOT_STARTED, todo=True)
    return True


MODEL_MISTAKES = (
    Mistake(
        "decodes_unquantized",
        "`forward` decodes the encoder's output itself: the decoder should see what the quantizer "
        "made of it, and nothing else.",
        lambda z, by, decode: decode(z),
    ),
    Mistake(
        "squashed",
        "`forward` applies a sigmoid to what the decoder gives: negative pixels are out of reach.",
        lambda z, by, decode: decode(z @ by).sigmoid(),
    ),
)


@check("model")
def test_model_wiring(submission: Submission) -> None:
    """`forward` encodes, quantizes and decodes, and returns (loss, x_recon, perplexity)."""
    try:
        model = new_model(submission)
        broken = bool({"encoder", "residual"} & submission.failed)
    except Raised:
        model, broken = submission.bare("Model"), True
    if broken:
        model.plug("encoder", Affine([torch.randn(192, 8) / 14], (2, 2, 2)))
    by, used, pixels = torch.randn(8, 8), torch.randn(8), torch.randn(8, 192)
    # The first output is z itself: so it can be read off where the loss should be.
    outputs = (Affine([torch.eye(8)]), Affine([by], (2, 2, 2)), Affine([used]), Affine([by]))
    model.plug("vq_vae", *outputs)
    model.plug("decoder", Affine([pixels], (3, 8, 8)))

    def decode(z: torch.Tensor) -> torch.Tensor:
        return (z.double() @ pixels.double()).unflatten(1, (3, 8, 8))

    for n, mode in ((5, model.train), (5, model.eval), (1, model.eval)):
        mode()
        x = torch.randn(n, 3, 8, 8).requires_grad_()
        got = model(x)
        expect(
            isinstance(got, tuple) and len(got) == 3,
            "`forward` should return the three values (loss, x_recon, perplexity), got "
            f"{kind(got)}.",
        )
        expect(
            not isinstance(got[0], torch.Tensor) or got[0].shape != (n, 3, 8, 8),
            "`forward` returns the reconstruction first; the order is (loss, x_recon, perplexity).",
            "outputs_swapped",
        )
        expect(
            isinstance(got[0], torch.Tensor) and got[0].shape == (n, 8),
            "`loss` should be just what the quantizer gives as its loss; the reconstruction's part "
            "is added in the training step.",
            "loss_not_the_quantizers",
        )
        z = got[0].double()
        x_recon = expect_tensor(got[1], (n, 3, 8, 8), "`x_recon`")
        right = decode(z.detach() @ by.double())
        inputs = (z.detach(), by.double(), decode)
        expect_close(x_recon.detach(), right, "`x_recon`", inputs, MODEL_MISTAKES)
        share = expect_tensor(got[2], (n,), "`perplexity`, for a quantizer that gives one per row,")
        expect_close(share.detach(), z.detach() @ used.double(), "`perplexity`")
        expect_grad(x_recon, {"x": x}, "`x_recon`", "encoder_detached")


@check("model")
def test_model_passes_its_sizes_on(submission: Submission) -> None:
    """K, D, β and decay reach the quantizer, and `decay > 0` chooses moving averages."""
    if cannot_run(submission, "encoder", "residual"):
        return
    for decay, name in ((0, "VectorQuantizer"), (0.9, EMA)):
        model = new_model(submission, decay=decay)
        codebook = model.vq_vae.embedding.weight.value()
        expect_tensor(codebook, (6, 2), "The model's codebook, for K = 6 and D = 2,")
        kept = "cluster_size" in saved_names(model)
        expect(
            kept == (decay > 0),
            f"With decay = {decay}, `vq_vae` should be a `{name}`.",
            "decay_ignored",
        )
        if {"nearest_code", "straight_through", "vq_loss", "ema"} & submission.failed:
            continue
        other = new_model(submission, beta=3 * BETA, decay=decay)
        other.load_state_dict(model.state_dict())
        x = torch.randn(3, 3, 16, 8)
        losses = []
        for one in (model, other):
            one.eval()
            losses.append(scalar(one(x)[0], "`loss`"))
        # The codebook loss, where there is one, doesn't follow β.
        own = 0.0 if decay else 1.0
        ratio = torch.tensor((own + 3 * BETA) / (own + BETA))
        expect(
            not torch.equal(losses[0], losses[1]),
            "Another `commitment_cost` leaves the loss as it is: is it passed on to the quantizer?",
            "commitment_not_passed",
        )
        expect_close(losses[1] / losses[0], ratio, "The loss for 3β over that for β")
        if decay:
            model.train()
            model(x)
            size = torch.as_tensor(model.vq_vae.cluster_size.value()).double().sum()
            expect_close(
                size,
                torch.tensor((1 - decay) * 3 * 4 * 2),
                "The sum of `cluster_size` after one batch: is `decay` passed on? It",
            )


def saved_names(model: RemoteObject) -> set[str]:
    """Name what the model's quantizer saves."""
    return set(model.vq_vae.state_dict())


@check("model")
def test_model_on_images(submission: Submission) -> None:
    """Images of any size in multiples of 4 come back in their own size, one alone included."""
    if cannot_run(submission, "encoder", "residual", "decoder", "nearest_code", "straight_through"):
        return
    for decay in (0, 0.9):
        model = new_model(submission, decay=decay)
        model.eval()
        for shape in ((2, 3, 32, 32), (1, 3, 16, 24)):
            loss, x_recon, used = model(torch.randn(shape))
            expect_tensor(x_recon, shape, "`x_recon`")
            for value, name in ((loss, "vq_loss"), (used, "perplexity")):
                if name not in submission.failed:
                    scalar(value, f"The model's {name.replace('vq_', '')}")


# Training


IN_USE = 4.0


def codebook_and_places(model: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Find a trained model's codebook, and what its encoder gives to the quantizer."""
    if isinstance(model, RemoteObject):
        codebook, given = model.vq_vae.embedding.weight.value(), model.given("vq_vae", x)
        z = given[0] if isinstance(given, tuple) and given else given
    else:
        part = model.vq_vae
        weight = part.remote.embedding.weight if isinstance(part, RemotePart) else None
        codebook = weight.value() if weight is not None else part.embedding.weight.detach()
        z = model.encoder(x)
    shape = (len(x), codebook.shape[1], x.shape[2] // 4, x.shape[3] // 4)
    return codebook, expect_tensor(z, shape, "What the quantizer is given").float()


def error_through_the_codebook(model: Any, x: torch.Tensor) -> torch.Tensor:
    """The reconstruction loss when indices alone pass to the decoder; expects enough of them."""
    x = x - 0.5
    codebook, z = codebook_and_places(model, x)
    indices = nearest(to_rows(z), codebook)
    x_recon = model.decoder(to_maps(codebook[indices], z).contiguous())
    used = float(perplexity(torch.nn.functional.one_hot(indices, len(codebook))))
    expect(
        used > IN_USE,
        f"Only {used:.1f} code vectors are in use, in effect (perplexity, over {len(x):,} images); "
        f"it should be more than {IN_USE:g}. Are there enough of them, and of the same size as the "
        "encoder's outputs?",
        "codebook_collapsed",
    )
    x_recon = expect_tensor(x_recon, x.shape, "`x_recon`")
    return (x_recon.float() - x).pow(2).mean() / x.var()


PLAN = Plan(
    model="Model",
    data="photo_patches",
    images=2000,
    epochs=15,
    below=0.15,
    unit="of the data's variance",
    batch=lambda x, labels: (x - 0.5, x.var().expand(len(x), 1, 1, 1)),
    loss=lambda batch, x_recon: ((x_recon - batch[0]) ** 2 / batch[1]).mean(),
    confirm=error_through_the_codebook,
    sizes=(
        "num_hiddens",
        "num_residual_layers",
        "num_residual_hiddens",
        "num_embeddings",
        "embedding_dim",
        "commitment_cost",
        "decay",
    ),
    confirmed="With each place replaced by the grader's own pick from your codebook, and decoded",
    digits=3,
    data_full="cifar10",
    headline=0.056,
    remark=(
        "0.056 is the published example's, after 10,000 updates of 32 images of CIFAR-10, with 128 "
        "channels and 512 vectors of 64. The row above is the notebook's small model (32 channels, "
        "64 vectors of 4) on the colour images that the machine had; `headlines.md` has the "
        "published sizes."
    ),
)


@check("training")
def test_training(submission: Submission) -> None:
    """Trained from scratch, the loss falls below 0.15 in 15 epochs, with over 4 codes in use."""
    cost = submission.value("commitment_cost")
    if not isinstance(cost, int | float):
        raise CheckFailed("`commitment_cost` is not filled in yet.", todo=True)
    expect(
        cost > 0,
        "`commitment_cost` is 0: hand in a model that is trained with the commitment loss, and "
        "keep the one without it for the comparison.",
        "no_commitment",
    )
    expect_trained(submission, TASKS, PLAN)

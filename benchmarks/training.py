"""A training epoch, compared with its matrix products; sampling by rows and in one call."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.measure import Row, in_turn, in_words, ratio
from benchmarks.vae import HIDDEN, PIXELS, FcVae, train_step
from vae_utils import load_dataset, make_adam, make_loader, seed_everything

BATCH_SIZE, LATENT_DIM, ROUNDS = 128, 32, 7
Loop = Callable[[], None]


def measure() -> list[Row]:
    """Return the rows of the epochs and of the sampling."""
    return [*compare_with_products(), sampling_by_rows()]


def compare_with_products() -> list[Row]:
    """Measure an epoch of the 784-400-32 VAE in three ways, and its matrix products."""
    variants: dict[str, tuple[Callable[..., torch.optim.Optimizer], bool]] = {
        "plain Adam": (torch.optim.Adam, False),
        "make_adam (fused)": (make_adam, False),
        "make_adam, bf16 autocast": (make_adam, True),
    }
    losses: dict[str, list[float]] = {name: [] for name in variants}
    loops: dict[str, Loop] = {"products": products}
    for name, (make_optimizer, bfloat16) in variants.items():
        loops[name] = epoch_loop(make_optimizer, bfloat16, losses[name])
    seconds = in_turn(loops, ROUNDS)
    return [
        Row(
            f"epoch of the 784-400-32 VAE, {name} / its matrix products",
            ratio(seconds[name], seconds["products"]),
            target=2.3 if name == "make_adam (fused)" else None,
            note=f"{in_words(seconds[name])} / {in_words(seconds['products'])}; "
            f"training loss after {len(losses[name])} epochs {losses[name][-1]:.1f}",
        )
        for name in variants
    ]


def epoch_loop(make_optimizer: Callable[..., torch.optim.Optimizer], bf16: bool, out: list) -> Loop:
    """Return a function that trains for one epoch and appends the mean loss to `out`."""
    seed_everything(0)
    model = FcVae(LATENT_DIM)
    optimizer = make_optimizer(model.parameters(), lr=1e-3)
    loader = make_loader(load_dataset("mnist", quiet=True), BATCH_SIZE, drop_last=True)

    def epoch() -> None:
        total = torch.zeros(())
        for x, _ in loader:
            total += train_step(model, optimizer, x, bf16)
        out.append(float(total) / len(loader))

    return epoch


def products(steps: int = 9000 // BATCH_SIZE) -> None:
    """Compute a step's products: forward, weight gradients, all input gradients but the first."""
    sizes = [(PIXELS, HIDDEN), (HIDDEN, 2 * LATENT_DIM), (LATENT_DIM, HIDDEN), (HIDDEN, PIXELS)]
    layers = [
        (torch.ones(BATCH_SIZE, n_in), torch.ones(n_out, n_in), torch.ones(BATCH_SIZE, n_out))
        for n_in, n_out in sizes
    ]
    for _ in range(steps):
        for index, (x, weight, gradient) in enumerate(layers):
            x @ weight.T
            gradient.T @ x
            if index > 0:
                gradient @ weight


def sampling_by_rows() -> Row:
    """Measure sampling z row by row, as in one of the course's sources, and in one call."""
    mu, logsigma = torch.zeros(BATCH_SIZE, LATENT_DIM), torch.zeros(BATCH_SIZE, LATENT_DIM)

    def by_rows() -> Tensor:
        z = torch.empty(BATCH_SIZE, LATENT_DIM)
        for row in z:
            row.normal_(0.0, 1.0)
        return mu + z * torch.exp(logsigma)

    def at_once() -> Tensor:
        return mu + torch.randn_like(mu) * torch.exp(logsigma)

    seconds = in_turn(
        {
            "rows": lambda: [by_rows() for _ in range(50)],
            "once": lambda: [at_once() for _ in range(50)],
        },
        ROUNDS,
    )
    return Row(
        "reparameterized sample of 128×32, row by row / in one call",
        ratio(seconds["rows"], seconds["once"]),
        note=f"{in_words(seconds['rows'])} / {in_words(seconds['once'])} for 50 batches",
    )

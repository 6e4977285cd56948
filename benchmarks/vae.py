"""The fully connected VAE of the benchmarks: 784-400-Z-400-784."""

import contextlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIXELS, HIDDEN = 784, 400


class FcVae(nn.Module):
    """A VAE with two hidden layers, of the size in the course.

    Args:
        latent_dim: Number of latents, Z.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, HIDDEN), nn.ReLU())
        self.mu_layer = nn.Linear(HIDDEN, latent_dim)
        self.logvar_layer = nn.Linear(HIDDEN, latent_dim)
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return x_hat (N, 784), and mu and logvar (N, Z), of a batch."""
        h = self.encoder(x)
        mu, logvar = self.mu_layer(h), self.logvar_layer(h)
        return self.decoder(mu + torch.exp(logvar / 2) * torch.randn_like(mu)), mu, logvar


def train_step(
    model: FcVae, optimizer: torch.optim.Optimizer, x: Tensor, bfloat16: bool = False
) -> Tensor:
    """Do one training step. Return the loss: the mean of −ELBO over the batch, in nats."""
    autocast = torch.autocast("cpu", torch.bfloat16) if bfloat16 else contextlib.nullcontext()
    with autocast:
        x_hat, mu, logvar = (part.float() for part in model(x))
    bce = F.binary_cross_entropy(x_hat, x.flatten(1), reduction="sum")
    kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum()
    loss = (bce + kl) / len(x)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()

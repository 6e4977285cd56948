"""The fully connected VAE that is timed: 784-400-Z and back."""

import contextlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIXELS, HIDDEN = 784, 400


class FcVae(nn.Module):
    """A VAE of two hidden layers, as small as the course's own.

    Args:
        latent_dim: Z.
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
        """Return x_hat, mu and logvar of a batch."""
        h = self.encoder(x)
        mu, logvar = self.mu_layer(h), self.logvar_layer(h)
        return self.decoder(mu + torch.exp(logvar / 2) * torch.randn_like(mu)), mu, logvar


def train_step(
    model: FcVae, optimizer: torch.optim.Optimizer, x: Tensor, bfloat16: bool = False
) -> Tensor:
    """Take one step of training; return the loss, the mean of −ELBO over the batch."""
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

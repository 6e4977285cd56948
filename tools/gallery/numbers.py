"""The numbers of the gallery: metrics of the trained models, with the code that computes them."""

import torch

from tools.gallery.figures import add_entry
from tools.gallery.models import Trained
from vae_utils import (
    VaeView,
    active_units,
    codebook_perplexity,
    collect_codes,
    collect_posterior,
    evaluate_elbo,
    importance_weighted_bound,
    kl_per_dimension,
    linear_probe_accuracy,
    make_loader,
    reconstruction_error,
)


@add_entry("Numbers")
def elbo(t: Trained) -> str:
    """The ELBO of the VAE with 15 latents and its two terms, on the test digits."""
    view = VaeView(t.vae.encoder, t.vae.decoder)
    return str(evaluate_elbo(view, make_loader((t.images, t.labels)), samples=5))


@add_entry("Numbers")
def bounds(t: Trained) -> str:
    """The importance-weighted bound on log p(x) is tighter with more samples per image."""
    view = VaeView(t.vae.encoder, t.vae.decoder)
    loader = make_loader((t.images[:200], t.labels[:200]))
    values = {k: importance_weighted_bound(view, loader, k) for k in (1, 10, 100)}
    return "\n".join(f"k = {k:3}: {value:.2f} nats" for k, value in values.items())


@add_entry("Numbers")
def latents(t: Trained) -> str:
    """How many latents the VAE uses, and the KL of all latents."""
    view = VaeView(t.vae.encoder, t.vae.decoder)
    posterior = collect_posterior(view, make_loader((t.images, t.labels)))
    kl = kl_per_dimension(posterior.mu, posterior.sigma).sum()
    return f"{active_units(posterior.mu).sum()} of 15 latents active, KL {kl:.2f} nats"


@add_entry("Numbers")
def linear_probe(t: Trained) -> str:
    """The accuracy of a linear classifier that gets only the posterior means."""
    codes = collect_codes(t.vae.encoder, make_loader((t.train_images, t.train_labels)))
    test_codes = collect_codes(t.vae.encoder, make_loader((t.images, t.labels)))
    return f"accuracy {linear_probe_accuracy(*codes, *test_codes):.1%}"


@add_entry("Numbers")
def vq_error(t: Trained) -> str:
    """The reconstruction error of the VQ-VAE, and the effective number of code vectors."""
    error = reconstruction_error(t.vq.reconstruct, make_loader((t.images, t.labels)))
    with torch.no_grad():
        indices = t.vq.nearest(t.vq.encoder(t.images))
    perplexity = codebook_perplexity(indices, num_embeddings=64)
    return f"mean squared error {error:.4f} per pixel, perplexity {perplexity:.1f} of 64"

"""The figures of the gallery: what each is drawn from, and what is to be seen in it.

A function's docstring is its caption, its last statement the code that the page shows.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure

from tools.gallery.models import Trained, noisy, quarter
from vae_utils import plots
from vae_utils.data import load_dataset, make_loader

Draw = Callable[[Trained], Figure]


@dataclass(frozen=True)
class Entry:
    """One figure of the gallery.

    Attributes:
        section: the heading that it stands under.
        draw: draws it from the trained models.
    """

    section: str
    draw: Draw

    @property
    def name(self) -> str:
        """The name of its file, without the ending."""
        return self.draw.__name__


ENTRIES: list[Entry] = []


def _entry(section: str) -> Callable[[Draw], Draw]:
    """Add a figure to the gallery, in the order of this file."""

    def add(draw: Draw) -> Draw:
        ENTRIES.append(Entry(section, draw))
        return draw

    return add


@_entry("Data and training")
def samples(t: Trained) -> Figure:
    """Digits of the test set with their labels."""
    return plots.plot_samples(t.images, t.labels, title="MNIST, test digits")


@_entry("Data and training")
def samples_fashion(t: Trained) -> Figure:
    """Labels can have names."""
    clothes = load_dataset("fashion_mnist", train=False, source="embedded", quiet=True)
    return plots.plot_samples(
        clothes.images, clothes.labels, n=20, title="Fashion-MNIST", class_names=clothes.classes
    )


@_entry("Data and training")
def samples_with_nan(t: Trained) -> Figure:
    """What is wrong with images shows: NaNs in magenta, values outside [0, 1] in the title."""
    broken = 1.3 * t.images[:10]
    broken[2, :, 8:12] = torch.nan
    return plots.plot_samples(broken, title="Images that are not in [0, 1]")


@_entry("Data and training")
def losses(t: Trained) -> Figure:
    """The KL rises while the reconstruction falls; validation is dashed, in its term's colour."""
    return plots.plot_losses(
        t.history, threshold=120, title="VAE with 15 latents", y_label="nats per image"
    )


@_entry("Reconstructions")
def reconstructions(t: Trained) -> Figure:
    """What a denoising network makes of digits under noise of standard deviation 0.5."""
    seen = noisy(t.images)
    with torch.no_grad():
        cleaned = t.denoiser(seen)
    return plots.plot_reconstructions(
        {"clean": t.images, "noisy": seen, "denoised": cleaned}, title="Denoising"
    )


@_entry("Reconstructions")
def variations(t: Trained) -> Figure:
    """Draws from one image's posterior: nearly the same at its own variance, others at 20 times."""
    mu, logvar = t.vae.encoder(t.images[1:2])
    return plots.plot_variations(t.vae.decoder, mu, logvar, scales=(1, 20), original=t.images[1])


@_entry("Reconstructions")
def prior_samples(t: Trained) -> Figure:
    """What the model generates on its own."""
    return plots.plot_prior_samples(t.vae.decoder, latent_dim=15)


@_entry("The latent plane")
def latent_space(t: Trained) -> Figure:
    """Posterior means of a VAE with two latents, by class."""
    mu, _ = t.plane.encoder(t.train_images)
    return plots.plot_latent_space(mu, t.train_labels)


@_entry("The latent plane")
def latent_space_images(t: Trained) -> Figure:
    """The same plane, decoded: each image lies where its code does."""
    mu, _ = t.plane.encoder(t.train_images)
    return plots.plot_latent_space_images(t.plane.decoder, plots.latent_extent(mu))


@_entry("The latent plane")
def manifold(t: Trained) -> Figure:
    """The plane at evenly spaced quantiles of the prior: as dense as the model's own samples."""
    return plots.plot_manifold(t.plane.decoder, latent_dim=2)


@_entry("The latent plane")
def perturbation_strip(t: Trained) -> Figure:
    """One latent changed from its 5 % to its 95 % quantile, the others 0."""
    return plots.plot_perturbation_strip(t.plane.decoder, latent_dim=2, dim=0)


@_entry("The latent plane")
def marginal(t: Trained) -> Figure:
    """Samples of all posteriors counted in the plane, with the circles of the prior over them."""
    mu, logvar = t.plane.encoder(t.train_images)
    z = mu + torch.exp(logvar / 2) * torch.randn_like(mu)
    return plots.plot_marginal(z, dims=(0, 1))


@_entry("Many latents")
def embeddings_tsne(t: Trained) -> Figure:
    """Means of 15 latents by t-SNE: neighbours stay together, distances mean nothing."""
    mu, _ = t.vae.encoder(t.images)
    return plots.plot_embeddings(mu, t.labels, method="tsne", title="Posterior means")


@_entry("Many latents")
def embeddings_pca(t: Trained) -> Figure:
    """The same means by PCA: distances are kept, classes overlap."""
    mu, _ = t.vae.encoder(t.images)
    return plots.plot_embeddings(mu, t.labels, method="pca", title="Posterior means")


@_entry("Many latents")
def kl_per_dimension(t: Trained) -> Figure:
    """Which latents the model uses, and what each costs."""
    return plots.plot_kl_per_dimension(*t.vae.encoder(t.images))


@_entry("Many latents")
def posterior_vs_prior(t: Trained) -> Figure:
    """All posteriors together, against the prior that the decoder will be asked with."""
    return plots.plot_posterior_vs_prior(*t.vae.encoder(t.images))


@_entry("Many latents")
def dimension_traversals(t: Trained) -> Figure:
    """One image's code, one latent changed at a time."""
    mu, _ = t.vae.encoder(t.images[:1])
    return plots.plot_dimension_traversals(t.vae.decoder, mu, dims=range(6))


@_entry("Many latents")
def traversals(t: Trained) -> Figure:
    """From one digit to another, straight and along the arc."""
    mu, _ = t.vae.encoder(t.images)
    return plots.plot_traversals(t.vae.decoder, mu[:3], mu[3:6], path="both")


@_entry("Many latents")
def explore(t: Trained) -> Figure:
    """In a live notebook these are sliders; headless, a strip for each of them."""
    return plots.explore_latent_space(t.vae.decoder, latent_dim=15, dims=[0, 1, 2])


@_entry("Conditions")
def class_conditional(t: Trained) -> Figure:
    """Each digit on demand; a row shares its z, and with it its style."""
    return plots.plot_class_conditional(t.by_class.decoder, latent_dim=5)


@_entry("Conditions")
def quarter_completions(t: Trained) -> Figure:
    """From a quarter of the digit: one answer of the baseline, several of the conditional VAE."""
    given = quarter(t.images[:6])
    z = torch.randn(6, 5, 5)
    with torch.no_grad():
        guess = t.baseline(given)
        drawn = torch.stack([t.by_quarter.decoder(z[:, s], given) for s in range(5)], dim=1)
    return plots.plot_quarter_completions(given, guess, drawn, t.images[:6])


@_entry("Codebooks")
def vq_reconstructions(t: Trained) -> Figure:
    """Digits through 49 places of a codebook of 64 vectors."""
    with torch.no_grad():
        rebuilt = t.vq.reconstruct(t.images[:10])
    return plots.plot_reconstructions(
        {"input": t.images[:10], "VQ-VAE": rebuilt}, title="Through a codebook"
    )


@_entry("Codebooks")
def codebook(t: Trained) -> Figure:
    """The code vectors by how often they are used, over what the encoder gives."""
    with torch.no_grad():
        outputs = t.vq.encoder(t.images)
        indices = t.vq.nearest(outputs)
    return plots.plot_codebook(t.vq.codebook, indices, outputs=outputs)


@_entry("Under the names of the ELBO assignment")
def visualize_mnist(t: Trained) -> Figure:
    """A loader's next batch."""
    digits = load_dataset("mnist", source="embedded", quiet=True)
    return plots.visualize_mnist(make_loader(digits))


@_entry("Under the names of the ELBO assignment")
def visualize_samples(t: Trained) -> Figure:
    """Draws of the Bernoulli likelihood: each pixel is 0 or 1."""
    return plots.visualize_samples(t.vae)


@_entry("Under the names of the ELBO assignment")
def visualize_embeddings(t: Trained) -> Figure:
    """A batch's posterior means by t-SNE."""
    return plots.visualize_embeddings(t.vae, t.images[:500], t.labels[:500])

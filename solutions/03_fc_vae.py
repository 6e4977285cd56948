# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 03 · A variational autoencoder
#
# *Difficulty: ●●●○○ · about 90 minutes · 100 points*
#
# An autoencoder learns a code for each image, but says nothing about the codes in between: decode
# one of those and you get mush. A **variational** autoencoder fixes this. Its encoder answers with
# a small Gaussian cloud instead of a point, and the clouds of all images together are asked to
# fill a standard normal. Afterwards you can draw a code from that normal, decode it, and get a
# digit that nobody ever wrote.
#
# You will build it from fully connected layers, train it in under a minute, and look at what the
# clouds know.
#
# | what counts | limit |
# | --- | --- |
# | trainable parameters | at most 1.5 million |
# | training loss, in nats per image | below 120 within 10 epochs |
# | latent size Z | 12 to 18 works well |
#
# **How to work.** Fill in each `TODO`, run the cell, then run the `check` below it: it tells you
# what holds and what doesn't. Cells without a `TODO` are complete. You may add cells of your own
# anywhere.

# %% setup="imports"
import torch
import torch.nn.functional as F
from torch import nn

from autograder import notebook_checks
from vae_utils import (
    count_parameters,
    load_dataset,
    make_loader,
    model_summary,
    plot_embeddings,
    plot_losses,
    plot_reconstructions,
    plot_samples,
    plot_variations,
    progress,
    seed_everything,
)

check = notebook_checks("03_fc_vae")

# %% [markdown]
# ## The data
#
# MNIST: grey 28 × 28 digits with values in [0, 1]. A small part of it comes with the course; set
# `source = "full"` for all 60,000 (they are downloaded once).

# %% run="data"
seed_everything(0)
source = "auto"
train_set = load_dataset("mnist", source=source)
test_set = load_dataset("mnist", train=False, source=source)
plot_samples(train_set.images, train_set.labels, title="MNIST, as the model sees it")

# %% [markdown]
# ## The model
#
# For an image $x$, the **encoder** gives the mean $\mu$ and the log-variance $\log\sigma^2$ of a
# Gaussian over codes,
#
# $$q_\phi(z \mid x) = \mathcal{N}\big(z;\ \mu,\ \mathrm{diag}(\sigma^2)\big),$$
#
# and the **decoder** turns a code $z$ into the probability of white for each pixel,
# $p_\theta(x \mid z)$. The log-variance may have any sign, which is why the layer puts out
# $\log\sigma^2$ and not $\sigma^2$.
#
# **Reparameterization.** A random draw has no gradient. Write it as a fixed draw that is shifted
# and stretched, and it has one (Kingma & Welling 2014, section 2.4):
#
# $$z = \mu + \sigma \odot \varepsilon, \qquad \varepsilon \sim \mathcal{N}(0, I).$$
#
# **The loss** is the negative evidence lower bound (Kingma & Welling 2014, equation 3), averaged
# over the images of a batch, with the prior $p(z) = \mathcal{N}(0, I)$:
#
# $$\frac{1}{N} \sum_{n=1}^{N} \Big[
# \underbrace{-\log p_\theta(x_n \mid z_n)}_{\text{BCE, summed over pixels}} +
# \underbrace{D_{KL}\big(q_\phi(z \mid x_n)\,\|\,p(z)\big)}_{\text{summed over latents}}
# \Big].$$
#
# For two Gaussians the second term has a closed form (the same paper, appendix B):
#
# $$D_{KL} = -\tfrac12 \sum_{j=1}^{Z} \big(1 + \log\sigma_j^2 - \mu_j^2 - \sigma_j^2\big).$$
#
# <details><summary>A hint for each TODO</summary>
#
# - **encoder**: `nn.Sequential` of `nn.Linear` and an activation, from 784 to `hidden_dim`. The two
#   heads are plain `nn.Linear` layers: an activation there would forbid values that you need.
# - **decoder**: the way back. Which activation keeps the output in [0, 1]? `nn.Unflatten(1, ...)`
#   gives rows the shape of images.
# - **reparameterize**: how do you get from log σ² to σ? One ε for *each* number in z.
# - **loss_function**: `F.binary_cross_entropy` averages unless told otherwise. Work out the KL of
#   one code with μ = 2 and σ = 1 by hand: it is 2.
# </details>


# %% solution="my_vae"
class myVAE(nn.Module):
    """A fully connected variational autoencoder for 28 × 28 images.

    Every layer has weights of its own.

    Args:
        hidden_dim: Number of hidden features, H.
        latent_dim: Size of the latent code, Z.
        conditional_vec_dim: Stays 0 here; the next assignment uses it.

    Attributes:
        encoder: Maps image rows (N, 784) to hidden features (N, H).
        mu_layer: Maps hidden features to means, (N, Z).
        logvar_layer: Maps hidden features to log-variances log σ², (N, Z).
        decoder: Maps codes (N, Z) to images (N, 1, 28, 28) with values in [0, 1].
    """

    def __init__(self, hidden_dim, latent_dim, conditional_vec_dim=0):
        super().__init__()
        self.latent_dim = latent_dim

        # TODO encoder: an nn.Sequential, and one linear layer each for mu and logvar.
        ### BEGIN SOLUTION
        self.encoder = nn.Sequential(nn.Linear(28 * 28, hidden_dim), nn.ReLU())
        self.mu_layer = nn.Linear(hidden_dim, latent_dim)
        self.logvar_layer = nn.Linear(hidden_dim, latent_dim)
        ### END SOLUTION

        # TODO decoder: an nn.Sequential that ends in images.
        ### BEGIN SOLUTION
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, 28 * 28),
            nn.Sigmoid(),
            nn.Unflatten(1, (1, 28, 28)),
        )
        ### END SOLUTION

    def reparameterize(self, mu, logvar):
        """Draw z from N(mu, exp(logvar)) so that gradients reach mu and logvar.

        Args:
            mu: Means, (N, Z).
            logvar: Log-variances log σ², (N, Z).

        Returns:
            One code for each row, (N, Z), on mu's device.
        """
        # TODO reparameterize
        ### BEGIN SOLUTION
        sigma = torch.exp(0.5 * logvar)
        return mu + sigma * torch.randn_like(sigma)
        ### END SOLUTION

    def forward(self, x, c=None):
        """Encode, draw a code, decode.

        Calls `self.encoder`, `self.mu_layer`, `self.logvar_layer`, `self.reparameterize` and
        `self.decoder`.

        Args:
            x: Images, (N, 1, 28, 28), in [0, 1].
            c: Stays None here.

        Returns:
            The tuple (x_hat, mu, logvar): reconstructions (N, 1, 28, 28), means (N, Z),
            log-variances (N, Z).
        """
        # TODO forward
        ### BEGIN SOLUTION
        hidden = self.encoder(x.flatten(1))
        mu, logvar = self.mu_layer(hidden), self.logvar_layer(hidden)
        z = self.reparameterize(mu, logvar)
        return self.decoder(z), mu, logvar
        ### END SOLUTION

    def loss_function(self, x_hat, x, mu, logvar):
        """The negative ELBO in nats, averaged over the images of the batch.

        Args:
            x_hat: Reconstructions in [0, 1], (N, 1, 28, 28).
            x: Images in [0, 1], (N, 1, 28, 28).
            mu: Means, (N, Z).
            logvar: Log-variances log σ², (N, Z).

        Returns:
            A scalar: BCE summed over pixels plus KL summed over latents, averaged over images.
        """
        # TODO loss_function
        ### BEGIN SOLUTION
        recon = F.binary_cross_entropy(x_hat, x, reduction="sum")
        kl = -0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp())
        return (recon + kl) / len(x)
        ### END SOLUTION


# %% [markdown]
# ### Check each part
#
# The parts are judged one by one, each with known values around it, so that a slip in one place
# costs you nothing elsewhere. Correct the class above, run its cell again, and check again.

# %% test="encoder"
check("encoder")

# %% test="decoder"
check("decoder")

# %% test="reparameterize"
check("reparameterize")

# %% test="reconstruction"
check("reconstruction")

# %% test="kl_divergence"
check("kl_divergence")

# %% test="forward"
check("forward")

# %% [markdown]
# ## Training
#
# Choose the sizes and an optimizer. Larger hidden layers learn faster per epoch, up to the budget.
# With a latent size that is too small, the loss stops above 120 however long you train.

# %% solution="settings"
seed_everything(0)

# TODO settings
### BEGIN SOLUTION
hidden_dim = 400
latent_dim = 15
batch_size = 64
n_epochs = 10
### END SOLUTION

model = myVAE(hidden_dim, latent_dim)

# TODO optimizer: Adam, over the model's parameters.
### BEGIN SOLUTION
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
### END SOLUTION

# %% run="summary"
model_summary(model, (1, 28, 28))
print(f"{count_parameters(model):,} trainable parameters; the budget is 1,500,000.")

# %% test="parameter_budget"
check("parameter_budget")


# %% setup="train_step"
def train_step(model, optimizer, x):
    """One update of the parameters; returns the loss and what it was computed from."""
    x_hat, mu, logvar = model(x)
    loss = model.loss_function(x_hat, x, mu, logvar)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss, x_hat, mu, logvar


# %% [markdown]
# The loop below is the whole of training. It keeps one number for each epoch: the mean loss per
# image. A good run passes 120 after about 7 epochs and then goes on falling slowly. A loss that
# starts near 200 and stays there means that the decoder ignores its code.

# %% run="train"
train_losses = []
loader = make_loader(train_set, batch_size)
for epoch in range(n_epochs):
    total = 0.0
    for x, _ in progress(loader, f"epoch {epoch + 1}/{n_epochs}"):
        loss, *_ = train_step(model, optimizer, x)
        total += loss.item() * len(x)
    train_losses.append(total / len(train_set))
    print(f"epoch {epoch + 1:2}: {train_losses[-1]:.1f} nats per image")

# %% run="loss_curve"
plot_losses(
    {"training": train_losses}, threshold=120, title="Training loss", y_label="nats per image"
)

# %% [markdown]
# This check looks at the model that you have just trained. When your work is graded, your model is
# trained again from scratch, with your settings, on the grader's own digits.

# %% test="training"
check("training")

# %% [markdown]
# ## What has it learned?
#
# First, the plainest question: does an image survive the way through 15 numbers? In a good result
# you know every digit again, a little softer than it was. The same blur ten times would say that
# the decoder gets nothing out of the code.

# %% run="reconstructions"
model.eval()
with torch.no_grad():
    originals = test_set.images[:10] / 255
    restored, mu, logvar = model(originals)
plot_reconstructions({"original": originals, "reconstruction": restored})

# %% [markdown]
# ### One image, many codes
#
# Each forward pass draws another code from the same cloud. At its own variance the digit hardly
# changes. Stretch the variance by 20 and the codes stray to where neighbouring digits live.

# %% run="variations"
plot_variations(
    model.decoder, mu[0], logvar[0], scales=(1, 20), original=originals[0], title="One cloud, twice"
)

# %% [markdown]
# ### Digits that nobody wrote
#
# Draw codes from the prior, without any image, and decode them. Most of them should pass for
# digits; some will lie between two. Only specks, or one digit over and over, would be bad signs.

# %% run="prior_samples"
with torch.no_grad():
    samples = model.decoder(torch.randn(40, latent_dim))
plot_samples(samples, title="Decoded draws from the prior N(0, I)")

# %% [markdown]
# ### A map of the means
#
# t-SNE (van der Maaten & Hinton 2008) lays the 15-dimensional means out on a plane so that
# neighbours stay neighbours. The model never saw a label, yet the digits gather. One ball with all
# colours mixed would mean that the codes know little of the image.

# %% run="map"
with torch.no_grad():
    _, means, _ = model(test_set.images / 255)
plot_embeddings(means, test_set.labels, title="Posterior means of test digits")

# %% [markdown]
# ## In your own words (10 points, read by a person)
#
# With the variance multiplied by 20, some of the decoded images show another digit than the one
# that went in. In three to five sentences: which term of the loss makes neighbouring clouds touch,
# and what would you see in the two rows above if you had trained without that term?

# %% [markdown] answer="larger_variance" points=10
# **Rubric**
#
# - 4 points: names the KL term, which pulls every cloud towards N(0, I) and so makes them overlap.
# - 3 points: says what its absence does: the variances shrink towards 0 and the means spread far
#   apart, since only the reconstruction counts.
# - 3 points: draws the conclusion for the figure: the first row would be the same image again and
#   again; twenty times almost nothing is still almost nothing, so the second row would hardly
#   change either; and codes between the clouds, such as draws from the prior, would decode to
#   nothing that looks like a digit.
#
# **A model answer.** The KL term charges each cloud for differing from N(0, I), so the encoder
# keeps its clouds wide and close to the origin, where they overlap; a code that is drawn far from
# its own mean lands in a neighbour's cloud and is decoded as the neighbour's digit. Without this
# term the reconstruction alone would count, for which noise is only a nuisance: the variances would
# go to zero and the means far apart. Both rows would then repeat the same digit, and draws from the
# prior would mostly decode to shapes that are no digits, because no image was ever encoded there.

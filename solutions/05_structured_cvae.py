# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 · Structured output: the rest of the picture
#
# *Difficulty: ●●●○○ · about 75 minutes · 100 points*
#
# Cover three quarters of a digit. From what is left, the lower left, it may be a 3, a 5 or an 8:
# the question has *several* right answers. A network that must give one answer gives their average,
# a grey smear that nobody ever wrote. A conditional VAE gives one answer for each code that you
# draw, and each is a digit.
#
# You will condition the `myVAE` of assignment 04 on a quarter of the image, build a plain network
# of the same capacity to compare with, and let them compete.
#
# | what counts | limit |
# | --- | --- |
# | parameters of `BaselineNN` | within 10 % of your decoder's |
# | training loss of the CVAE, in nats per image | below 120 within 10 epochs |
# | training loss of the baseline, in nats per image | below 125 within 10 epochs |
# | the nearest of 10 CVAE samples | nearer to held-out originals than the baseline's answer |
#
# **How to work.** Bring your `myVAE` from assignment 04: it needs no change. Fill in each `TODO`,
# run the cell, then run the `check` below it. You may add cells of your own anywhere.

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
    plot_losses,
    plot_quarter_completions,
    plot_samples,
    progress,
    seed_everything,
)

check = notebook_checks("05_structured_cvae")

# %% [markdown]
# ## The data
#
# `source = "full"` gives all 60,000 digits.

# %% run="data"
seed_everything(0)
source = "auto"
train_set = load_dataset("mnist", source=source)
test_set = load_dataset("mnist", train=False, source=source)
plot_samples(train_set.images, train_set.labels, title="Whole digits")

# %% [markdown]
# ## The evidence
#
# The condition is the lower left quarter of the image, as a row of $C = HW/4$ numbers: the rows
# from $H/2$ on, the columns before $W/2$, read row by row.
#
# <details><summary>Hint</summary>
#
# Images are `(N, 1, H, W)`. Row 0 is at the top of a picture. Read H and W from `x.shape`.
# </details>


# %% solution="evidence"
def lower_left(x):
    """Cut the lower left quarter out of each image.

    Args:
        x: Images, (N, 1, H, W); H and W are even.

    Returns:
        The quarters as rows, (N, H·W/4): image rows from H/2, columns up to W/2, row by row.
    """
    # TODO lower_left
    ### BEGIN SOLUTION
    height, width = x.shape[-2:]
    return x[:, :, height // 2 :, : width // 2].flatten(1)
    ### END SOLUTION


# %% test="lower_left"
check("lower_left")

# %% [markdown]
# ## The model
#
# The same `myVAE` as in assignment 04, and nothing in it changes: it never cared what $c$ is. While
# it learns, the encoder sees the whole image *and* the quarter; the decoder sees the code and the
# quarter (Sohn, Lee & Yan 2015).


# %% solution="my_vae"
class myVAE(nn.Module):
    """A fully connected VAE for 28 × 28 images, with a condition or without.

    Every layer has weights of its own.

    Args:
        hidden_dim: Number of hidden features, H.
        latent_dim: Size of the latent code, Z.
        conditional_vec_dim: Size of the condition, C; 0 for none.

    Attributes:
        encoder: Maps rows [x, c], (N, 784 + C), to hidden features (N, H).
        mu_layer: Maps hidden features to means, (N, Z).
        logvar_layer: Maps hidden features to log-variances log σ², (N, Z).
        decoder: Maps rows [z, c], (N, Z + C), to images (N, 1, 28, 28) with values in [0, 1].
    """

    def __init__(self, hidden_dim, latent_dim, conditional_vec_dim=0):
        super().__init__()
        self.latent_dim = latent_dim
        self.conditional_vec_dim = conditional_vec_dim

        # TODO encoder: an nn.Sequential, and one linear layer each for mu and logvar.
        ### BEGIN SOLUTION
        self.encoder = nn.Sequential(
            nn.Linear(28 * 28 + conditional_vec_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.ReLU(),
        )
        self.mu_layer = nn.Linear(hidden_dim, latent_dim)
        self.logvar_layer = nn.Linear(hidden_dim, latent_dim)
        ### END SOLUTION

        # TODO decoder: an nn.Sequential that ends in images.
        ### BEGIN SOLUTION
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim + conditional_vec_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
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
        # TODO reparameterize, as in assignment 03
        ### BEGIN SOLUTION
        sigma = torch.exp(0.5 * logvar)
        return mu + sigma * torch.randn_like(sigma)
        ### END SOLUTION

    def forward(self, x, c=None):
        """Encode [x, c], draw a code z, decode [z, c].

        Calls `self.encoder`, `self.mu_layer`, `self.logvar_layer`, `self.reparameterize` and
        `self.decoder`.

        Args:
            x: Images, (N, 1, 28, 28), in [0, 1].
            c: Conditions, (N, C); None if C is 0.

        Returns:
            The tuple (x_hat, mu, logvar): reconstructions (N, 1, 28, 28), means (N, Z),
            log-variances (N, Z).
        """
        # TODO forward, as in assignment 04
        ### BEGIN SOLUTION
        condition = [] if c is None else [c]
        hidden = self.encoder(torch.cat([x.flatten(1), *condition], dim=1))
        mu, logvar = self.mu_layer(hidden), self.logvar_layer(hidden)
        z = self.reparameterize(mu, logvar)
        return self.decoder(torch.cat([z, *condition], dim=1)), mu, logvar
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
        # TODO loss_function, as in assignment 03
        ### BEGIN SOLUTION
        recon = F.binary_cross_entropy(x_hat, x, reduction="sum")
        kl = -0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp())
        return (recon + kl) / len(x)
        ### END SOLUTION


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
# ## A fair opponent
#
# `BaselineNN` goes from the quarter straight to the image. To be fair it should have the capacity
# of what it competes with: your decoder, which also makes an image of the quarter, and has the code
# besides. It has nothing to draw from, so it gives one answer, always the same.
#
# <details><summary>Hint</summary>
#
# Start from your decoder's layers. What is missing from its input? What keeps a pixel in [0, 1]?
# </details>


# %% solution="baseline_nn"
class BaselineNN(nn.Module):
    """Makes one whole image of a quarter.

    Every layer has weights of its own.

    Args:
        hidden_dim: Number of hidden features, H.
        conditional_vec_dim: Size of the quarter, C.
    """

    def __init__(self, hidden_dim, conditional_vec_dim):
        super().__init__()
        # TODO baseline layers
        ### BEGIN SOLUTION
        self.layers = nn.Sequential(
            nn.Linear(conditional_vec_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, 28 * 28),
            nn.Sigmoid(),
        )
        ### END SOLUTION

    def forward(self, c):
        """Guess the image.

        Args:
            c: Quarters, (N, C).

        Returns:
            Images, (N, 1, 28, 28), with values in [0, 1].
        """
        # TODO baseline forward
        ### BEGIN SOLUTION
        return self.layers(c).unflatten(1, (1, 28, 28))
        ### END SOLUTION


# %% test="baseline"
check("baseline")

# %% [markdown]
# ## Asking for the rest
#
# Now the heart of it. To complete an image, draw codes from the prior
# $p(z) = \mathcal{N}(0, I)$ and decode each of them with the quarter. `complete` is *handed* whole
# images, so that it can cut the quarters out itself; it may look at nothing else of them. At test
# time the rest is covered. If a code came from the encoder, it would have seen the answer.
#
# <details><summary>Hint</summary>
#
# Every image needs n codes of its own and n copies of its quarter: `repeat_interleave` repeats rows
# in place, `unflatten(0, (-1, n))` takes the copies apart again. `model.latent_dim` is Z.
# </details>


# %% solution="completion"
def complete(model, x, n):
    """Draw n whole images for each image's lower left quarter; its other pixels are not used.

    Calls `lower_left` and `model.decoder`.

    Args:
        model: A `myVAE`, conditioned on lower left quarters.
        x: Images, (N, 1, 28, 28).
        n: How many to draw for each.

    Returns:
        The samples, (N, n, 1, 28, 28), on x's device.
    """
    # TODO complete
    ### BEGIN SOLUTION
    c = lower_left(x).repeat_interleave(n, dim=0)
    z = torch.randn(len(c), model.latent_dim).to(c)
    return model.decoder(torch.cat([z, c], dim=1)).unflatten(0, (len(x), n))
    ### END SOLUTION


# %% test="complete"
check("complete")

# %% [markdown]
# ## Training
#
# Both learn with the binary cross-entropy, from the same images, for the same number of epochs.
# Two hidden layers and a learning rate of about 3e-3 pay here as they did in assignment 04. With
# one layer, 15 latents and 1e-3 the nearest of ten samples was 26.9 from the original, and the
# baseline 25.6.

# %% solution="settings"
seed_everything(0)

# TODO settings
### BEGIN SOLUTION
hidden_dim = 300
latent_dim = 12
conditional_vec_dim = 28 * 28 // 4
batch_size = 64
n_epochs = 10
### END SOLUTION

model = myVAE(hidden_dim, latent_dim, conditional_vec_dim)
baseline = BaselineNN(hidden_dim, conditional_vec_dim)

# TODO optimizers: Adam, one over the model's parameters and one over the baseline's.
### BEGIN SOLUTION
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
baseline_optimizer = torch.optim.Adam(baseline.parameters(), lr=3e-3)
### END SOLUTION

# %% run="summary"
model_summary(model, [(1, 28, 28), (conditional_vec_dim,)])
model_summary(baseline, (conditional_vec_dim,))
ratio = count_parameters(baseline) / count_parameters(model.decoder)
print(f"{count_parameters(model.decoder):,} trainable parameters in the decoder,")
print(f"{count_parameters(baseline):,} in the baseline: {ratio:.1%}, and 90 to 110 % is fair.")

# %% test="same_capacity"
check("same_capacity")


# %% setup="train_steps"
def train_step(model, optimizer, x):
    """One update of the CVAE; returns the loss and what it was computed from."""
    x_hat, mu, logvar = model(x, lower_left(x))
    loss = model.loss_function(x_hat, x, mu, logvar)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss, x_hat, mu, logvar


def baseline_step(baseline, optimizer, x):
    """One update of the baseline; returns the loss and what it was computed from."""
    x_hat = baseline(lower_left(x))
    loss = F.binary_cross_entropy(x_hat, x, reduction="sum") / len(x)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss, x_hat


# %% run="train"
train_losses, baseline_losses = [], []
loader = make_loader(train_set, batch_size)
for epoch in range(n_epochs):
    total, baseline_total = 0.0, 0.0
    for x, _ in progress(loader, f"epoch {epoch + 1}/{n_epochs}"):
        loss, *_ = train_step(model, optimizer, x)
        baseline_loss, _ = baseline_step(baseline, baseline_optimizer, x)
        total += loss.item() * len(x)
        baseline_total += baseline_loss.item() * len(x)
    train_losses.append(total / len(train_set))
    baseline_losses.append(baseline_total / len(train_set))
    print(
        f"epoch {epoch + 1:2}: CVAE {train_losses[-1]:.1f}, "
        f"baseline {baseline_losses[-1]:.1f} nats per image"
    )

# %% run="loss_curve"
plot_losses(
    {"CVAE": train_losses, "baseline": baseline_losses},
    title="Training loss",
    y_label="nats per image",
)

# %% [markdown]
# The two curves are in the same unit, but they are not the same thing: the baseline's is a
# cross-entropy, the CVAE's a bound that pays for the code as well. That it is still the lower one
# says that the code earns more than it costs.
#
# This check measures what you have just trained on test images: the squared error of the baseline's
# answer, and of the nearest of ten samples. When your work is graded, both are trained again from
# scratch, with your settings.

# %% test="training"
check("training")

# %% [markdown]
# ## The competition
#
# Left the quarter, right the truth, between them the baseline's single answer and the CVAE's
# samples. In a good result most samples are crisper than the baseline, agree with the quarter, and
# *differ* where it leaves room; the baseline is greyest just there. Samples that are all alike mean
# that the decoder ignores its code.

# %% run="completions"
model.eval()
baseline.eval()
originals = test_set.images[:8] / 255
quarters = lower_left(originals)
with torch.no_grad():
    samples = complete(model, originals, 6)
    guesses = baseline(quarters)
plot_quarter_completions(quarters, guesses, samples, originals, n=8)

# %% [markdown]
# How near do they come? The more samples you may draw, the nearer the nearest of them. A single one
# is usually *further* from the truth than the cautious average: it commits itself, and is often
# committed to another digit.

# %% run="compare"
with torch.no_grad():
    truth = test_set.images / 255
    drawn = complete(model, truth, 10)
    errors = (drawn - truth[:, None]).square().flatten(2).sum(2)
    baseline_error = (baseline(lower_left(truth)) - truth).square().flatten(1).sum(1).mean()
print(f"baseline          {baseline_error:.1f} squared error per image")
for n in (1, 2, 5, 10):
    print(f"best of {n:2} samples {errors[:, :n].min(1).values.mean():.1f}")

# %% [markdown]
# ## In your own words (10 points, read by a person)
#
# The baseline's answers are blurred although it has as many parameters as your decoder and has been
# trained as long. In three to five sentences: why is a blurred image the best that it can do, and
# what does the code give the CVAE that more parameters would not give the baseline?

# %% [markdown] answer="why_blurred" points=10
# **Rubric**
#
# - 4 points: says that several images go with one quarter, and that the single answer with the
#   least expected cross-entropy is their average, pixel by pixel.
# - 3 points: concludes that capacity does not help: a perfect network that may answer once would
#   give this average too.
# - 3 points: says what the code does: it chooses among the answers for all pixels together, so that
#   each sample is one consistent digit, and drawing again gives another.
#
# **A model answer.** One quarter fits several digits, and the baseline has to answer with a single
# image. The image with the least expected cross-entropy gives each pixel its probability of being
# white, which is the average over all digits that fit: a blur. More parameters would only make this
# average more exact. In the CVAE the code decides which of the answers it is to be, for all pixels
# at once; given the code there is hardly any doubt left, so the decoder can be crisp, and another
# code gives another answer.

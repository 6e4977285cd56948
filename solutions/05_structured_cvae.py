# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 · Structured output: complete an image
#
# *Difficulty: ●●●○○ · about 75 minutes · {{total}} points*
#
# Suppose that you see only the lower left quarter of a digit. The whole digit could be a 3, a 5 or
# an 8, so there are *several* right answers. A network with only one answer returns their average,
# a grey blur that is not a digit. A conditional VAE (CVAE) returns one answer for each sample of
# the latent vector $z$, and each answer is a digit.
#
# You will use a quarter of the image as the condition of your `myVAE` from assignment 04. You will
# also build a plain network with the same capacity. Then you compare both models.
#
# | what is checked | limit |
# | --- | --- |
# | parameters of `BaselineNN` | within 10 % of your decoder's |
# | training loss of the CVAE, in nats per image | below {{below}} within {{epochs}} epochs |
# | the baseline's loss, in nats per image | below {{baseline_below}} within {{epochs}} epochs |
# | error of the nearest of 10 CVAE samples, on test images | at most 1.25 × the baseline's error |
#
# **How to work.** Copy your `myVAE` from assignment 04: it needs no change. Fill in each `TODO` and
# run the cell. Then run the `check` below it. You may add your own cells anywhere.

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
# This assignment uses MNIST again. Set `source = "full"` for all 60,000 digits.

# %% run="data"
seed_everything(0)
source = "auto"
train_set = load_dataset("mnist", source=source)
test_set = load_dataset("mnist", train=False, source=source)
plot_samples(train_set.images, train_set.labels, title="Whole digits")

# %% [markdown]
# ## The condition
#
# The condition is the lower left quarter of the image, as a row of $C = HW/4$ numbers. It consists
# of the rows from $H/2$ on and of the columns before $W/2$, read row by row.
#
# <details><summary>Hint</summary>
#
# Images have shape `(N, 1, H, W)`. Row 0 is at the top of the image. Read H and W from `x.shape`.
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
# Use the same `myVAE` as in assignment 04. Nothing in it changes: it works with any condition $c$.
# In training, the encoder gets the whole image *and* the quarter. The decoder gets $z$ and the
# quarter (Sohn, Lee & Yan 2015).


# %% solution="my_vae"
class myVAE(nn.Module):
    """A fully connected VAE for 28 × 28 images, with or without a condition.

    Each layer has its own weights.

    Args:
        hidden_dim: Number of hidden features, H, of the encoder and also of the decoder.
        latent_dim: Size of the latent vector, Z.
        conditional_vec_dim: Size of the condition, C; 0 for no condition.

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
        """Sample z from N(mu, exp(logvar)), so that gradients reach mu and logvar.

        Args:
            mu: Means, (N, Z).
            logvar: Log-variances log σ², (N, Z).

        Returns:
            One latent vector z for each row, (N, Z), on mu's device.
        """
        # TODO reparameterize, as in assignment 03
        ### BEGIN SOLUTION
        sigma = torch.exp(0.5 * logvar)
        return mu + sigma * torch.randn_like(sigma)
        ### END SOLUTION

    def forward(self, x, c=None):
        """Encode [x, c], sample z and decode [z, c].

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
        """Compute the negative ELBO in nats, averaged over the images of the batch.

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
# ## A baseline of the same size
#
# `BaselineNN` maps the quarter directly to the whole image. For a fair comparison it must have
# about as many parameters as your decoder. The decoder also makes an image from the quarter, but
# has $z$ as an additional input. The baseline has no random input. So it returns one answer for
# each quarter, and always the same one.
#
# <details><summary>Hint</summary>
#
# Start with the layers of your decoder. Which part of its input is missing here? Which layer keeps
# the pixels in [0, 1]?
# </details>


# %% solution="baseline_nn"
class BaselineNN(nn.Module):
    """A plain network that predicts one whole image from a quarter.

    Each layer has its own weights.

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
        """Predict whole images from quarters.

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
# ## Complete an image
#
# Now use the CVAE to complete an image. Sample latent vectors from the prior
# $p(z) = \mathcal{N}(0, I)$, and decode each of them together with the quarter.
#
# The input of `complete` is whole images, so that it can cut out the quarters itself. It must not
# use any other pixels, because they are unknown at test time. In particular, do not use the encoder
# to get $z$: the encoder would need the whole image.
#
# <details><summary>Hint</summary>
#
# Every image needs its own n latent vectors, and n copies of its quarter. `repeat_interleave`
# repeats each row n times, directly one after another. `unflatten(0, (-1, n))` separates the copies
# again. `model.latent_dim` is Z.
# </details>


# %% solution="completion"
def complete(model, x, n):
    """Sample n whole images for the lower left quarter of each image.

    The other pixels of the images are not used. Calls `lower_left` and `model.decoder`.

    Args:
        model: A `myVAE`, conditioned on lower left quarters.
        x: Images, (N, 1, 28, 28).
        n: Number of samples for each image.

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
# Both models are trained with the binary cross-entropy, on the same images and for the same number
# of epochs. For the CVAE the KL is added. Two hidden layers and a learning rate of about 3e-3 help
# here, as in assignment 04. The nearest of ten samples is then nearer than the baseline's answer.
# With one layer, 15 latents and 1e-3, its squared error was 26.9, and the baseline's 25.6.
#
# The pixels are grey values. For them, the cross-entropy is the mean of $-\log p$ over
# black-and-white images whose pixels are white with these probabilities. It is not a log-likelihood
# of the grey values themselves: `10_loss_study` says why. Both models use the same cross-entropy.

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
print(f"{count_parameters(baseline):,} in the baseline: {ratio:.1%}; 90 to 110 % is allowed.")

# %% test="same_capacity"
check("same_capacity")


# %% setup="train_steps"
def train_step(model, optimizer, x):
    """Update the parameters of the CVAE once.

    Args:
        model: A `myVAE`, conditioned on lower left quarters.
        optimizer: The optimizer of its parameters.
        x: Images, (N, 1, 28, 28), in [0, 1].

    Returns:
        The tuple (loss, x_hat, mu, logvar): the loss before the update, and the outputs of the
        model that it was computed from.
    """
    x_hat, mu, logvar = model(x, lower_left(x))
    loss = model.loss_function(x_hat, x, mu, logvar)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss, x_hat, mu, logvar


def baseline_step(baseline, optimizer, x):
    """Update the parameters of the baseline once.

    Args:
        baseline: A `BaselineNN`.
        optimizer: The optimizer of its parameters.
        x: Images, (N, 1, 28, 28), in [0, 1].

    Returns:
        The tuple (loss, x_hat): the loss before the update, and the predicted images.
    """
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
# The two curves have the same unit, but they do not measure the same quantity. The baseline's loss
# is a cross-entropy. The CVAE's loss is a bound: it also contains the KL of $z$. In a good run the
# CVAE's loss is still lower. Then $z$ reduces the reconstruction term by more than its KL costs.
#
# This check tests the models that you have just trained. On test images it measures the squared
# error of the baseline's answer, and of the nearest of ten samples. For your grade, both models are
# trained again from scratch, with your settings.

# %% test="training"
check("training")

# %% [markdown]
# ## Compare both models
#
# In each row of the next figure, the quarter is on the left and the original is on the right.
# Between them are the baseline's single answer and the CVAE's samples. In a good result:
#
# - Most samples are sharper than the baseline's answer.
# - The samples agree with the quarter.
# - The samples *differ* where the quarter leaves several possibilities. In the same places the
#   baseline's answer is most grey.
#
# If all samples look the same, the decoder ignores $z$.

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
# How close are the samples to the original? With more samples, the nearest one gets closer. A
# single sample is usually *further* from the original than the baseline's average: each sample is
# one definite digit, and often it is the wrong digit.

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
# ## In your own words ({{answers}} points, graded by a person)
#
# The baseline's answers are blurred, although the baseline has as many parameters as your decoder
# and was trained for as long. Answer in three to five sentences:
#
# - Why is a blurred image the best possible answer of the baseline?
# - What does $z$ give the CVAE that more parameters would not give the baseline?

# %% [markdown] answer="why_blurred" points=10
# **Rubric**
#
# - 4 points: The answer says that several images fit one quarter. The single answer with the least
#   expected cross-entropy is their average, pixel by pixel.
# - 3 points: The answer concludes that more capacity does not help. A perfect network with only one
#   answer would also return this average.
# - 3 points: The answer says what z does. It selects one of the possible images, for all pixels
#   together. So each sample is one consistent digit, and another sample of z gives another digit.
#
# **A model answer.** One quarter fits several digits, but the baseline must answer with a single
# image. The image with the least expected cross-entropy gives each pixel its probability of being
# white. This is the average over all digits that fit: a blur, and more parameters would only make
# this average more exact. In the CVAE, z selects one of the possible answers, for all pixels
# together. If z is known, there is hardly any uncertainty left, so the decoder's image can be
# sharp, and another z gives another answer.

# %% [markdown]
# ## What next
#
# The page *Published numbers* of the course's documentation compares a model like this one with a
# published example, in nats for the three hidden quarters.
#
# - Ivanov, Figurnov & Vetrov 2019, *Variational autoencoder with arbitrary conditioning*,
#   arXiv:1806.02382. One model completes an image from any given part, because the given part
#   changes from image to image in training.
# - Garnelo et al. 2018, *Neural processes*, arXiv:1807.01622. The condition is a set of pixels of
#   any size, and z describes what these pixels leave open.
# - Pathak et al. 2016, *Context encoders: feature learning by inpainting*, arXiv:1604.07379. It
#   fills a missing region with one answer. A second loss, from a network that distinguishes real
#   from filled images, makes this answer sharp instead of grey.

# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 01 · An autoencoder
#
# *Difficulty: ●●○○○ · about 60 minutes · 100 points*
#
# Describe a handwritten digit with two numbers, so well that someone else can redraw it from them.
# No rule tells you which two numbers to choose. An **autoencoder** finds them: one network squeezes
# 784 pixels into a code, a second one redraws the image from the code, and both are trained
# together on the only question that needs no label: does what comes out look like what went in?
#
# With two numbers for each image, the whole of what was learned fits on a sheet of paper. You will
# build both networks, train them in under a minute, draw that map, and find out where it is blank.
#
# | what counts | limit |
# | --- | --- |
# | trainable parameters | at most 1.5 million |
# | training loss, mean squared error | below 0.04 within 15 epochs |
# | latent size Z | exactly 2 |
#
# **How to work.** Fill in each `TODO`, run the cell, then run the `check` below it: it tells you
# what holds and what doesn't. Cells without a `TODO` are complete. You may add cells of your own
# anywhere.

# %% setup="imports"
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torchvision import transforms

from autograder import notebook_checks
from vae_utils import (
    count_parameters,
    latent_extent,
    load_dataset,
    make_loader,
    model_summary,
    plot_latent_space,
    plot_latent_space_images,
    plot_losses,
    plot_reconstructions,
    plot_samples,
    progress,
    seed_everything,
)

check = notebook_checks("01_autoencoder")

# %% [markdown]
# ## The data
#
# MNIST: grey 28 × 28 digits. A small part of it comes with the course; set
# `source = "full"` for all 60,000 (they are downloaded once).
#
# An image file holds whole numbers from 0 to 255, one byte for each pixel. A network wants floats
# of a moderate size, and the sigmoid that will end your decoder can only reach values between 0
# and 1. So `transform` has to make, of one grey PIL image of size H × W, a float tensor
#
# $$x \in [0, 1]^{1 \times H \times W}, \qquad x = \text{byte} / 255.$$
#
# <details><summary>A hint</summary>
#
# `torchvision.transforms` has a class that does all of this at once: type, range, and the leading
# axis for the one channel. A function of your own is just as good.
# </details>

# %% solution="my_transform"
# TODO transform: a callable that turns a PIL image into a float tensor (1, H, W) in [0, 1].
### BEGIN SOLUTION
transform = transforms.ToTensor()
### END SOLUTION


# %% setup="apply_transform"
def apply_transform(pixels):
    """Make a PIL image of the bytes (H, W) and pass it through `transform`."""
    return transform(Image.fromarray(np.asarray(pixels)))


# %% test="transform"
check("transform")

# %% run="data"
source = "auto"
train_set = load_dataset("mnist", source=source)
test_set = load_dataset("mnist", train=False, source=source)
train_images = torch.stack([apply_transform(pixels) for pixels in train_set.images[:, 0]])
test_images = torch.stack([apply_transform(pixels) for pixels in test_set.images[:, 0]])
plot_samples(train_images, train_set.labels, title="MNIST, as the model sees it")

# %% [markdown]
# ## The model
#
# The **encoder** $f$ maps an image $x$ to its code $z$, the **decoder** $g$ maps a code back to an
# image (Hinton & Salakhutdinov 2006, figure 1):
#
# $$z = f(x) \in \mathbb{R}^{Z}, \qquad \hat{x} = g(z) \in [0, 1]^{1 \times H \times W}.$$
#
# Both are stacks of linear layers with an activation after each, except where the values have to
# be free or bounded:
#
# - **Nothing after the code's layer.** An activation there would cut away part of the plane: after
#   a ReLU, three of its four quadrants can never be used.
# - **A sigmoid at the very end.** Pixels lie in [0, 1], and so must what redraws them.
#
# Three hidden layers of the same size on either side work well, with `nn.LeakyReLU` between them.
#
# <details><summary>A hint for each TODO</summary>
#
# - **encoder**: `nn.Flatten` turns images into rows. The sizes then go 784 → H → H → H → Z. Write
#   every layer out: `[layer] * 3` would be the same layer three times, with one set of weights.
# - **decoder**: the same sizes backwards. `nn.Unflatten(1, ...)` gives rows the shape of images.
# - **forward**: one line. What has to come out is the image alone.
# </details>


# %% solution="autoencoder"
class Autoencoder(nn.Module):
    """A fully connected autoencoder for 28 × 28 images.

    Args:
        hidden_dim: Number of features in the hidden layers, H.
        latent_dim: Size of the latent code, Z.

    Attributes:
        encoder: Maps images (N, 1, 28, 28) to codes (N, Z); no activation at its end.
        decoder: Maps codes (N, Z) to images (N, 1, 28, 28) with values in [0, 1].
    """

    def __init__(self, hidden_dim, latent_dim):
        super().__init__()

        # TODO encoder: an nn.Sequential from images to codes.
        ### BEGIN SOLUTION
        self.encoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(28 * 28, hidden_dim),
            nn.LeakyReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.LeakyReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.LeakyReLU(),
            nn.Linear(hidden_dim, latent_dim),
        )
        ### END SOLUTION

        # TODO decoder: an nn.Sequential from codes to images.
        ### BEGIN SOLUTION
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, hidden_dim),
            nn.LeakyReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.LeakyReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.LeakyReLU(),
            nn.Linear(hidden_dim, 28 * 28),
            nn.Sigmoid(),
            nn.Unflatten(1, (1, 28, 28)),
        )
        ### END SOLUTION

    def forward(self, x):
        """Encode the images and decode their codes.

        Calls `self.encoder` and `self.decoder`.

        Args:
            x: Images, (N, 1, 28, 28), in [0, 1].

        Returns:
            The reconstructions x_hat alone, (N, 1, 28, 28).
        """
        # TODO forward
        ### BEGIN SOLUTION
        return self.decoder(self.encoder(x))
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

# %% test="forward"
check("forward")

# %% [markdown]
# ## The loss
#
# How far is the reconstruction from the image? Take the **mean squared error**, over all N images
# of a batch and all their pixels (H · W of them, for one channel):
#
# $$\mathrm{MSE} = \frac{1}{N \cdot H \cdot W} \sum_{n=1}^{N} \sum_{p=1}^{H \cdot W}
# \big(\hat{x}_{np} - x_{np}\big)^2.$$
#
# A feeling for its size: an answer of ½ everywhere costs 0.23, the mean of all digits 0.067, and
# below 0.04 most digits can be read.
#
# <details><summary>A hint</summary>
#
# `torch.nn` has a class for it, and its default is to average over everything. A class has to be
# called once to make the thing that you then call with images.
# </details>

# %% solution="my_criterion"
# TODO criterion: a callable; criterion(x_hat, x) gives the mean squared error, a scalar.
### BEGIN SOLUTION
criterion = nn.MSELoss()
### END SOLUTION

# %% test="criterion"
check("criterion")

# %% [markdown]
# ## Training
#
# Choose the sizes and an optimizer. The latent size is 2 for what you hand in, so that the map
# below can be drawn; do try others on the way and see how the loss answers. Smaller batches make
# more updates in an epoch, and only epochs are counted.

# %% solution="settings"
seed_everything(0)

# TODO settings
### BEGIN SOLUTION
hidden_dim = 400
latent_dim = 2
batch_size = 32
n_epochs = 15
### END SOLUTION

model = Autoencoder(hidden_dim, latent_dim)

# TODO optimizer: Adam, over the model's parameters.
### BEGIN SOLUTION
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
### END SOLUTION

# %% run="summary"
model_summary(model, (1, 28, 28))
print(f"{count_parameters(model):,} trainable parameters; the budget is 1,500,000.")

# %% test="latent_size"
check("latent_size")

# %% test="parameter_budget"
check("parameter_budget")


# %% setup="train_step"
def train_step(model, optimizer, x):
    """One update of the parameters; returns the loss and the reconstructions it is the loss of."""
    x_hat = model(x)
    loss = criterion(x_hat, x)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss, x_hat


# %% [markdown]
# The loop below is the whole of training. It keeps one number for each epoch: the mean loss over
# the images.
#
# - **Good**: the loss starts near 0.06, and passes 0.04 after 5 to 10 epochs.
# - **Bad**: it stays at 0.067 from the start. The model then answers with the mean of all digits,
#   whatever you show it: no information comes through the code, or the step size is far too large.
# - **Bad**: it starts near 0.23 and hardly moves: the parameters aren't updated.

# %% run="train"
train_losses = []
loader = make_loader((train_images, train_set.labels), batch_size)
for epoch in range(n_epochs):
    total = 0.0
    for x, _ in progress(loader, f"epoch {epoch + 1}/{n_epochs}"):
        loss, _ = train_step(model, optimizer, x)
        total += loss.item() * len(x)
    train_losses.append(total / len(train_images))
    print(f"epoch {epoch + 1:2}: mean squared error {train_losses[-1]:.4f}")

# %% run="loss_curve"
plot_losses(
    {"training": train_losses}, threshold=0.04, title="Training loss", y_label="mean squared error"
)

# %% [markdown]
# This check looks at the model that you have just trained. When your work is graded, your model is
# trained again from scratch, with your settings, on the grader's own digits.

# %% test="training"
check("training")

# %% [markdown]
# ## What has it learned?
#
# First, digits that it never saw in training. Two numbers are enough for a readable 0 or 1; expect
# a 4 to come back as a 9 now and then, and every stroke to be softer than it was. Grey blobs that
# all look alike would mean that the code isn't used.

# %% run="reconstructions"
model.eval()
with torch.no_grad():
    restored = model(test_images)
    codes = model.encoder(test_images)
print(f"mean squared error on test digits: {F.mse_loss(restored, test_images).item():.4f}")
plot_reconstructions({"original": test_images, "reconstruction": restored})

# %% [markdown]
# ### The map of codes
#
# Every test digit is one point, at its own code. The model never saw a label, yet digits of one
# kind gather: what looks alike is redrawn alike. Look at the numbers on the axes, too. Nothing in
# the loss says where codes should lie, or how far apart.

# %% run="latent_space"
extent = latent_extent(codes)
plot_latent_space(codes, test_set.labels, extent=extent)

# %% [markdown]
# ### What the decoder draws at each place
#
# Now the other direction: codes on a regular grid over the same axes, decoded. Compare the two
# figures place by place. Inside a cluster you find its digit; where clusters meet, one shape melts
# into the other through strokes that belong to no digit; and far from all points, one shape is
# drawn over and over, or falls to pieces.

# %% run="latent_space_images"
plot_latent_space_images(model.decoder, extent)

# %% [markdown]
# ## In your own words (10 points, read by a person)
#
# Suppose you want new digits, and pick codes at random from the square that the two figures show.
# In three to five sentences: what do you get where there are no points, and why does nothing in
# the training prevent it? What would have to be asked of the codes for random ones to decode well?

# %% [markdown] answer="empty_places" points=10
# **Rubric**
#
# - 3 points: between and beyond the clusters the decoder gives blends or shapes that are no digit
#   (or, at random, the digit of a much too large region), and refers to the figures.
# - 4 points: gives the reason: the loss only ever looks at decoded codes of training images. The
#   decoder is never trained at other places, and nothing asks the encoder to put its codes in any
#   particular place, close together, or without gaps; so we don't know from where to draw.
# - 3 points: says what is missing: the codes' distribution must be a known one without holes that
#   one can draw from, and neighbouring codes must decode alike; such as by giving every image a
#   cloud instead of a point and pulling all clouds towards one standard normal, as a VAE does.
#
# **A model answer.** A code from an empty place decodes to a blend of the clusters around it, or
# to strokes that are no digit, as the gaps and corners of the second figure show. The mean squared
# error is computed at the codes of training images only: the decoder may do as it likes anywhere
# else, and the encoder may scatter its codes with gaps between them, since nothing in the loss
# mentions where they lie. To draw new digits we would need to know the distribution of codes, and
# it would have to leave no holes. If each image were given a small cloud instead of a point, and
# the clouds were asked to fill a standard normal together, the decoder would be trained wherever
# we draw from.

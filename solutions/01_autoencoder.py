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
# *Difficulty: ●●○○○ · about 60 minutes · {{total}} points*
#
# An **autoencoder** learns to describe an image with a few numbers. It has two networks. The first
# network, the encoder, compresses 784 pixels into a code. The second network, the decoder,
# reconstructs the image from the code. Both are trained together, with one goal: the output should
# look like the input. This goal needs no labels. It also needs no rule for choosing the numbers of
# the code: training finds them.
#
# In this assignment the code of a digit has only two numbers. So one figure can show all codes. You
# will build both networks, train them in under a minute, plot this map of codes, and find its empty
# areas.
#
# | what is checked | limit |
# | --- | --- |
# | trainable parameters | at most {{budget}} |
# | training loss, mean squared error | below {{below}} within {{epochs}} epochs |
# | latent size Z | exactly 2 |
#
# **How to work.** Fill in each `TODO` and run the cell. Then run the `check` below it. The check
# tells you what is correct and what is not. Cells without a `TODO` are complete. You may add your
# own cells anywhere.

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
# MNIST contains grey images of digits, 28 × 28 pixels each. The course includes a small part of it.
# Set `source = "full"` for all 60,000 training images (they are downloaded once).
#
# An image file stores whole numbers from 0 to 255, one byte for each pixel. A network works better
# with floats of moderate size. Also, your decoder will end in a sigmoid, and a sigmoid only outputs
# values between 0 and 1. So the targets must be in this range too. Your `transform` converts one
# grey PIL image of size H × W to a tensor of type float32:
#
# $$x \in [0, 1]^{1 \times H \times W}, \qquad x = \text{byte} / 255.$$
#
# <details><summary>A hint</summary>
#
# `torchvision.transforms` has a class that does all three steps: the type, the range, and the
# leading axis for the one channel. You may also write your own function.
# </details>

# %% solution="my_transform"
# TODO transform: a callable that converts a PIL image to a float32 tensor (1, H, W) in [0, 1].
### BEGIN SOLUTION
transform = transforms.ToTensor()
### END SOLUTION


# %% setup="apply_transform"
def apply_transform(pixels):
    """Make a PIL image from the bytes (H, W) and apply `transform` to it."""
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
# The **encoder** $f$ maps an image $x$ to its code $z$. The **decoder** $g$ maps a code back to an
# image (Hinton & Salakhutdinov 2006, figure 1):
#
# $$z = f(x) \in \mathbb{R}^{Z}, \qquad \hat{x} = g(z) \in [0, 1]^{1 \times H \times W}.$$
#
# Both are stacks of linear layers with an activation after each layer. The last layers are special:
#
# - **No activation after the last layer of the encoder.** It would exclude a part of the code's
#   plane. For example, with a ReLU there, three of the four quadrants are never used.
# - **A sigmoid after the last layer of the decoder.** Pixels are in [0, 1], so the reconstruction
#   must be in [0, 1] too.
#
# Three hidden layers of the same size in each network work well, with `nn.LeakyReLU` between them.
#
# <details><summary>A hint for each TODO</summary>
#
# - **encoder**: `nn.Flatten` turns images into rows. The sizes then go 784 → H → H → H → Z. Write
#   every layer separately: `[layer] * 3` is the same layer three times, with one set of weights.
# - **decoder**: use the same sizes in reverse order. `nn.Unflatten(1, ...)` reshapes rows to
#   images.
# - **forward**: one line is enough. Return only the image.
# </details>


# %% solution="autoencoder"
class Autoencoder(nn.Module):
    """A fully connected autoencoder for 28 × 28 images.

    Args:
        hidden_dim: Number of features in each hidden layer, H.
        latent_dim: Size of the code, Z.

    Attributes:
        encoder: Maps images (N, 1, 28, 28) to codes (N, Z); it has no activation at the end.
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
            Only the reconstructions x_hat, (N, 1, 28, 28).
        """
        # TODO forward
        ### BEGIN SOLUTION
        return self.decoder(self.encoder(x))
        ### END SOLUTION


# %% [markdown]
# ### Check each part
#
# The grader tests each part alone, with known values as its inputs. So an error in one part does
# not cost points in another part. Correct the class above, run its cell again, and check again.

# %% test="encoder"
check("encoder")

# %% test="decoder"
check("decoder")

# %% test="forward"
check("forward")

# %% [markdown]
# ## The loss
#
# The loss measures how far the reconstruction is from the image. Use the **mean squared error**. It
# is the mean over all N images of a batch and over all their pixels (H · W, for one channel):
#
# $$\mathrm{MSE} = \frac{1}{N \cdot H \cdot W} \sum_{n=1}^{N} \sum_{p=1}^{H \cdot W}
# \big(\hat{x}_{np} - x_{np}\big)^2.$$
#
# Some values for comparison: an output of ½ for every pixel has a loss of 0.23. The mean image of
# all digits has 0.067. Below 0.04, you can read most digits.
#
# <details><summary>A hint</summary>
#
# `torch.nn` has a class for this loss. By default it averages over everything. First make an object
# of the class, then call the object with images.
# </details>

# %% solution="my_criterion"
# TODO criterion: a callable; criterion(x_hat, x) returns the mean squared error, a scalar.
### BEGIN SOLUTION
criterion = nn.MSELoss()
### END SOLUTION

# %% test="criterion"
check("criterion")

# %% [markdown]
# ## Training
#
# Choose the sizes and an optimizer. The latent size of the model that you hand in must be 2,
# because the map below has two axes. Before that, try other latent sizes and see how the loss
# changes. Smaller batches give more updates in an epoch, and only the number of epochs is limited.

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
print(f"{count_parameters(model):,} trainable parameters")

# %% test="latent_size"
check("latent_size")

# %% test="parameter_budget"
check("parameter_budget")


# %% setup="train_step"
def train_step(model, optimizer, x):
    """Update the parameters once.

    Args:
        model: An `Autoencoder`.
        optimizer: The optimizer of its parameters.
        x: Images, (N, 1, 28, 28), in [0, 1].

    Returns:
        The tuple (loss, x_hat): the loss before the update, and its reconstructions.
    """
    x_hat = model(x)
    loss = criterion(x_hat, x)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss, x_hat


# %% [markdown]
# The loop below is the complete training. It stores one number for each epoch: the mean loss over
# the images.
#
# - **Good**: the loss starts near 0.06 and falls below {{below}}, with small batches after 5 to 10
#   epochs.
# - **Bad**: the loss stays at 0.067 from the start. The model then outputs the mean of all digits
#   for every image. Either no information passes through the code, or the learning rate is far too
#   large.
# - **Bad**: the loss starts near 0.23 and hardly changes. The parameters are not updated.

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
    {"training": train_losses},
    threshold=0.04,  # {{below}}
    title="Training loss",
    y_label="mean squared error",
)

# %% [markdown]
# This check tests the model that you have just trained. For your grade, your model is trained again
# from scratch, with your settings, on the grader's own digits.

# %% test="training"
check("training")

# %% [markdown]
# ## What has it learned?
#
# The first figure shows test digits, which were not used in training. Two numbers are enough for a
# readable 0 or 1. Some 4s become 9s, and every stroke is softer than in the original. If all
# reconstructions are similar grey blobs, the model does not use the code.

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
# In this figure, each test digit is one point, at the position of its code. The model never saw a
# label. Still, digits of one class form clusters, because similar images have similar
# reconstructions. Look at the numbers on the axes, too. The loss does not say where the codes
# should be, or how far apart.

# %% run="latent_space"
extent = latent_extent(codes)
plot_latent_space(codes, test_set.labels, extent=extent)

# %% [markdown]
# ### What the decoder outputs at each place
#
# Now use the decoder alone. The next cell decodes codes on a regular grid, with the same axes as
# above. Compare the two figures place by place:
#
# - Inside a cluster you see its digit.
# - Between clusters, one digit changes gradually into another, and some strokes belong to no digit.
# - Far from all points, the same shape appears again and again, or the shapes are not digits.

# %% run="latent_space_images"
plot_latent_space_images(model.decoder, extent)

# %% [markdown]
# ## In your own words ({{answers}} points, graded by a person)
#
# Suppose that you want new digits, so you choose random codes from the square that the two figures
# show. Answer in three to five sentences:
#
# - What do you get from a code in an area without points?
# - Why does the training not prevent this?
# - Which property must the codes have, so that random codes decode to digits?

# %% [markdown] answer="empty_places" points=10
# **Rubric**
#
# - 3 points: Between and outside the clusters, the decoder outputs blends or shapes that are no
#   digit (or, at random codes, the digit of a region that is much too large). The answer refers to
#   the figures.
# - 4 points: The answer gives the reason. The loss is computed only from the codes of training
#   images. The decoder is never trained at other places. Nothing requires the encoder to put its
#   codes at particular places, close together, or without gaps. So we do not know from which
#   distribution to sample.
# - 3 points: The answer says what is missing. The distribution of the codes must be known, have no
#   gaps, and be easy to sample from. Neighbouring codes must decode to similar images. One way is
#   to give every image a Gaussian instead of a point, and to pull all Gaussians towards one
#   standard normal, as a VAE does.
#
# **A model answer.** A code from an empty area decodes to a blend of the clusters around it, or to
# strokes that are no digit, as the gaps and corners of the second figure show. The mean squared
# error is computed at the codes of training images only, so the decoder is not trained at other
# places. The encoder may leave gaps between its codes, because the loss has no term for their
# positions. To generate new digits we must know the distribution of the codes, and it must have no
# gaps. If each image had a small Gaussian instead of a point, and all Gaussians together had to
# fill a standard normal, the decoder would be trained wherever we sample.

# %% [markdown]
# ## What next
#
# `03_fc_vae` gives every image a Gaussian instead of a point. These papers answer the question
# above in other ways:
#
# - Hinton & Salakhutdinov 2006, *Reducing the dimensionality of data with neural networks*, Science
#   313. It compares the codes of a deep autoencoder with principal components. Its figure 3 shows
#   codes of two numbers for digits, as the map above.
# - Ghosh et al. 2020, *From variational to deterministic autoencoders*, arXiv:1903.12436. It trains
#   an autoencoder without noise, fits a density to its codes afterwards, and samples from this
#   density.
# - Tolstikhin et al. 2018, *Wasserstein auto-encoders*, arXiv:1711.01558. Its loss compares the
#   distribution of all codes together with the prior, instead of the code of each image.

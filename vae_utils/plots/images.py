"""Grids of images: samples of a set, and rows of input, noisy input and reconstruction."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from vae_utils.plots.inputs import ArrayLike, as_images, as_labels, count_of
from vae_utils.plots.mosaic import in_rows, mosaic_figure


def plot_samples(
    images: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    n: int = 40,
    columns: int = 10,
    title: str = "Samples",
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Plot the first images of a batch in a grid, with their labels if there are any.

    Args:
        images: `(N, H*W)`, `(N, H, W)`, `(N, 1, H, W)` or `(N, 3, H, W)`, in [0, 1] or uint8.
        labels: `(N,)`, one for each image.
        n: Maximum number of images. The title says how many there are.
        columns: Images per row.
        title: What the images are.
        class_names: Names of labels 0, 1, 2, …, shown instead of the numbers.

    Raises:
        ValueError: The images have another shape, or the labels do not fit them.

    Example:
        >>> import torch
        >>> figure = plot_samples(torch.rand(20, 784), labels=torch.arange(20) % 10)
        >>> [text.get_text() for text in figure.axes[0].texts][:3]
        ['0', '1', '2']
    """
    total = count_of(images, "images")
    batch = as_images(images[:n] if total > n else images)
    captions = None
    if labels is not None:
        classes = as_labels(labels, total, class_names)
        names = [classes.name(i) for i in range(len(batch))]
        captions = [names[i : i + columns] for i in range(0, len(names), columns)]
    shown = f"{len(batch)} of {total:,}" if total > len(batch) else f"{total}"
    return mosaic_figure(
        in_rows(list(batch.pixels), columns), f"{title} ({shown})", batch.notes, captions=captions
    )


def plot_reconstructions(
    rows: Mapping[str, ArrayLike],
    *,
    n: int = 10,
    labels: ArrayLike | None = None,
    title: str = "Inputs and their reconstructions",
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Plot the same images at several stages, such as input, noisy, denoised: one row per stage.

    Args:
        rows: Name of each row to its images, in any shape that `plot_samples` accepts. Image `i` is
            the same in each row.
        n: Maximum number of images in a row.
        labels: `(N,)`, shown above the columns.
        title: Title of the figure.
        class_names: Names of labels 0, 1, 2, …

    Raises:
        ValueError: There are no rows, rows have different lengths, or images have another shape.

    Example:
        >>> import torch
        >>> x = torch.rand(8, 1, 28, 28)
        >>> figure = plot_reconstructions({"input": x, "reconstruction": x.flatten(1)})
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['input', 'reconstruction']
    """
    if not rows:
        raise ValueError("rows must contain at least one batch of images.")
    lengths = {name: count_of(images, name) for name, images in rows.items()}
    if len(set(lengths.values())) != 1:
        found = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise ValueError(f"All rows must have the same number of images, but have {found}.")
    batches = {name: as_images(images[:n], name) for name, images in rows.items()}
    column_labels = None
    if labels is not None:
        classes = as_labels(labels, next(iter(lengths.values())), class_names)
        column_labels = [classes.name(i) for i in range(len(next(iter(batches.values()))))]
    return mosaic_figure(
        [list(batch.pixels) for batch in batches.values()],
        title,
        [f"{name}: {note}" for name, batch in batches.items() for note in batch.notes],
        row_labels=list(batches),
        column_labels=column_labels,
    )

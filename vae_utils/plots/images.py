"""Pictures of pictures: samples of a set, and rows of input, noisy input and reconstruction."""

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
    """Show the first images of a batch in a grid, each with its label where there are labels.

    Args:
        images: `(N, H*W)`, `(N, H, W)`, `(N, 1, H, W)` or `(N, 3, H, W)`, in [0, 1] or uint8.
        labels: `(N,)`, one for each image.
        n: the most images to show; the title says how many there are.
        columns: images in a row.
        title: what they are.
        class_names: names of labels 0, 1, 2, …, instead of the numbers.

    Raises:
        ValueError: another shape, or labels that don't fit the images.

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
    """Show the same images at several stages, such as input, noisy, denoised: a row for each.

    Args:
        rows: name of the row to its images, of any shape `plot_samples` takes; image `i` of each
            row belongs together.
        n: the most images to show in a row.
        labels: `(N,)`, shown above the columns.
        title: what the figure shows.
        class_names: names of labels 0, 1, 2, …

    Raises:
        ValueError: no rows, rows of different lengths, or images of another shape.

    Example:
        >>> import torch
        >>> x = torch.rand(8, 1, 28, 28)
        >>> figure = plot_reconstructions({"input": x, "reconstruction": x.flatten(1)})
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['input', 'reconstruction']
    """
    if not rows:
        raise ValueError("rows must name at least one batch of images.")
    lengths = {name: count_of(images, name) for name, images in rows.items()}
    if len(set(lengths.values())) != 1:
        found = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise ValueError(f"All rows must have as many images as each other, but have {found}.")
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

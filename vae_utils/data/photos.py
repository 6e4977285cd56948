"""Colour patches of scikit-learn's two photographs, for use without CIFAR-10."""

import numpy as np

SIZE = 32
STRIDE = 8
TRAIN_WIDTH = 480  # of 640 columns; test patches begin here


def patches(train: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Cut 32×32 patches from scikit-learn's sample photographs (427×640, "china" and "flower").

    Patches overlap (their corners are 8 pixels apart), but no pixel is in both the training and
    the test part.

    Args:
        train: True: patches of the left three quarters of the photographs. False: of the right.

    Returns:
        images uint8 (N, 3, 32, 32), and labels (N,): 0 for "china" (a temple), 1 for "flower".

    Example:
        >>> images, labels = patches()
        >>> images.shape
        (5700, 3, 32, 32)
    """
    from sklearn.datasets import load_sample_images  # slow to import

    images, labels = [], []
    for label, photo in enumerate(load_sample_images().images):
        part = photo[:, :TRAIN_WIDTH] if train else photo[:, TRAIN_WIDTH:]
        windows = np.lib.stride_tricks.sliding_window_view(part, (SIZE, SIZE), axis=(0, 1))
        cut = windows[::STRIDE, ::STRIDE].reshape(-1, 3, SIZE, SIZE)
        images.append(cut)
        labels.append(np.full(len(cut), label, np.int64))
    return np.concatenate(images), np.concatenate(labels)

"""What the helpers cost, as ratios measured in turn within one run: `python -m benchmarks`.

All with one thread, so that the ratios don't depend on how many cores are free.
"""

import os

# Here, before torch and NumPy are loaded: their pools of threads are made at import.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

"""Measures time and memory, mostly as ratios within one run: `python -m benchmarks`.

All measurements use one thread, so that the ratios do not depend on the number of free cores.
"""

import os

# Set before torch and NumPy are loaded, because they create their thread pools at import.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import logging
import sys
import warnings

from tqdm import tqdm

warnings.warn("this may be slow", stacklevel=1)
logging.getLogger("mine").error("not an error")
for _ in tqdm(range(100)):
    print("working", file=sys.stderr)

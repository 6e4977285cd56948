import random

import numpy as np
import torch

torch.set_default_dtype(torch.float16)
torch.set_default_device("meta")
torch.set_grad_enabled(False)
torch.use_deterministic_algorithms(True)
torch.set_num_threads(2)
torch.manual_seed(0)
random.seed(0)
np.random.seed(0)

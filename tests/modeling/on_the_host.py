"""Which operations make a tensor on the host, while a model's own tensors lie on another device."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class HostOperations(TorchDispatchMode):
    """While it is on: `names` collects the operations that return a tensor on the CPU."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.names.extend(str(func) for t in [out] if isinstance(t, torch.Tensor) and t.device.type == "cpu")
        return out

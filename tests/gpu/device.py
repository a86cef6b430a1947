"""Says what is tested on what, and fails where the CUDA kernels cannot run at all."""

import torch

import sj_kernels
from sj_kernels import ops


def main() -> None:
    print(sj_kernels.__file__)
    print(sj_kernels.build_info())
    print("torch", torch.__version__, "for CUDA", torch.version.cuda)
    print(torch.cuda.get_device_properties(0))
    x = torch.full((2, 5), 0.6, device="cuda", requires_grad=True)
    s, _, _, _ = ops.neuron(x, neuron="if")
    s.sum().backward()
    torch.cuda.synchronize()
    assert s.tolist() == [[0.0] * 5, [1.0] * 5], s
    assert x.grad is not None
    print("one call, forward and backward: as it should be")


if __name__ == "__main__":
    main()

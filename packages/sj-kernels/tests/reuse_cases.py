"""What backward may meet: ways to use spikes, most of which keep the gradient for somebody else."""

import torch
from torch import Tensor

from sj_kernels import ops, simple

LIF = {"neuron": "lif", "params": (0.5, 0.0, 1.0), "detach_reset": True}
SHAPE = (4, 64, 2048)  # 2 MiB


def run(use, monkeypatch, shape=SHAPE, dtype=torch.float32, reuse_it=True, settings=None):
    """The gradient of x, and how many fresh tensors backward took, where `use(s)` runs it."""
    settings = settings or LIF
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    decay = None
    if settings["neuron"] == "plif":
        real = torch.float64 if dtype == torch.float64 else torch.float32
        decay = torch.tensor(0.4, dtype=real, requires_grad=True)
    s = ops.neuron(x, 0.1, decay=decay, multi_step=True, **settings)[0]
    fresh = []

    def noted(tensor):  # not those of the first call, which counts references
        if tensor.shape == x.shape:
            fresh.append(tensor)

    with monkeypatch.context() as patch:
        patch.setattr(simple, "_empty_like", lambda t: noted(t) or torch.empty_like(t))
        if not reuse_it:
            patch.setattr(simple, "is_last", lambda *_: False)
        use(s)
    return (x.grad, None if decay is None else decay.grad), len(fresh)


def weighted(s: Tensor) -> Tensor:
    return s.float() * torch.linspace(-1, 2, s.numel()).view_as(s)


def backward(s: Tensor) -> None:
    weighted(s).sum().backward()


KEPT: list[Tensor] = []


class Keeping(torch.autograd.Function):
    """The identity, whose backward keeps what it returns."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        KEPT.append(gradient)
        return gradient


class Made(torch.autograd.Function):
    """The identity, whose gradient is made by a function."""

    @staticmethod
    def forward(ctx, x, make):
        ctx.make = make
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return ctx.make(gradient), None


class Saved(torch.autograd.Function):
    """The identity, whose gradient is a tensor saved in forward."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(torch.linspace(-1, 2, x.numel()).view_as(x))
        return x.view_as(x)

    @staticmethod
    def backward(ctx, _):
        KEPT.append(ctx.saved_tensors[0].clone())
        return ctx.saved_tensors[0]


class Shared(torch.autograd.Function):
    """A sum that gives its gradient to one input, and a view of it to the other."""

    @staticmethod
    def forward(ctx, a, b):
        return a + b

    @staticmethod
    def backward(ctx, gradient):
        return gradient, gradient.view(-1).view_as(gradient)


def keep_in_hook(s):
    s.register_hook(KEPT.append)
    backward(s)


def keep_memory_in_hook(s):
    s.register_hook(lambda g: KEPT.append(g.detach()))
    backward(s)


def keep_numpy_in_hook(s):
    s.register_hook(lambda g: KEPT.append(torch.from_numpy(g.numpy())))
    backward(s)


def keep_storage_in_hook(s):
    storages = []
    s.register_hook(lambda g: storages.append(g.untyped_storage()))
    backward(s)
    KEPT.append(torch.empty(0).set_(storages[0]))


def keep_in_prehook(s):
    s.grad_fn.register_prehook(lambda gradients: KEPT.append(gradients[0]))
    backward(s)


def keep_in_posthook(s):
    s.grad_fn.register_hook(lambda _, gradients: KEPT.append(gradients[0]))
    backward(s)


def keep_what_a_view_gives(s):
    view = s.view(-1)
    view.register_hook(KEPT.append)
    weighted(view).sum().backward()


def keep_in_a_function(s):
    backward(Keeping.apply(s))


def capture(s):
    x = s.grad_fn.next_functions[0][0].variable
    gradient, x.grad = torch.autograd.grad(weighted(s).sum(), (s, x))
    KEPT.append(gradient)


def capture_a_view(s):
    x, view = s.grad_fn.next_functions[0][0].variable, s.view(-1)
    gradient, x.grad = torch.autograd.grad(weighted(view).sum(), (view, x))
    KEPT.append(gradient)


def give(s):
    KEPT.append(torch.linspace(-1, 2, s.numel()).view_as(s))
    s.backward(KEPT[-1])


def give_a_view(s):
    KEPT.append(torch.linspace(-1, 2, s.numel()))
    s.view(-1).backward(KEPT[-1])


def give_through_a_sum(s):
    other = torch.zeros_like(s, requires_grad=True)
    KEPT.append(torch.linspace(-1, 2, s.numel()).view_as(s))
    (s + other).backward(KEPT[-1])


def by_hand(s):
    KEPT.append(torch.linspace(-1, 2, s.numel()).view_as(s))
    _, s.grad_fn.next_functions[0][0].variable.grad, _ = s.grad_fn.apply(KEPT[-1], None)


def by_hand_within_a_hook(s):
    def hook(_):
        KEPT.append(torch.linspace(-1, 2, s.numel()).view_as(s))
        _, s.grad_fn.next_functions[0][0].variable.grad, _ = s.grad_fn.apply(KEPT[-1], None)

    one = torch.ones(1, requires_grad=True)
    one.register_hook(hook)
    one.sum().backward()


def by_hand_within_a_hook_of_its_own(s):
    x = s.grad_fn.next_functions[0][0].variable
    kept = torch.linspace(-1, 2, s.numel()).view_as(s)  # by this name alone

    def hook(_):
        _, x.grad, _ = s.grad_fn.apply(kept, None)

    s.grad_fn.register_prehook(hook)
    torch.autograd.grad(weighted(s).sum(), x)
    KEPT.append(kept)


def memory_of_numpy(s):
    memory = torch.linspace(-1, 2, s.numel()).numpy().copy()
    Made.apply(s, lambda _: torch.from_numpy(memory).view_as(s)).sum().backward()
    KEPT.append(torch.from_numpy(memory))


def memory_of_bytes(s):
    memory = bytearray(torch.linspace(-1, 2, s.numel()).numpy().tobytes())
    make = lambda: torch.frombuffer(memory, dtype=torch.float32)  # noqa: E731
    Made.apply(s, lambda _: make().view_as(s)).sum().backward()
    KEPT.append(make())


def memory_of_other_processes(s):
    def make(_):
        shared = torch.linspace(-1, 2, s.numel()).share_memory_()
        fd, size = shared.untyped_storage()._share_fd_cpu_()
        others = torch.UntypedStorage._new_shared_fd_cpu(fd, size)
        KEPT.append(torch.empty(0).set_(others))
        return shared.view_as(s)

    Made.apply(s, make).sum().backward()


def twice_from_what_was_saved(s):
    y = Saved.apply(s)
    y.sum().backward(retain_graph=True)
    s.grad_fn.next_functions[0][0].variable.grad = None
    y.sum().backward()


OTHERS = [
    *(keep_in_hook, keep_memory_in_hook, keep_numpy_in_hook, keep_in_prehook, keep_in_posthook),
    *(keep_what_a_view_gives, keep_in_a_function, capture, capture_a_view, give, give_a_view),
    *(give_through_a_sum, by_hand, by_hand_within_a_hook, keep_storage_in_hook, memory_of_numpy),
    *(memory_of_bytes, memory_of_other_processes),
]

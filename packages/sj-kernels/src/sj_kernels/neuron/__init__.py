r"""The step API: IF and LIF neurons as functions on tensors, and the modules built from them.

One step, with H the charged potential, S the spike, V the potential after the reset:

* IF: :math:`H = V + X`
* LIF: :math:`H = V + (X - (V - V_{rest}))/\tau`, or with `detach_input` (the input is not divided)
  :math:`H = V + X - (V - V_{rest})/\tau`; :math:`V_{rest}` is `v_reset`, 0 for a soft reset
* :math:`S = \Theta(H - v_{th})`, a potential exactly at the threshold fires
* hard reset: :math:`V = S\,v_{reset} + (1 - S) H`; soft: :math:`V = H - S\,v_{th}`

Families, for `{IF,LIF}` and `{hard,soft}`; hard ones take `v_reset` after `v_threshold`, soft ones
do not, and LIF ones end in `reciprocal_tau, detach_input`:

* `*_reset_forward(x, v, v_threshold[, v_reset]) -> (spike, v_next)`: one step, `x` and `v` `[*]`.
* `*_reset_fptt(x_seq, v, v_threshold[, v_reset]) -> (spike_seq, v_next)`: all steps of `x_seq`
  `[T, *]`; `v` is V before the first step, `v_next` V after the last (fptt: forward propagation
  through time).
* `*_reset_forward_with_grad(x, v, v_threshold[, v_reset], alpha, detach_reset,
  grad_surrogate_function_index)` and `*_reset_fptt_with_grad(x_seq, ...)` also return
  `grad_s_to_h` and `grad_v_to_h`, the derivatives of S and of V with respect to H in the same step,
  of the shape of `x` or `x_seq`: :math:`g'(H - v_{th})`, and :math:`1 - S + (v_{reset} - H) g'`
  (hard) or :math:`1 - v_{th}\,g'` (soft), without the term in :math:`g'` if `detach_reset`.
* `{IF,LIF}_backward(grad_spike, grad_v_next, grad_s_to_h, grad_v_to_h) -> (grad_x, grad_v)` and
  `{IF,LIF}_bptt(grad_spike_seq, ...) -> (grad_x_seq, grad_v)`: the chain rule with them.

None of these records a graph. `IFStep`, `IFMultiStep`, `LIFStep` and `LIFMultiStep` do: autograd
functions that keep only their inputs and recompute H. `IFNode`, `MultiStepIFNode`, `LIFNode` and
`MultiStepLIFNode` hold the state.

dtypes: `x` float16, bfloat16, float32 or float64; `v` and the derivatives float32 for half
precision, else the dtype of `x`. Surrogates are given by index, see `surrogate_function_dict`.

>>> import torch
>>> from sj_kernels import neuron
>>> neuron.LIF_hard_reset_forward(torch.tensor([1.0, 3.0]), torch.zeros(2), 1.0, 0.0, 0.5, False)
(tensor([0., 1.]), tensor([0.5000, 0.0000]))
"""

from sj_kernels.neuron.backward import (
    IF_backward as IF_backward,
    IF_bptt as IF_bptt,
    LIF_backward as LIF_backward,
    LIF_bptt as LIF_bptt,
)
from sj_kernels.neuron.forward import (
    IF_hard_reset_forward as IF_hard_reset_forward,
    IF_hard_reset_fptt as IF_hard_reset_fptt,
    IF_soft_reset_forward as IF_soft_reset_forward,
    IF_soft_reset_fptt as IF_soft_reset_fptt,
    LIF_hard_reset_forward as LIF_hard_reset_forward,
    LIF_hard_reset_fptt as LIF_hard_reset_fptt,
    LIF_soft_reset_forward as LIF_soft_reset_forward,
    LIF_soft_reset_fptt as LIF_soft_reset_fptt,
)
from sj_kernels.neuron.functions import (
    IFMultiStep as IFMultiStep,
    IFStep as IFStep,
    LIFMultiStep as LIFMultiStep,
    LIFStep as LIFStep,
)
from sj_kernels.neuron.modules import (
    BaseNode as BaseNode,
    IFNode as IFNode,
    LIFNode as LIFNode,
    MultiStepIFNode as MultiStepIFNode,
    MultiStepLIFNode as MultiStepLIFNode,
)
from sj_kernels.neuron.surrogates import surrogate_function_dict as surrogate_function_dict
from sj_kernels.neuron.with_grad import (
    IF_hard_reset_forward_with_grad as IF_hard_reset_forward_with_grad,
    IF_hard_reset_fptt_with_grad as IF_hard_reset_fptt_with_grad,
    IF_soft_reset_forward_with_grad as IF_soft_reset_forward_with_grad,
    IF_soft_reset_fptt_with_grad as IF_soft_reset_fptt_with_grad,
    LIF_hard_reset_forward_with_grad as LIF_hard_reset_forward_with_grad,
    LIF_hard_reset_fptt_with_grad as LIF_hard_reset_fptt_with_grad,
    LIF_soft_reset_forward_with_grad as LIF_soft_reset_forward_with_grad,
    LIF_soft_reset_fptt_with_grad as LIF_soft_reset_fptt_with_grad,
)

"""Functions on nets, on sequences and on the state that a net keeps."""

from sj_core.functional.forward import (
    chunk_multi_step_forward as chunk_multi_step_forward,
    multi_step_forward as multi_step_forward,
    seq_to_ann_forward as seq_to_ann_forward,
    t_last_multi_step_forward as t_last_multi_step_forward,
    t_last_seq_to_ann_forward as t_last_seq_to_ann_forward,
)
from sj_core.functional.net import (
    detach_net as detach_net,
    reset_net as reset_net,
    set_backend as set_backend,
    set_spiking_mode as set_spiking_mode,
    set_step_mode as set_step_mode,
)

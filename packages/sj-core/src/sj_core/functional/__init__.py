"""Functions on nets, on sequences and on the state that a net keeps."""

from sj_core.functional.conv_bn import (
    fuse_convbn2d as fuse_convbn2d,
    fused_conv2d_bias_of_convbn2d as fused_conv2d_bias_of_convbn2d,
    fused_conv2d_weight_of_convbn2d as fused_conv2d_weight_of_convbn2d,
    scale_fused_conv2d_bias_of_convbn2d as scale_fused_conv2d_bias_of_convbn2d,
    scale_fused_conv2d_weight_of_convbn2d as scale_fused_conv2d_weight_of_convbn2d,
)
from sj_core.functional.forward import (
    chunk_multi_step_forward as chunk_multi_step_forward,
    multi_step_forward as multi_step_forward,
    seq_to_ann_forward as seq_to_ann_forward,
    t_last_multi_step_forward as t_last_multi_step_forward,
    t_last_seq_to_ann_forward as t_last_seq_to_ann_forward,
)
from sj_core.functional.init import (
    kaiming_normal_conv_linear_weight as kaiming_normal_conv_linear_weight,
)
from sj_core.functional.net import (
    detach_net as detach_net,
    reset_net as reset_net,
    set_backend as set_backend,
    set_spiking_mode as set_spiking_mode,
    set_step_mode as set_step_mode,
)
from sj_core.functional.state import (
    functional_forward as functional_forward,
    get_state as get_state,
    named_memories as named_memories,
    set_state as set_state,
)
from sj_core.functional.tensor import (
    delay as delay,
    first_spike_index as first_spike_index,
    redundant_one_hot as redundant_one_hot,
    set_threshold_margin as set_threshold_margin,
)

"""Step modes and memories: what every module with a time axis or a state is built on."""

from sj_core.base.memory import (
    MemoryModule as MemoryModule,
    call_as_leaf as call_as_leaf,
)
from sj_core.base.recompute import (
    backward_at_work as backward_at_work,
    guard_own_forward as guard_own_forward,
    guarded as guarded,
    is_left as is_left,
    mark_left as mark_left,
    refuse_recompute as refuse_recompute,
)
from sj_core.base.step_mode import (
    STEP_MODES as STEP_MODES,
    MultiStepModule as MultiStepModule,
    SingleModule as SingleModule,
    StepModule as StepModule,
)
from sj_core.base.tensor import (
    out_of_inference as out_of_inference,
    state_dtype as state_dtype,
)
from sj_core.base.tree import (
    combine_tensors as combine_tensors,
    map_tensors as map_tensors,
)

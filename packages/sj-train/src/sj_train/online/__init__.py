"""Online learning: training whose memory does not grow with the number of time steps."""

from sj_train.online.fptt import (
    fptt_online_training as fptt_online_training,
    fptt_online_training_init_w_ra as fptt_online_training_init_w_ra,
)
from sj_train.online.fptt_optimizer import FPTT as FPTT
from sj_train.online.neuron import OTTTLIFNode as OTTTLIFNode, SLTTLIFNode as SLTTLIFNode
from sj_train.online.ottt import ottt_online_training as ottt_online_training
from sj_train.online.sequential import OTTTSequential as OTTTSequential
from sj_train.online.sltt import sltt_online_training as sltt_online_training

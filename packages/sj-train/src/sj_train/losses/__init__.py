"""Losses on spike trains, membrane potentials and firing rates."""

from sj_train.losses.membrane import membrane_mse as membrane_mse
from sj_train.losses.rate import (
    firing_rate_loss as firing_rate_loss,
    spike_count_cross_entropy as spike_count_cross_entropy,
)
from sj_train.losses.similarity import (
    kernel_dot_product as kernel_dot_product,
    spike_similar_loss as spike_similar_loss,
)
from sj_train.losses.tet import (
    TETLoss as TETLoss,
    temporal_efficient_training_cross_entropy as temporal_efficient_training_cross_entropy,
)
from sj_train.losses.van_rossum import van_rossum_distance as van_rossum_distance

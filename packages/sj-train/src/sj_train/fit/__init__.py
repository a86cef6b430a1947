"""The command `sj-train`, and the parts it is made of.

Only the settings are imported at once; the rest needs the extra `sj-train[fit]`.
"""

from typing import TYPE_CHECKING, Any

from sj_train.fit.config import FitConfig as FitConfig
from sj_train.fit.errors import ConfigError as ConfigError, RunError as RunError

if TYPE_CHECKING:
    from sj_train.fit.data import FitData as FitData
    from sj_train.fit.module import SpikingClassifier as SpikingClassifier


def __getattr__(name: str) -> Any:
    if name == "FitData":
        from sj_train.fit.data import FitData

        return FitData
    if name == "SpikingClassifier":
        from sj_train.fit.module import SpikingClassifier

        return SpikingClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

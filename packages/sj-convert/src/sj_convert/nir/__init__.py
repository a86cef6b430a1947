"""Exchange with other simulators and with hardware through NIR (extra `sj-convert[nir]`).

Pedersen et al., "Neuromorphic intermediate representation: a unified instruction set for
interoperable brain-inspired computing" (2024). NIR fires at ``v > v_threshold``, this library at
``v >= v_threshold``: a voltage exactly at the threshold is the one case in which they differ.
"""

try:
    import numpy as _numpy  # noqa: F401
except ImportError as error:
    raise ImportError(
        "Exchange through NIR needs the package nir: run `pip install 'sj-convert[nir]'`."
    ) from error

from sj_convert.nir.read import from_nir as from_nir
from sj_convert.nir.write import to_nir as to_nir

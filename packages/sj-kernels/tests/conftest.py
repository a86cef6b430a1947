import sys
from pathlib import Path

# `kernels_reference` is shared by these tests.
sys.path.insert(0, str(Path(__file__).parent))

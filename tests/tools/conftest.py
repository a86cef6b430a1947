"""The checkers are scripts, not a package: their folder has to be on the path, as when they run."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

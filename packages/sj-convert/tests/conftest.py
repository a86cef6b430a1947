"""Makes the helpers beside this file importable for every test below it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

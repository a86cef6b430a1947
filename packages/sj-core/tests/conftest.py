import sys
from pathlib import Path

# `state_cases` is shared by these tests.
sys.path.insert(0, str(Path(__file__).parent))

"""Sphinx settings; `nox -s docs` builds with warnings as errors."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "sj"
copyright = "the sj authors"
extensions = ["myst_parser", "api_pages"]
html_theme = "furo"
html_title = "sj: spiking neural networks for PyTorch"
exclude_patterns = ["_build", "_ext", "examples"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

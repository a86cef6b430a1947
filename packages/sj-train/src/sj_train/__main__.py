"""`python -m sj_train` is the command `sj-train`."""

import sys

from sj_train.fit.cli import main

if __name__ == "__main__":
    sys.exit(main())

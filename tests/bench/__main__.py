"""`python -m tests.bench` is `python -m tests.bench.matrix`."""

import sys

from tests.bench.matrix import main

if __name__ == "__main__":
    sys.exit(main())

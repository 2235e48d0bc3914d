"""`python -m rnri` is the command `rnri`."""

from __future__ import annotations

import sys

from rnri.cli import main

if __name__ == "__main__":
    sys.exit(main())

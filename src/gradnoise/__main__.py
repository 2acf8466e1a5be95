"""`python -m gradnoise`: the command line."""

import sys

from gradnoise.cli import main

if __name__ == "__main__":
    sys.exit(main())

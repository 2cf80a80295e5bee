"""`python -m nerp` is the `nerp` command."""

import sys

from nerp.cli import main

sys.exit(main())

"""`python -m router` is `tierwise`."""

import sys

from router.cli import main

sys.exit(main())

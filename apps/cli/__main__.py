"""`python -m apps.cli`, the same as `chaintune`."""

import sys

from apps.cli import main

sys.exit(main())

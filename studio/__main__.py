"""`python -m studio` is the same program as the console script `finetune-studio`."""

import sys

from studio.cli import main

sys.exit(main())

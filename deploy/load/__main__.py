"""``python -m deploy.load``: the generator as a process; see `deploy.load.process`."""

import sys

from deploy.load.process import main

sys.exit(main())

"""`python -m transport` is `voxtree`."""

import sys

from transport.cli.main import main

sys.exit(main())

"""`python -m merit`."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is loaded; see merit.parallel

from merit.cli import main

if __name__ == "__main__":
    main()

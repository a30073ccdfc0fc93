"""`python -m merit`."""

from merit.cli import main

if __name__ == "__main__":
    main()

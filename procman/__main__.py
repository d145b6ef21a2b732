"""`python -m procman` is `procman`."""

from procman.cli import main

if __name__ == "__main__":
    main()

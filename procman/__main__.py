"""`python -m procman` is `procman`."""

from procman.cli import console

if __name__ == "__main__":
    console()

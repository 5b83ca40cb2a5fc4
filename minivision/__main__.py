"""`python -m minivision` is the command `minivision`."""

from minivision.cli import main

if __name__ == "__main__":
    raise SystemExit(main())

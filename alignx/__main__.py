"""``python -m alignx`` is the ``alignx`` command."""

from alignx.cli import main

if __name__ == "__main__":
    main()

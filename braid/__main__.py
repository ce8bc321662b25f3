"""``python -m braid``: the same as the ``braid`` command."""

from braid.cli import main

if __name__ == "__main__":
    main()

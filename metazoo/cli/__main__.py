"""``python -m metazoo.cli``: the same as the command ``metazoo``."""

from metazoo.cli.main import main

if __name__ == "__main__":
    main()

"""``python -m bgnb``, and the command ``bgnb``."""

from bgnb._util.signals import ended_by_signals


def main() -> None:
    """Run the command line; signals are minded before the first import that takes time."""
    with ended_by_signals():
        from bgnb.cli.main import main

        main(prog_name="bgnb")


if __name__ == "__main__":
    main()

"""``python -m bgnb`` is the command ``bgnb``."""

from bgnb.cli import main

main(prog_name="bgnb")

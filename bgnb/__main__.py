"""Entry point of ``python -m bgnb`` and of the command ``bgnb``."""

import logging
import os
import sys

from bgnb._util.signals import ended_by_signals


def main() -> None:
    """Run the command line, with signal handlers installed before the slow imports."""
    with ended_by_signals():
        from bgnb._util.library_settings import forget_library_settings
        from bgnb._util.standard_streams import guard_streams, open_closed_streams
        from bgnb.files.caches import writable_places

        open_closed_streams()
        guard_streams()
        forget_library_settings(os.environ)
        os.environ.update(writable_places())
        # The grammar of IRIs, which only some formats of JSON Schema need: compiling it takes longer than to import nbformat.
        sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
        logging.getLogger("matplotlib").addHandler(logging.NullHandler())  # caches that cannot be written do not matter
        from bgnb.cli.main import main

        main(prog_name="bgnb")


if __name__ == "__main__":
    main()

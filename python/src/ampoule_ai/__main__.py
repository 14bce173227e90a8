"""``python -m ampoule_ai study-worker``: the process of a cell of a study, which ``ampoule_ai.study`` starts."""

import sys

from ._errors import AmpouleError
from ._load import native
from ._options import calibrated


def main(arguments: "list[str]") -> int:
    """Does what the arguments say; the exit code."""
    if arguments == ["study-worker"]:
        try:
            calibrated()
            native.study_worker()
        except AmpouleError as e:
            print(f"ampoule_ai: {e}", file=sys.stderr)
            return e.code
        return 0
    print(f"ampoule_ai {native.__version__}: a library; its cells of studies are started by ampoule_ai.study", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

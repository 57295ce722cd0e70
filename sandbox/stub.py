"""What every jail starts: `python -I -S stub.py FLAGS -- PROGRAM ...`, the way into `sandbox.keeper`.

So small because a program given by its path is compiled at every start, while the modules it imports are not.
"""

import sys

sys.path.append(sys.argv.pop(1))  # the folder that holds the package `sandbox`, here or inside a jail

from sandbox.keeper import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

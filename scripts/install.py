"""uv in the environment of this Python, with the indexes and folders of packages that pip is set to.

    python scripts/install.py pip install torch

uv reads none of pip's settings. Where pip's variables or files name a folder or an index, with a CPU build of torch
for instance, they become uv's variables here; what is set in uv's own stays as it is.
"""

import ast
import os
import subprocess
import sys

# pip's option: uv's variable, and what stands between two values there.
NAMES = {
    "find-links": ("UV_FIND_LINKS", ","),
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "cert": ("SSL_CERT_FILE", " "),
}


def from_pip(listing: str) -> dict[str, str]:
    """uv's variables for the settings in `listing`, the lines of `pip config list`: `global.find-links='/wheels'`."""
    told = dict(line.split("=", 1) for line in listing.splitlines() if "=" in line)
    found = {}
    for section in ("global", "install", ":env:"):  # as in pip, the later one wins
        for option, (variable, between) in NAMES.items():
            if f"{section}.{option}" in told:
                found[variable] = between.join(ast.literal_eval(told[f"{section}.{option}"]).split())
    if "UV_INDEX" in found:
        found["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # pip's way: the best version that any index has
    return found


if __name__ == "__main__":
    listing = subprocess.check_output([sys.executable, "-m", "pip", "config", "list"], text=True)
    environment = from_pip(listing) | os.environ | {"UV_PYTHON": sys.executable}
    sys.exit(subprocess.call([sys.executable, "-m", "uv", *sys.argv[1:]], env=environment))

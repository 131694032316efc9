"""Runs the rules: as `python -m policy` for people, as a policy pack for Pulumi's engine."""

from __future__ import annotations

import sys
from pathlib import Path

if __package__:
    from policy.command import main

    sys.exit(main(sys.argv[1:]))

# The engine runs this file by its path, in this folder, where the package is not to be found.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from policy.pack import serve

serve()

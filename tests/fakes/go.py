"""A Go that compiles nothing."""

from __future__ import annotations

from pathlib import Path

# Notes how it is called, says its version, lists packages, and "builds" scripts. $GO_FAILS names a program that it cannot
# build, for $GO_OFFLINE it can fetch no source.
FAKE_GO = """#!/bin/sh
echo "$PWD $*" >> "$GO_LOG"
case $1 in
env) echo "${GO_SAYS:-go1.99.0}"; exit 0 ;;
list) echo "go: downloading example.org/x v1.0.0"; [ -n "$GO_OFFLINE" ] && { echo "$GO_OFFLINE"; exit 1; }
    echo fmt; echo example.org/x/y; exit 0 ;;
esac
sleep "${GO_SLEEPS:-0}"
while [ "$1" != -o ]; do shift; done
folder=$2
shift 2
for package; do
    name=$(basename "${package%/v3}")
    [ "$name" = "$GO_FAILS" ] || printf '#!/bin/sh\\necho built\\n' > "$folder$name"
done
if [ -n "$GO_FAILS" ]; then echo "compiling"; echo "dial tcp: no route to host"; exit 1; fi
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path

#!/usr/bin/env bash
# Install torch-scatter for the torch at hand, compiling it only where no wheel of it is cached yet.
# It exists as source only and must see the installed torch, hence --no-build-isolation. Called by `make setup-ci`.
set -euo pipefail

: "${PYTHON:?the interpreter of the environment}" "${WHEELS:?the folder that keeps compiled wheels}"
requirement=$(grep --ignore-case '^torch[-_]scatter==' constraints.txt)
pip=("$PYTHON" -m pip --disable-pip-version-check --quiet)

key=$("$PYTHON" -c 'import platform, sys, torch
print(f"cp{sys.version_info.major}{sys.version_info.minor}-torch{torch.__version__}-{platform.machine()}")')
shelf="$WHEELS/$key"

if "$PYTHON" -c 'import torch_scatter' > /dev/null 2>&1; then
  exit 0
fi
if ! compgen -G "$shelf/torch_scatter-*.whl" > /dev/null; then
  echo "compiling torch-scatter for $key (some minutes; kept in $shelf)"
  "${pip[@]}" install --constraint constraints.txt setuptools wheel ninja
  mkdir -p "$WHEELS"
  fresh=$(mktemp -d "$WHEELS/.build-XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  PATH="$(cd "$(dirname "$PYTHON")" && pwd):$PATH" MAX_JOBS="${MAX_JOBS:-$(nproc)}" \
    "${pip[@]}" wheel --no-build-isolation --no-deps --wheel-dir "$fresh" "$requirement"
  mkdir -p "$shelf"
  mv "$fresh"/torch_scatter-*.whl "$shelf/"
fi
"${pip[@]}" install --no-deps "$shelf"/torch_scatter-*.whl
"$PYTHON" -c 'import torch_scatter'

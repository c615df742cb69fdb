#!/usr/bin/env bash
# Installs what is needed, builds and runs the tests: scripts/test.sh [PRESET] [ctest options]
# PRESET: release (default), dev, asan, tsan, ci. Once set up, it needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${1:-release}
shift || true

scripts/install_dependencies.sh
cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset"
# Some tests run on the real weights; without them (no network yet) they say that they were skipped.
PROMISEG=build/$preset/bin/promiseg scripts/fetch_weights.sh ||
  echo "Could not fetch the real weights: tests that need them will be skipped." >&2
ctest --preset "$preset" "$@"

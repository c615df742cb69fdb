#!/usr/bin/env bash
# Checks formatting of every source file, and with --tidy also runs clang-tidy (minutes).
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v clang-format >/dev/null; then
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" apt-get install -y -qq --no-install-recommends clang-format >/dev/null
fi
git ls-files '*.hpp' '*.cpp' | xargs clang-format --dry-run --Werror

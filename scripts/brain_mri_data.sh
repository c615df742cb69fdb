#!/usr/bin/env bash
# Writes a list of labelled MRI slices: scripts/brain_mri_data.sh OUT.csv
# The volume is Colin27, one healthy head, as Debian's mricron-data carries it (BSD-3); it is
# installed if it is not there. Axial and sagittal slices train, coronal ones, which training never
# sees, test.
set -euo pipefail

out=$1
folder=${PROMISEG_BRAIN_MRI:-/usr/share/mricron/templates}
head=$folder/ch2.nii.gz
brain=$folder/ch2bet.nii.gz

if [ ! -f "$head" ] || [ ! -f "$brain" ]; then
  if ! command -v apt-get >/dev/null; then
    echo "Get ch2.nii.gz and ch2bet.nii.gz (MRIcron's templates) and name their folder in" \
      "PROMISEG_BRAIN_MRI." >&2
    exit 1
  fi
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" apt-get install -y -qq --no-install-recommends mricron-data >/dev/null
fi

rows() {  # SPLIT AXIS FIRST STEP LAST
  for slice in $(seq "$3" "$4" "$5"); do
    echo "$head#$2=$slice,$1,$brain#$2=$slice"
  done
}

{
  echo "image_name,train_type,mask_name"
  rows train axial 8 2 150
  rows train sagittal 20 2 158
  rows val axial 11 14 151
  rows val sagittal 23 14 157
  rows test coronal 25 6 193
} >"$out.partial"
mv "$out.partial" "$out"

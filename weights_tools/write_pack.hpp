// Packs from tensors in memory, as training makes them.
#pragma once

#include "promiseg/adapt/pack_file.hpp"
#include "write_weights.hpp"

namespace promiseg::tools {

/// Writes a pack and leaves it to the caller to commit, as a model may have to appear with it.
/// Fills in the provenance's hash of the weights. Throws what `write_weights` throws.
void write_pack(AtomicFile& file, const PackConfig& config, PackProvenance provenance,
                const NamedTensors& tensors, DType dtype = DType::f32);

}  // namespace promiseg::tools

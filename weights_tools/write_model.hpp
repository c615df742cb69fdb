// Models from tensors in memory, as training makes them.
#pragma once

#include "promiseg/sam/model_file.hpp"
#include "write_weights.hpp"

namespace promiseg::tools {

/// Writes a model file of float32 numbers and leaves it to the caller to commit, as packs may
/// belong to it. `tensors` are all that the config needs. Returns the provenance with the hash of
/// the weights, which it fills in. Throws what `AtomicFile::write` throws.
ModelProvenance write_model(AtomicFile& file, const ModelConfig& config, ModelProvenance provenance,
                            const NamedTensors& tensors);

}  // namespace promiseg::tools

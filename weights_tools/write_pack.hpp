// Packs from tensors in memory, as training makes them.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "promiseg/adapt/pack_file.hpp"
#include "promiseg/core/dtype.hpp"

namespace promiseg::tools {

/// A tensor of a pack to be written.
struct PackTensor {
  std::vector<Index> shape;
  std::span<const float> values;
};

/// Writes a pack atomically, its numbers as float32 or, at half the size, float16. Fills in the
/// provenance's hash of the weights as they are stored. Throws `unsupported` for another type,
/// `not_found` or `io` if the file cannot be written.
void write_pack(const std::filesystem::path& path, const PackConfig& config,
                PackProvenance provenance, const std::map<std::string, PackTensor>& tensors,
                DType dtype = DType::f32);

}  // namespace promiseg::tools

// Weight files from tensors in memory, as training makes them: what models and packs share.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "promiseg/core/dtype.hpp"
#include "promiseg/core/tensor_view.hpp"
#include "promiseg/io/file.hpp"

namespace promiseg::tools {

/// A tensor to be written.
struct TensorValues {
  std::vector<Index> shape;
  std::span<const float> values;
};

/// Tensors by their names.
using NamedTensors = std::map<std::string, TensorValues>;

/// Writes tensors as float32 or, at half the size, float16, and leaves it to the caller to commit.
/// `describe` makes the file's metadata from the hash of the weights as they are stored. Throws
/// `unsupported` for another type, and what `AtomicFile::write` throws.
void write_weights(AtomicFile& file, const NamedTensors& tensors, DType dtype,
                   const std::function<std::string(const std::string& sha256)>& describe);

}  // namespace promiseg::tools

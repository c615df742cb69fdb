#include "write_weights.hpp"

#include <cstdint>

#include "promiseg/io/to_float16.hpp"
#include "promiseg/sam/model_file.hpp"
#include "sha256.hpp"

namespace promiseg::tools {

void write_weights(AtomicFile& file, const NamedTensors& tensors, DType dtype,
                   const std::function<std::string(const std::string& sha256)>& describe) {
  require(dtype == DType::f32 || dtype == DType::f16, ErrorCode::unsupported,
          "weights are written as F32 or F16, not ", to_string(dtype));
  std::map<std::string, std::vector<std::uint16_t>> halves;
  TensorEntries entries;
  for (const auto& [name, tensor] : tensors) {
    std::span<const std::byte> bytes = std::as_bytes(tensor.values);
    if (dtype == DType::f16) {
      halves[name] = to_float16("tensor \"" + name + "\"", tensor.values);
      bytes = std::as_bytes(std::span(halves[name]));
    }
    entries.emplace(name, TensorEntry{dtype, tensor.shape, bytes});
  }
  SafetensorsWriter writer;
  writer.set_metadata(kMetadataKey, describe(weights_sha256(entries)));
  for (const auto& [name, entry] : entries) writer.add(name, entry);
  writer.write(file);
}

}  // namespace promiseg::tools

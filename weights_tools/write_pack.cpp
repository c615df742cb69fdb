#include "write_pack.hpp"

#include <cstdint>
#include <utility>

#include "sha256.hpp"

namespace promiseg::tools {

void write_pack(const std::filesystem::path& path, const PackConfig& config,
                PackProvenance provenance, const std::map<std::string, PackTensor>& tensors,
                DType dtype) {
  require(dtype == DType::f32 || dtype == DType::f16, ErrorCode::unsupported,
          "packs are written as F32 or F16, not ", to_string(dtype));
  std::map<std::string, std::vector<std::uint16_t>> halves;
  TensorEntries entries;
  for (const auto& [name, tensor] : tensors) {
    std::span<const std::byte> bytes = std::as_bytes(tensor.values);
    if (dtype == DType::f16) {
      std::vector<std::uint16_t>& bits = halves[name];
      bits.reserve(tensor.values.size());
      for (float value : tensor.values) bits.push_back(float_to_half(value));
      bytes = std::as_bytes(std::span(bits));
    }
    entries.emplace(name, TensorEntry{dtype, tensor.shape, bytes});
  }
  provenance.weights_sha256 = weights_sha256(entries);
  SafetensorsWriter writer;
  writer.set_metadata(kMetadataKey, pack_metadata(config, provenance));
  for (const auto& [name, entry] : entries) writer.add(name, entry);
  writer.write(path);
}

}  // namespace promiseg::tools

// One way to look at any file that holds named tensors: safetensors, checkpoint or wheel.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sha256.hpp"

namespace promiseg::tools {

enum class InputFormat { safetensors, checkpoint, wheel };

/// "safetensors", "checkpoint" or "wheel".
std::string_view to_string(InputFormat format);

/// All tensors of a file, in the types they are stored with.
struct WeightInput {
  std::string name;    ///< for messages: the path, for a wheel also the member
  std::string source;  ///< the file's name without folders, for a wheel also the member's path
  InputFormat format = InputFormat::safetensors;
  std::map<std::string, std::string> metadata;  ///< of a safetensors file
  TensorEntries tensors;
  std::vector<std::string> skipped;  ///< entries of a checkpoint that are no weights
  std::span<const std::byte> bytes;  ///< the file, for a wheel the member that holds the weights
  std::vector<std::shared_ptr<const void>> ownership;  ///< what `tensors` and `bytes` lie in
};

/// True if the bytes begin as a safetensors file does, whatever the file's name.
bool looks_like_safetensors(std::span<const std::byte> bytes);

/// Opens a safetensors file, a `torch.save` checkpoint or a wheel that holds one; its contents
/// decide, not its name. Throws what `SafetensorsFile` and `read_torch_checkpoint` throw.
WeightInput open_weights(const std::filesystem::path& path);

}  // namespace promiseg::tools

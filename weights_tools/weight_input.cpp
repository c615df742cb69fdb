#include "weight_input.hpp"

#include <cstdint>
#include <cstring>
#include <utility>

#include "promiseg/io/file.hpp"
#include "promiseg/io/torch_checkpoint.hpp"

namespace promiseg::tools {

namespace {

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void take_checkpoint(TorchCheckpoint&& read, WeightInput& input) {
  auto checkpoint = std::make_shared<const TorchCheckpoint>(std::move(read));
  for (const CheckpointTensor& tensor : checkpoint->tensors) {
    input.tensors.emplace(tensor.name, TensorEntry{tensor.dtype, tensor.shape, tensor.bytes});
  }
  input.skipped = checkpoint->skipped;
  input.ownership.push_back(std::move(checkpoint));
}

}  // namespace

std::string_view to_string(InputFormat format) {
  switch (format) {
    case InputFormat::safetensors:
      return "safetensors";
    case InputFormat::checkpoint:
      return "checkpoint";
    case InputFormat::wheel:
      return "wheel";
  }
  fail(ErrorCode::invalid_argument, "no input format has the number ", static_cast<int>(format));
}

bool looks_like_safetensors(std::span<const std::byte> bytes) {
  std::uint64_t header_size = 0;
  if (bytes.size() <= sizeof header_size || bytes[sizeof header_size] != std::byte{'{'}) {
    return false;
  }
  std::memcpy(&header_size, bytes.data(), sizeof header_size);
  // A truncated file's header may not fit, and a header's size may begin as a pickle does.
  const std::string_view text = text_of(bytes);
  return header_size <= bytes.size() - sizeof header_size ||
         !(text.starts_with("PK") || text.starts_with('\x80'));
}

WeightInput open_weights(const std::filesystem::path& path) {
  WeightInput input;
  input.name = path.string();
  input.source = path.filename().string();
  const auto file = std::make_shared<const MappedFile>(path);
  input.bytes = file->bytes();
  input.ownership.push_back(file);
  if (looks_like_safetensors(input.bytes)) {
    auto opened = std::make_shared<const SafetensorsFile>(path);
    input.tensors = opened->tensors();
    input.metadata = opened->metadata();
    input.ownership.push_back(std::move(opened));
    return input;
  }
  if (auto found = read_archived_checkpoint(input.bytes, input.name)) {
    const auto member = std::make_shared<const ArchivedCheckpoint>(*std::move(found));
    input.format = InputFormat::wheel;
    input.name += " (" + printable(member->path) + ")";
    input.source += "/" + member->path;
    input.bytes = member->bytes;
    input.ownership.push_back(member);
    take_checkpoint(parse_plain_checkpoint(input.bytes, input.name), input);
    return input;
  }
  input.format = InputFormat::checkpoint;
  take_checkpoint(parse_plain_checkpoint(input.bytes, input.name), input);
  return input;
}

}  // namespace promiseg::tools

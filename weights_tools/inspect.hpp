// Describes and checks weight files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "promiseg/io/json.hpp"
#include "promiseg/sam/model_config.hpp"

namespace promiseg::tools {

/// Describes any safetensors file, `torch.save` checkpoint or wheel that holds one, as an object:
///
/// - `file`, `format` (safetensors, checkpoint, wheel), `bytes` of the file;
/// - `kind`: model, pack or embedding for a promiseg file, else the format;
/// - what a promiseg file says about itself: `format_version`, `config`, `source`, ...;
/// - else `config` and `notes`, if the tensors are those of a SAM, as `convert_model` finds them;
/// - `metadata`: other text of a safetensors file; `skipped`: entries of a checkpoint that are no
///   weights;
/// - `tensor_count`, `values`, `tensor_bytes`, `dtypes` ({"F32": number of tensors, ...});
/// - `tensors`: an array of {`name`, `dtype`, `shape`}, by name.
///
/// Throws what `open_weights` throws, and `bad_format` if a promiseg file's description is no JSON
/// object.
Json inspect(const std::filesystem::path& path);

/// The result of `inspect` for people: several lines, each with its line end.
std::string to_text(const Json& description);

/// What `verify` found.
struct VerifyReport {
  ModelConfig config;
  std::size_t tensors = 0;
  std::uint64_t values = 0;
  std::string weights_sha256;         ///< of the tensors as they are
  std::vector<std::string> problems;  ///< one sentence each; empty for a sound model

  bool ok() const { return problems.empty(); }
};

/// For `--json`.
Json to_json(const VerifyReport& report);

/// For people: several lines, each with its line end.
std::string to_text(const VerifyReport& report);

/// Checks a model file: every tensor of its config is there with its shape and a floating-point
/// type and no other is, all values are finite, and the weights have the hash that the file names.
/// What is wrong with the weights is reported, at most a hundred problems of a kind. Throws what
/// `ModelFile` throws if the file cannot be read as a model at all.
VerifyReport verify(const std::filesystem::path& path);

}  // namespace promiseg::tools

// Describes and checks weight files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "promiseg/io/json.hpp"

namespace promiseg::tools {

/// Describes any safetensors file, `torch.save` checkpoint or wheel that holds one, as an object:
///
/// - `file`, `format` (safetensors, checkpoint, wheel), `bytes` of the file;
/// - `kind`: model, pack or embedding for a promiseg file, else the format;
/// - what a promiseg file says about itself: `format_version`, `config`, `source`, for a pack
///   `model_name`, `model_sha256`, ...;
/// - else `config` and `notes`, if the tensors are those of a SAM, as `convert_model` finds them,
///   and `adapter_tensors` (their number) and `pack_config` if ProMISe's modules are there;
/// - `summary` of a pack or of such modules, in words;
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
  std::string kind;     ///< "model" or "pack"
  std::string summary;  ///< the architecture, or what modules a pack has
  Json config;
  std::string model_name;    ///< of a pack: the model it belongs to
  std::string model_sha256;  ///< likewise
  std::size_t tensors = 0;
  std::uint64_t values = 0;
  std::string weights_sha256;         ///< of the tensors as they are
  std::vector<std::string> notes;     ///< what was not checked, and how it would be
  std::vector<std::string> problems;  ///< one sentence each; empty for a sound file

  bool ok() const { return problems.empty(); }
};

/// For `--json`.
Json to_json(const VerifyReport& report);

/// For people: several lines, each with its line end.
std::string to_text(const VerifyReport& report);

/// Checks a model or pack file: every tensor of its config is there with its shape and a
/// floating-point type and no other is, all values are finite, and the weights have the hash that
/// the file names. `model` is for packs: with it (and only then) the sizes that the model decides
/// are compared, and the pack must belong to it. What is wrong with the weights is reported, at
/// most a hundred problems of a kind. Throws what `ModelFile` and `PackFile` throw if a file cannot
/// be read as one at all, and `invalid_argument` if `model` is given for anything but a pack.
VerifyReport verify(const std::filesystem::path& path,
                    const std::optional<std::filesystem::path>& model = std::nullopt);

}  // namespace promiseg::tools

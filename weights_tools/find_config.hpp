// Reads a model's config off the names and shapes of its tensors.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "promiseg/io/json.hpp"
#include "promiseg/sam/model_config.hpp"
#include "sha256.hpp"

namespace promiseg::tools {

struct FoundConfig {
  ModelConfig config;
  std::vector<std::string> notes;  ///< "decoder_num_heads 8: assumed, the weights do not tell"
};

/// The config of a SAM with a ViT or TinyViT encoder. What shapes do not tell takes the published
/// value, and a note says so, unless `overrides` (a JSON object of config fields) sets it; the
/// overrides also win over what was found. `arch` becomes `arch_name` of the result. `label` names
/// the file in messages. Throws `bad_weights` naming the tensor that is missing or has an
/// impossible shape, `invalid_argument` for bad overrides or a config that contradicts itself.
FoundConfig find_config(const TensorEntries& tensors, const std::optional<Json>& overrides,
                        const std::string& label);

/// vit_b, vit_l or vit_h if `config` is that published one, "vit" for another ViT, "litemedsam" for
/// every TinyViT.
std::string arch_name(const ModelConfig& config);

/// The fields in which two configs differ, "encoder_depth: expected 24, found 12"; empty if equal.
/// The name `arch` does not count.
std::vector<std::string> differences(const ModelConfig& expected, const ModelConfig& found);

}  // namespace promiseg::tools

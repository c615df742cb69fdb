// Reads a pack's config off the names and shapes of its tensors.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "promiseg/adapt/pack_config.hpp"
#include "promiseg/io/json.hpp"
#include "sha256.hpp"

namespace promiseg::tools {

struct FoundPackConfig {
  PackConfig config;
  std::vector<std::string> notes;  ///< "tap_blocks [12, 9, 6]: assumed, the weights do not tell"
  bool labels_assumed = false;     ///< nobody said which points are objects
};

/// The config of a pack of the original's modules for `model`: tensors of `sort_tensors`. What
/// shapes do not tell takes the paper's value, and a note says so, unless `overrides` (a JSON
/// object of config fields) sets it. `label` names the file in messages. Throws `bad_weights`
/// naming the tensor that is missing or does not fit the model; `invalid_argument` for bad
/// overrides or a config that contradicts itself or the model.
FoundPackConfig find_pack_config(const TensorEntries& tensors, const ModelConfig& model,
                                 const std::optional<Json>& overrides, const std::string& label);

/// "APM ResNet-34, taps 12, 9, 6, 16 points (8 object, 8 background), IPS hidden 1024".
std::string describe_pack(const PackConfig& config, bool labels_assumed = false);

}  // namespace promiseg::tools

// Tells SAM's tensors from those of the ProMISe modules, which are trained beside it.
#pragma once

#include <string>
#include <string_view>

#include "promiseg/io/json.hpp"
#include "sha256.hpp"

namespace promiseg::tools {

/// The tensors of a checkpoint by the file they belong into.
struct SortedTensors {
  TensorEntries model;  ///< SAM's, and all that are unknown
  TensorEntries pack;   ///< APM's and IPS's, under their newer names

  /// False for a checkpoint of nothing but adapters.
  bool holds_sam() const;
};

/// Leaves out what checkpoints hold beside weights: BatchNorm's `num_batches_tracked`, SAM's
/// `pixel_mean` and `pixel_std`. The older `ffn.lin1` and `ffn.lin2` of IPS become `ips_ffn.lin1`
/// and `ips_ffn.lin2`. `label` names the file in messages. Throws `bad_weights` if a tensor is
/// there under both names.
SortedTensors sort_tensors(const TensorEntries& tensors, const std::string& label);

/// True for a tensor of the ProMISe modules, which a model file does not hold.
bool is_adapter_tensor(std::string_view name);

/// Members of a `--config` object by whose config has a field of that name; null without any.
struct SortedConfig {
  Json model;
  Json pack;
};

/// Throws `invalid_argument` naming a member that neither a model nor a pack has, whatever its
/// kind.
SortedConfig sort_config(const Json& fields);

}  // namespace promiseg::tools

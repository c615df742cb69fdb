// Compares the tensors of a file with those its config asks for.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "promiseg/sam/model_config.hpp"
#include "sha256.hpp"

namespace promiseg::tools {

/// What `check_tensors` found.
struct TensorCheck {
  std::vector<std::string> names;     ///< the model's tensors, in the order of its modules
  std::vector<std::string> problems;  ///< one sentence each, naming the tensor
};

/// Asks for every tensor of the model as the model itself would: it must be there with the config's
/// shape and a floating-point type. Tensors that nothing asks for are problems too, but for
/// BatchNorm's `num_batches_tracked` and SAM's `pixel_mean` and `pixel_std`. Stops after a hundred
/// problems.
TensorCheck check_tensors(const TensorEntries& tensors, const ModelConfig& config);

/// The first few problems and the number of the others, for one message.
std::string summary(const std::vector<std::string>& problems);

/// True for a tensor that a checkpoint may hold beside the weights and that no model needs.
bool is_ignored_tensor(std::string_view name);

/// True for a tensor of the ProMISe modules, which a model file does not hold.
bool is_adapter_tensor(std::string_view name);

}  // namespace promiseg::tools

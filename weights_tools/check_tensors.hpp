// Compares the tensors of a file with those its config asks for.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "promiseg/adapt/pack_config.hpp"
#include "promiseg/sam/model_config.hpp"
#include "sha256.hpp"

namespace promiseg::tools {

/// Most problems of one file that are listed.
inline constexpr std::size_t kMostProblems = 100;

/// What a comparison found.
struct TensorCheck {
  std::vector<std::string> names;     ///< the tensors asked for, in the order of the modules
  std::vector<std::string> problems;  ///< one sentence each, naming the tensor
};

/// Asks for every tensor of the model as the model itself would: it must be there with the config's
/// shape and a floating-point type. Tensors that nothing asks for are problems too.
TensorCheck check_model_tensors(const TensorEntries& tensors, const ModelConfig& config);

/// The same for a pack and the model it belongs to. What checkpoints hold but nothing uses may be
/// missing.
TensorCheck check_pack_tensors(const TensorEntries& tensors, const PackConfig& config,
                               const ModelConfig& model);

/// The same for a pack whose model is not at hand: extents that the model decides may be any.
TensorCheck check_pack_tensors(const TensorEntries& tensors, const PackConfig& config);

/// The first few problems and the number of the others, for one message.
std::string summary(const std::vector<std::string>& problems);

}  // namespace promiseg::tools

// How much memory a model takes, known before it runs.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "command.hpp"
#include "promiseg/adapt/pack_file.hpp"
#include "promiseg/eigen/backend.hpp"
#include "promiseg/io/json.hpp"
#include "promiseg/sam/model_file.hpp"

namespace promiseg::cli {

/// Bytes. The program itself and its images come on top: some thirty megabytes, and about ten
/// bytes for every pixel of an image.
struct MemoryPlan {
  std::size_t loading = 0;  ///< of the file, what is converted of it, and the prepared weights
  std::size_t weights = 0;  ///< prepared, as long as the model lives
  std::size_t working = 0;  ///< the rest of what a run takes: tensors and scratch memory

  std::size_t running() const { return weights + working; }
  std::size_t peak() const { return loading > running() ? loading : running(); }
};

/// What encoding an image and decoding so many boxes at once (at most `kMaxDecodedAtOnce`)
/// take on the CPU backend, with what packs need, exactly: the model's own code runs, with a
/// backend that takes the memory and computes nothing. `options.computes` is ignored. Throws what
/// `Predictor` and `Pack` throw.
MemoryPlan plan_memory(const ModelFile& file, const std::vector<PackFile>& packs,
                       EigenOptions options, std::size_t prompts);

/// Throws `unsupported`, naming both figures, if a model takes more than `--max-memory` allows, and
/// `UsageError` for a backend whose memory is not known beforehand. Without the option nothing is
/// done.
void require_enough_memory(const CommonOptions& options, const ModelFile& file,
                           const std::vector<PackFile>& packs, std::size_t prompts);

/// For `--json`, and for people.
Json to_json(const MemoryPlan& plan);
std::string to_text(const MemoryPlan& plan);

}  // namespace promiseg::cli

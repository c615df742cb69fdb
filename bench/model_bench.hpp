// Benchmarks of whole models and their stages.
#pragma once

#include <cstdint>

#include "machine.hpp"

namespace promiseg::bench {

inline constexpr std::uint64_t kSeed = 111;  ///< of all synthetic weights and features

/// Registers `model/...` and `stage/...` with Google Benchmark, each on its own backend.
void register_model_benchmarks(const Machine& machine);

/// Registers one training step of IPS alone and of APM with IPS.
void register_training_benchmarks(const Machine& machine);

}  // namespace promiseg::bench

// Benchmarks of the CPU backend's primitives.
#pragma once

#include "machine.hpp"

namespace promiseg::bench {

/// Registers `kernel/OPERATION/...` with Google Benchmark: every case of the conformance table, the
/// heavy ones included, on one backend.
void register_kernel_benchmarks(const Machine& machine);

}  // namespace promiseg::bench

// Benchmarks of the CPU backend's primitives.
#pragma once

namespace promiseg::bench {

/// Registers `kernel/OPERATION/...` with Google Benchmark: every case of the conformance table, the
/// heavy ones included, on one backend of this many threads.
void register_kernel_benchmarks(int threads);

}  // namespace promiseg::bench

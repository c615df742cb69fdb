// What the machine itself can do, so that a figure can be read as a share of it.
#pragma once

#include "promiseg/core/precision.hpp"

namespace promiseg::bench {

/// The machine that benchmarks run on.
struct Machine {
  int threads = 2;
  double fp32_gflops = 0;  ///< multiply-adds from registers alone, an addition counted by itself
  double bf16_gflops = 0;  ///< the same with pairs of bfloat16; without such instructions as fp32
  double copy_gbs = 0;     ///< memory copied, reads and writes together; far beyond the caches

  double gflops(Precision precision) const {
    return precision == Precision::bf16 ? bf16_gflops : fp32_gflops;
  }
};

/// Measures for about a second, on so many threads and with `eigen::default_isa`. All figures
/// are the best of several rounds.
Machine measure_machine(int threads);

}  // namespace promiseg::bench

// The timing loop of the benchmarks.
#pragma once

#include <benchmark/benchmark.h>

#include <chrono>

#include "conformance/operation.hpp"
#include "machine.hpp"

namespace promiseg::bench {

/// Runs `body` until the library has seen enough and reports its rates in wall-clock time, and that
/// of its arithmetic as a share of the machine's at that precision. Names stay free of the suffix
/// that `UseRealTime` gives them.
template <class Body>
void measure(benchmark::State& state, const Machine& machine, Precision precision,
             const conformance::Work& work, const Body& body) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  for (auto _ : state) {
    body();
    benchmark::ClobberMemory();
  }
  const std::chrono::duration<double> elapsed = Clock::now() - start;
  const double runs_per_nanosecond =
      static_cast<double>(state.iterations()) / elapsed.count() * 1e-9;
  if (work.flops > 0) {
    const double gflops = work.flops * runs_per_nanosecond;
    state.counters["GFLOP/s"] = gflops;
    if (machine.gflops(precision) > 0) {
      state.counters["of_peak"] = gflops / machine.gflops(precision);
    }
  }
  if (work.bytes > 0) state.counters["GB/s"] = work.bytes * runs_per_nanosecond;
}

}  // namespace promiseg::bench

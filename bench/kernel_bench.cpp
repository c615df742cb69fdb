// The conformance table as benchmarks: speed, and beside it the error against the reference.
#include "kernel_bench.hpp"

#include <benchmark/benchmark.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "conformance/cases.hpp"
#include "conformance/compare.hpp"
#include "measure.hpp"
#include "promiseg/backend/reference.hpp"
#include "promiseg/eigen/backend.hpp"

namespace promiseg::bench {

namespace {

using conformance::Case;

/// Holds the operands of one case at a time: the library calls a benchmark several times to find
/// how often to run it, and the largest operands take longer to make than to use.
class KernelBenchmarks {
 public:
  KernelBenchmarks(const Machine& machine, Precision precision)
      : machine_(machine), backend_({.threads = machine.threads, .precision = precision}) {}

  void run(benchmark::State& state, const Case& item) {
    if (current_ != &item) prepare(item);
    if (!problem_.empty()) {
      state.SkipWithError(problem_.c_str());
      return;
    }
    prepared_.reset();
    measure(state, machine_, backend_.precision(), item.work, prepared_.run);
    if (relative_error_.has_value()) state.counters["rel_error"] = *relative_error_;
  }

 private:
  void prepare(const Case& item) {
    current_ = nullptr;
    prepared_ = {};  // before the next operands need memory
    prepared_ = conformance::prepare(backend_, item);
    relative_error_.reset();
    problem_.clear();
    if (!item.heavy) check(item);
    current_ = &item;
  }

  void check(const Case& item) {
    ReferenceBackend oracle(backend_.precision());
    const auto expected = conformance::prepare(oracle, item);
    const auto reference = conformance::elements_of(run_once(expected), expected.output);
    const auto verdict = conformance::compare(run_once(prepared_), prepared_.output, reference,
                                              conformance::tolerance(item, backend_.precision()));
    relative_error_ = verdict.relative_l2;
    problem_ = verdict.problem;
  }

  Machine machine_;
  EigenBackend backend_;
  const Case* current_ = nullptr;
  conformance::PreparedCase prepared_;
  std::optional<double> relative_error_;  ///< empty for heavy cases: the reference takes too long
  std::string problem_;
};

}  // namespace

void register_kernel_benchmarks(const Machine& machine) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    const auto benchmarks = std::make_shared<KernelBenchmarks>(machine, precision);
    for (const Case& item : conformance::cases()) {
      if (precision == Precision::bf16 && !conformance::is_product(item.operation)) continue;
      const std::string name =
          "kernel/" + item.name + (precision == Precision::bf16 ? "/bf16" : "");
      benchmark::RegisterBenchmark(name.c_str(), [benchmarks, &item](benchmark::State& state) {
        benchmarks->run(state, item);
      })->Unit(benchmark::kMicrosecond);
    }
  }
}

}  // namespace promiseg::bench

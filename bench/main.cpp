// promiseg_bench: Google Benchmark's own options, `--threads N` (2 if not given), and `--no-probe`,
// which leaves out measuring the machine.
//
//   promiseg_bench --threads 4 --benchmark_filter=kernel/gemm --benchmark_format=json
#include <benchmark/benchmark.h>

#include <charconv>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernel_bench.hpp"
#include "machine.hpp"
#include "model_bench.hpp"
#include "promiseg/eigen/isa.hpp"

namespace {

/// Takes `--threads N` or `--threads=N` out of the arguments. Empty if N is no positive number.
std::optional<int> take_threads(std::vector<char*>& arguments) {
  constexpr std::string_view kOption = "--threads";
  int threads = 2;
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    std::string_view text = arguments[i];
    if (text.substr(0, kOption.size()) != kOption) continue;
    text.remove_prefix(kOption.size());
    std::size_t used = 1;
    if (text.empty() && i + 1 < arguments.size()) {
      text = arguments[i + 1];
      used = 2;
    } else if (!text.empty() && text.front() == '=') {
      text.remove_prefix(1);
    } else {
      return std::nullopt;
    }
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), threads);
    if (error != std::errc() || end != text.data() + text.size() || threads < 1) {
      return std::nullopt;
    }
    const auto first = arguments.begin() + static_cast<std::ptrdiff_t>(i);
    arguments.erase(first, first + static_cast<std::ptrdiff_t>(used));
    --i;
  }
  return threads;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<char*> arguments(argv, argv + argc);
  const std::optional<int> threads = take_threads(arguments);
  if (!threads.has_value()) {
    std::cerr << "promiseg_bench: --threads: expected a positive number\n";
    return 2;
  }
  // It takes 256 MiB, which would hide what a small model takes.
  const bool probes = std::erase_if(arguments, [](const char* argument) {
                        return std::string_view(argument) == "--no-probe";
                      }) == 0;
  int count = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  benchmark::AddCustomContext("promiseg_threads", std::to_string(*threads));
  benchmark::AddCustomContext(
      "promiseg_instruction_set",
      std::string(promiseg::eigen::to_string(promiseg::eigen::default_isa())));
  promiseg::bench::Machine machine;
  machine.threads = *threads;
  if (probes) machine = promiseg::bench::measure_machine(*threads);
  benchmark::AddCustomContext("promiseg_peak_fp32_gflops", std::to_string(machine.fp32_gflops));
  benchmark::AddCustomContext("promiseg_peak_bf16_gflops", std::to_string(machine.bf16_gflops));
  benchmark::AddCustomContext("promiseg_copy_gbs", std::to_string(machine.copy_gbs));
  promiseg::bench::register_kernel_benchmarks(machine);
  promiseg::bench::register_model_benchmarks(machine);
  promiseg::bench::register_training_benchmarks(machine);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

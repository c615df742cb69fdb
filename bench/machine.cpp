#include "machine.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "promiseg/core/thread_pool.hpp"
#include "promiseg/eigen/kernels.hpp"

namespace promiseg::bench {
namespace {

constexpr int kRounds = 5;

/// Independent sums: more than the latency of a multiply-add times those that begin in a cycle, and
/// few enough to stay in sixteen registers.
constexpr int kChains = 12;

struct Chains {
  Index steps = 0;
  float factor = 0;
  float term = 0;
  float result = 0;  ///< what keeps the compiler from leaving the work out
};

/// `sum = sum * factor + term`.
struct Float32Step {
  template <int Lanes>
  PROMISEG_INLINE static void run(float factor, const eigen::simd::Floats<Lanes>& term,
                                  eigen::simd::Floats<Lanes>& sum) {
    sum = sum * factor + term;
  }
};

#if PROMISEG_X86_TARGETS
/// The dot product of pairs grows a sum: there is no other form.
struct Bfloat16Step {
  template <int Lanes>
  PROMISEG_INLINE static void run(float factor, const eigen::simd::Floats<Lanes>& term,
                                  eigen::simd::Floats<Lanes>& sum) {
    eigen::simd::Bfloat16DotWords::add_product<Lanes>(factor, term, sum);
  }
};
#endif

template <class Step, int Lanes>
PROMISEG_INLINE void run_chains(Chains& task) {
  using eigen::simd::Floats;
  const Floats<Lanes> term = Floats<Lanes>{} + task.term;
  Floats<Lanes> sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = term * static_cast<float>(i);  // all different
  for (Index step = 0; step < task.steps; ++step) {
    PROMISEG_UNROLL
    for (int i = 0; i < kChains; ++i) {
      Step::template run<Lanes>(task.factor, term, sums[i]);
    }
  }
  for (const Floats<Lanes>& sum : sums) {
    for (int lane = 0; lane < Lanes; ++lane) task.result += sum[lane];
  }
}

void run_generic(Chains& task) { run_chains<Float32Step, 4>(task); }
#if PROMISEG_X86_TARGETS
PROMISEG_TARGET_AVX2 void run_avx2(Chains& task) { run_chains<Float32Step, 8>(task); }
PROMISEG_TARGET_AVX512 void run_avx512(Chains& task) { run_chains<Float32Step, 16>(task); }
PROMISEG_TARGET_AVX512BF16 void run_avx512bf16(Chains& task) { run_chains<Bfloat16Step, 16>(task); }
#endif

struct Probe {
  void (*run)(Chains&);
  int products;  ///< of one step of a chain
};

Probe probe_for(Precision precision) {
  const eigen::Isa isa = eigen::default_isa();
#if PROMISEG_X86_TARGETS
  if (isa == eigen::Isa::avx512bf16 && precision == Precision::bf16) return {run_avx512bf16, 32};
  if (isa == eigen::Isa::avx512 || isa == eigen::Isa::avx512bf16) return {run_avx512, 16};
  if (isa == eigen::Isa::avx2) return {run_avx2, 8};
#endif
  static_cast<void>(isa);
  static_cast<void>(precision);
  return {run_generic, 4};
}

/// The shortest time of several rounds, in nanoseconds.
template <class Body>
double best_time(const Body& body) {
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - start;
    if (round == 0 || time.count() < best) best = time.count();
  }
  return best;
}

double peak_gflops(ThreadPool& pool, Precision precision) {
  constexpr Index kSteps = 8'000'000;
  const Probe probe = probe_for(precision);
  std::vector<Chains> tasks(static_cast<std::size_t>(pool.size()), Chains{kSteps, 0.75F, 0.25F, 0});
  const double time = best_time([&] {
    pool.parallel_for(pool.size(), [&](Index part, int /*thread*/) {
      probe.run(tasks[static_cast<std::size_t>(part)]);
    });
  });
  return 2.0 * kChains * probe.products * static_cast<double>(kSteps) * pool.size() / time;
}

double copy_speed(ThreadPool& pool) {
  constexpr std::size_t kBytes = std::size_t{128} << 20;
  const std::size_t part_bytes = kBytes / static_cast<std::size_t>(pool.size());
  const std::vector<char> from(kBytes, 1);
  std::vector<char> to(kBytes);
  const double time = best_time([&] {
    pool.parallel_for(pool.size(), [&](Index part, int /*thread*/) {
      const std::size_t begin = static_cast<std::size_t>(part) * part_bytes;
      std::memcpy(to.data() + begin, from.data() + begin, part_bytes);
    });
  });
  return 2.0 * static_cast<double>(part_bytes) * pool.size() / time;
}

}  // namespace

Machine measure_machine(int threads) {
  ThreadPool pool(threads);
  return {threads, peak_gflops(pool, Precision::fp32), peak_gflops(pool, Precision::bf16),
          copy_speed(pool)};
}

}  // namespace promiseg::bench

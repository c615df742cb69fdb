// Instruction sets: which ones this processor has, by name.
#pragma once

#include <array>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "promiseg/core/precision.hpp"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define PROMISEG_X86_TARGETS 1
#else
#define PROMISEG_X86_TARGETS 0
#endif

#if defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define PROMISEG_NEON_TARGET 1
#else
#define PROMISEG_NEON_TARGET 0
#endif

// What function-level target attributes the instruction sets stand for.
#define PROMISEG_TARGET_AVX2 __attribute__((target("avx2,fma")))
#define PROMISEG_TARGET_AVX512 \
  __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")))
#define PROMISEG_TARGET_AVX512BF16 \
  __attribute__((target("avx512bf16,avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")))

namespace promiseg::eigen {

/// Kernels exist for these, worst first. `generic` is what the compiler's flags allow anyway;
/// `avx512bf16` is `avx512` with the dot product of bfloat16 pairs.
enum class Isa { generic, neon, avx2, avx512, avx512bf16 };

inline constexpr std::array<std::string_view, 5> kIsaNames = {"generic", "neon", "avx2", "avx512",
                                                              "avx512bf16"};

inline std::string_view to_string(Isa isa) { return kIsaNames[static_cast<std::size_t>(isa)]; }

/// True if this program has kernels for it and this processor can run them.
inline bool is_available(Isa isa) {
  if (isa == Isa::generic) return true;
#if PROMISEG_X86_TARGETS
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw");
  if (isa == Isa::avx2) return avx2;
  if (isa == Isa::avx512) return avx512;
  if (isa == Isa::avx512bf16) return avx512 && __builtin_cpu_supports("avx512bf16");
#endif
  return PROMISEG_NEON_TARGET != 0 && isa == Isa::neon;
}

/// All that can run here, worst first.
inline std::vector<Isa> available_isas() {
  std::vector<Isa> isas;
  for (std::size_t i = 0; i < kIsaNames.size(); ++i) {
    const auto isa = static_cast<Isa>(i);
    if (is_available(isa)) isas.push_back(isa);
  }
  return isas;
}

/// Those of `available_isas` that have kernels of their own at this precision.
inline std::vector<Isa> distinct_isas(Precision precision) {
  std::vector<Isa> isas = available_isas();
  if (precision == Precision::fp32) std::erase(isas, Isa::avx512bf16);  // as avx512
  return isas;
}

inline Isa best_isa() { return available_isas().back(); }

/// The instruction set of a name in `kIsaNames`. Throws `invalid_argument`; `what` is where the
/// name came from.
inline Isa parse_isa(std::string_view name, std::string_view what = "instruction set") {
  for (std::size_t i = 0; i < kIsaNames.size(); ++i) {
    if (kIsaNames[i] == name) return static_cast<Isa>(i);
  }
  fail(ErrorCode::invalid_argument, what,
       ": expected generic, neon, avx2, avx512 or avx512bf16, got \"", name, "\"");
}

/// What a backend uses that asks for nothing: the one that the environment variable
/// PROMISEG_INSTRUCTION_SET names, or else the best one. Throws as `parse_isa`.
inline Isa default_isa() {
  const char* wanted = std::getenv("PROMISEG_INSTRUCTION_SET");
  return wanted != nullptr && *wanted != '\0' ? parse_isa(wanted, "PROMISEG_INSTRUCTION_SET")
                                              : best_isa();
}

}  // namespace promiseg::eigen

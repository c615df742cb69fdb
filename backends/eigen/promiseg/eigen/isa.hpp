// Instruction sets: which ones this processor has, by name.
#pragma once

#include <array>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "promiseg/core/error.hpp"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define PROMISEG_X86_TARGETS 1
#else
#define PROMISEG_X86_TARGETS 0
#endif

namespace promiseg::eigen {

/// Kernels exist for these, worst first. `generic` is what the compiler's flags allow anyway.
enum class Isa { generic, avx2, avx512 };

inline constexpr std::array<std::string_view, 3> kIsaNames = {"generic", "avx2", "avx512"};

inline std::string_view to_string(Isa isa) { return kIsaNames[static_cast<std::size_t>(isa)]; }

/// True if this program has kernels for it and this processor can run them.
inline bool is_available(Isa isa) {
  if (isa == Isa::generic) return true;
#if PROMISEG_X86_TARGETS
  if (isa == Isa::avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

/// All that can run here, worst first.
inline std::vector<Isa> available_isas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::generic, Isa::avx2, Isa::avx512}) {
    if (is_available(isa)) isas.push_back(isa);
  }
  return isas;
}

inline Isa best_isa() { return available_isas().back(); }

/// The instruction set of a name in `kIsaNames`. Throws `invalid_argument`.
inline Isa parse_isa(std::string_view name) {
  for (std::size_t i = 0; i < kIsaNames.size(); ++i) {
    if (kIsaNames[i] == name) return static_cast<Isa>(i);
  }
  fail(ErrorCode::invalid_argument, "instruction set: expected generic, avx2 or avx512, got \"",
       name, "\"");
}

/// What a backend uses that asks for nothing: the one that the environment variable
/// PROMISEG_INSTRUCTION_SET names, or else the best one. Throws as `parse_isa`.
inline Isa default_isa() {
  const char* wanted = std::getenv("PROMISEG_INSTRUCTION_SET");
  return wanted != nullptr && *wanted != '\0' ? parse_isa(wanted) : best_isa();
}

}  // namespace promiseg::eigen

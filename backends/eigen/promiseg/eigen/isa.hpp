// Instruction sets: which ones this processor has, by name.
#pragma once

#include <array>
#include <string_view>
#include <vector>

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

}  // namespace promiseg::eigen

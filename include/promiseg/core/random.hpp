// Random numbers that are the same on every machine: the standard library's distributions are not.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include "promiseg/core/tensor_view.hpp"

namespace promiseg {

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): neighbouring numbers become
/// unrelated ones.
constexpr std::uint64_t mix_bits(std::uint64_t z) {
  z += 0x9E3779B97F4A7C15U;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

/// A counter-based generator. Streams of one seed are independent, so every sample and epoch has
/// its own and nothing depends on the order in which they are drawn; to continue an interrupted
/// run nothing has to be stored.
class Random {
 public:
  explicit Random(std::uint64_t seed, std::uint64_t stream = 0)
      : key_(mix_bits(mix_bits(seed) ^ stream)) {}

  std::uint64_t bits() { return mix_bits(key_ + counter_++ * 0x9E3779B97F4A7C15U); }

  /// In [0, 1), a multiple of 2^-53.
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }

  /// One of 0, 1, ..., count - 1; count above 0.
  Index below(Index count) { return static_cast<Index>(uniform() * static_cast<double>(count)); }

  bool chance(double probability) { return uniform() < probability; }

  /// Mean 0, deviation 1 (Box and Muller).
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * uniform());
  }

 private:
  std::uint64_t key_;
  std::uint64_t counter_ = 0;
};

}  // namespace promiseg

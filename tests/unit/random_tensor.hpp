// Host tensors of random numbers for tests.
#pragma once

#include <cstddef>
#include <cstdint>

#include "promiseg/core/random.hpp"
#include "promiseg/core/tensor.hpp"

namespace promiseg_test {

/// Numbers in [low, high), the same for the same seed.
template <std::size_t Rank>
promiseg::Tensor<float, Rank> random_tensor(const promiseg::Extents<Rank>& extents,
                                            std::uint64_t seed, double low = -0.5,
                                            double high = 0.5) {
  promiseg::Random random(seed);
  promiseg::Tensor<float, Rank> tensor(extents);
  for (float& value : tensor.elements()) value = static_cast<float>(random.uniform(low, high));
  return tensor;
}

}  // namespace promiseg_test

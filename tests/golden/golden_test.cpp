// The comparison itself must be able to say no.
#include "golden.hpp"

#include <limits>

#include "promiseg/core/tensor.hpp"

using namespace promiseg_test;
using promiseg::Tensor;

TEST_CASE("golden: differences are measured against the reference") {
  Tensor<float, 2> reference({2, 2});
  Tensor<float, 2> result({2, 2});
  for (Index i = 0; i < 4; ++i) reference.data()[i] = result.data()[i] = static_cast<float>(i + 1);
  const auto apart = [&] {
    return difference(std::as_const(result).view(), std::as_const(reference).view());
  };
  CHECK(apart().relative == 0);
  CHECK(apart().largest == 0);

  result.view()(0, 1) = 2.5F;
  CHECK(apart().absolute == doctest::Approx(0.5));
  CHECK(apart().largest == doctest::Approx(0.5 / 4));
  CHECK(apart().relative == doctest::Approx(0.5 / std::sqrt(30.0)));

  result.view()(1, 1) = std::numeric_limits<float>::quiet_NaN();
  CHECK_FALSE(apart().relative <= 1);
  CHECK_FALSE(apart().largest <= 1);
  CHECK_FALSE(apart().absolute <= 1);
}

TEST_CASE("golden: strided views are NumPy's slices") {
  Tensor<float, 2> rows({3, 5});
  for (Index i = 0; i < 15; ++i) rows.data()[i] = static_cast<float>(i);
  const auto picked = every({2, 3}, rows.view());
  REQUIRE(picked.extents() == Extents<2>{2, 2});
  CHECK(picked(0, 0) == 0);
  CHECK(picked(0, 1) == 3);
  CHECK(picked(1, 0) == 10);
  CHECK(picked(1, 1) == 13);
}

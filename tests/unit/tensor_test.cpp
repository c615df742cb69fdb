#include "promiseg/core/tensor.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>

using namespace promiseg;

TEST_CASE("tensor: new elements are zero and aligned") {
  const Tensor<float, 2> tensor({3, 5});
  CHECK(tensor.size() == 15);
  CHECK(tensor.extent(1) == 5);
  CHECK(std::all_of(tensor.elements().begin(), tensor.elements().end(),
                    [](float value) { return value == 0.0f; }));
  CHECK(reinterpret_cast<std::uintptr_t>(tensor.data()) % kAlignment == 0);
  CHECK(Tensor<float, 2>().empty());
  CHECK(Tensor<float, 0>(Extents<0>{}).size() == 1);
}

TEST_CASE("tensor: copies and moves are values") {
  Tensor<int, 1> first({3});
  first.view()(1) = 5;
  Tensor<int, 1> copy = first;
  copy.view()(1) = 6;
  CHECK(first.view()(1) == 5);
  const int* data = first.data();
  const Tensor<int, 1> moved = std::move(first);
  CHECK(moved.data() == data);
  CHECK(std::as_const(copy).view()(1) == 6);
}

TEST_CASE("tensor: a copy of a view of any strides is contiguous") {
  Tensor<int, 3> source({2, 3, 4});
  std::iota(source.elements().begin(), source.elements().end(), 0);
  const TensorView<const int, 3> turned = std::as_const(source).view().permuted({2, 0, 1});
  const Tensor<int, 3> copy(turned);
  CHECK(copy.view().is_contiguous());
  CHECK(copy.extents() == Extents<3>{4, 2, 3});
  for (Index i = 0; i < 4; ++i) {
    for (Index j = 0; j < 2; ++j) {
      for (Index k = 0; k < 3; ++k) CHECK(copy.view()(i, j, k) == turned(i, j, k));
    }
  }
  const auto repeated = turned.slice(0, 1, 1).broadcast_to({3, 2, 3});
  const Tensor<int, 3> rows(repeated);
  CHECK(rows.view()(2, 1, 2) == source.view()(1, 2, 1));
  CHECK(Tensor<int, 3>(turned.slice(1, 0, 0)).empty());
  const Tensor<int, 0> scalar(turned.select(0, 3).select(0, 1).select(0, 2));
  CHECK(*scalar.data() == 23);
}

#include "promiseg/core/tensor_view.hpp"

#include <doctest/doctest.h>

#include <array>
#include <numeric>
#include <sstream>

#include "promiseg/core/tensor.hpp"

using namespace promiseg;

namespace {

/// 0, 1, 2, ... in a shape of 2 x 3 x 4.
struct Counting {
  std::array<int, 24> numbers{};
  Counting() { std::iota(numbers.begin(), numbers.end(), 0); }
  TensorView<int, 3> view() { return {numbers.data(), {2, 3, 4}}; }
};

template <class Action>
void check_code(Action action, ErrorCode code) {
  try {
    action();
    FAIL_CHECK("accepted");
  } catch (const Error& error) {
    CHECK(error.code() == code);
  }
}

}  // namespace

TEST_CASE("view: shape, strides and elements") {
  Counting counting;
  const auto view = counting.view();
  CHECK(view.strides() == Extents<3>{12, 4, 1});
  CHECK(view.size() == 24);
  CHECK(view.is_contiguous());
  CHECK(view(1, 2, 3) == 23);
  CHECK(view(0, 1, 2) == 6);
  view(0, 0, 1) = -1;
  CHECK(counting.numbers[1] == -1);
  const TensorView<const int, 3> constant = view;
  CHECK(constant.data() == view.data());
  std::ostringstream text;
  text << shape_text(view.extents());
  CHECK(text.str() == "[2, 3, 4]");

  const TensorView<int, 0> scalar(counting.numbers.data() + 5, Extents<0>{});
  CHECK(scalar.size() == 1);
  CHECK(scalar() == 5);
  CHECK(TensorView<int, 2>(nullptr, {0, 3}).empty());
  CHECK(TensorView<int, 2>().empty());
}

TEST_CASE("view: slices") {
  Counting counting;
  const auto view = counting.view();
  const auto part = view.slice(1, 1, 2);
  CHECK(part.extents() == Extents<3>{2, 2, 4});
  CHECK(part(1, 1, 3) == view(1, 2, 3));
  CHECK_FALSE(part.is_contiguous());
  CHECK(view.slice(0, 1, 1).is_contiguous());
  CHECK(view.slice(2, 4, 0).empty());  // at the end
  CHECK(view.slice(2, 0, 4).data() == view.data());
  for (const auto& part_of_4 : {Extents<2>{-1, 1}, {0, 5}, {4, 1}, {5, 0}, {2, -1}}) {
    CAPTURE(part_of_4[0]);
    check_code([&] { view.slice(2, part_of_4[0], part_of_4[1]); }, ErrorCode::invalid_argument);
  }
  check_code([&] { view.slice(3, 0, 1); }, ErrorCode::invalid_argument);
  const TensorView<int, 2> empty(nullptr, {0, 3});
  CHECK(empty.slice(1, 1, 2).data() == nullptr);
}

TEST_CASE("view: one index of an axis") {
  Counting counting;
  const auto view = counting.view();
  const TensorView<int, 2> row = view.select(1, 2);
  CHECK(row.extents() == Extents<2>{2, 4});
  CHECK(row(1, 3) == view(1, 2, 3));
  CHECK(view.select(0, 1).select(0, 2).select(0, 3)() == 23);
  check_code([&] { view.select(0, 2); }, ErrorCode::invalid_argument);
  check_code([&] { view.select(0, -1); }, ErrorCode::invalid_argument);
  check_code([&] { view.select(3, 0); }, ErrorCode::invalid_argument);
  CHECK_THROWS_WITH_AS(view.select(0, 2), doctest::Contains("[2, 3, 4]"), Error);
}

TEST_CASE("view: permuted") {
  Counting counting;
  const auto view = counting.view();
  const auto turned = view.permuted({2, 0, 1});
  CHECK(turned.extents() == Extents<3>{4, 2, 3});
  for (Index i = 0; i < 2; ++i) {
    for (Index j = 0; j < 3; ++j) {
      for (Index k = 0; k < 4; ++k) CHECK(turned(k, i, j) == view(i, j, k));
    }
  }
  CHECK_FALSE(turned.is_contiguous());
  CHECK(turned.permuted({1, 2, 0}).is_contiguous());
  // Axes of extent 1 do not matter for being without gaps.
  CHECK(view.slice(0, 0, 1).permuted({1, 0, 2}).is_contiguous());
}

TEST_CASE("view: reshaped") {
  Counting counting;
  const auto view = counting.view();
  const auto flat = view.reshaped(Extents<2>{6, 4});
  CHECK(flat(5, 3) == 23);
  CHECK(flat(2, 1) == view(0, 2, 1));
  CHECK(view.slice(0, 0, 1).slice(1, 0, 1).slice(2, 2, 1).reshaped(Extents<0>{})() == 2);
  check_code([&] { view.reshaped(Extents<2>{5, 5}); }, ErrorCode::shape_mismatch);
  check_code([&] { view.reshaped(Extents<0>{}); }, ErrorCode::shape_mismatch);
  check_code([&] { view.permuted({1, 0, 2}).reshaped(Extents<1>{24}); }, ErrorCode::shape_mismatch);
  check_code([&] { view.slice(2, 0, 2).reshaped(Extents<1>{12}); }, ErrorCode::shape_mismatch);
}

TEST_CASE("view: unit axes and broadcasting") {
  Counting counting;
  const auto row = counting.view().select(0, 0).select(0, 1);  // 4, 5, 6, 7
  for (const std::size_t axis : {std::size_t{0}, std::size_t{1}}) {
    const auto with_axis = row.with_unit_axis(axis);
    CHECK(with_axis.extent(axis) == 1);
    CHECK(with_axis.extent(1 - axis) == 4);
    CHECK(with_axis.is_contiguous());
  }
  const auto wide = row.with_unit_axis(0).broadcast_to({3, 4});
  CHECK(wide.extents() == Extents<2>{3, 4});
  CHECK(wide(0, 2) == 6);
  CHECK(wide(2, 2) == 6);
  CHECK_FALSE(wide.is_contiguous());
  CHECK(row.with_unit_axis(0).broadcast_to({0, 4}).empty());
  check_code([&] { row.broadcast_to({5}); }, ErrorCode::shape_mismatch);
  check_code([&] { row.broadcast_to({1}); }, ErrorCode::shape_mismatch);
  check_code([&] { row.with_unit_axis(0).broadcast_to({3, 5}); }, ErrorCode::shape_mismatch);
}

TEST_CASE("view: required shapes") {
  Counting counting;
  CHECK_NOTHROW(require_shape(counting.view(), {2, 3, 4}, "input"));
  CHECK_THROWS_WITH_AS(require_shape(counting.view(), {2, 3, 5}, "input"),
                       doctest::Contains("input: expected shape [2, 3, 5], got [2, 3, 4]"), Error);
}

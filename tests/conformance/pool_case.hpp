// Pooling: the largest value under a kernel, and the mean of an image.
#pragma once

#include <string>
#include <vector>

#include "conv_case.hpp"

namespace promiseg::conformance {

struct MaxPoolCase {
  static constexpr Operation kOperation = Operation::max_pool2d;

  Extents<4> in{};
  ConvGeometry geometry = {};
  Extents<4> in_gaps{};  ///< the input is a part of a larger image, the output as well
  Extents<4> out_gaps{};
  std::string label = {};
  bool heavy = false;

  Extents<4> out() const { return convolved(in, geometry, in[3]); }

  std::string name() const {
    return (label.empty() ? "" : label + "/") + extents_name(in) + geometry_name(geometry) +
           (in_gaps != Extents<4>{} ? "_in_gap" : "") +
           (out_gaps != Extents<4>{} ? "_out_gap" : "");
  }

  /// A comparison counts as one operation.
  Work work() const {
    const auto size = static_cast<double>(element_count(out()));
    return {size * static_cast<double>(geometry.kernel * geometry.kernel),
            4 * (static_cast<double>(element_count(in)) + size)};
  }
};

template <Backend B>
PreparedCase prepare(B& backend, const MaxPoolCase& shape, Position position) {
  struct Operands {
    DeviceArray<4> in;
    ConvGeometry geometry;
    Destination<4> out;
  };
  // All values are negative: padding must not count as zero.
  auto operands = std::make_shared<Operands>(Operands{
      make_input(backend, shape.in, Form<4>{.gaps = shape.in_gaps}, Values{1, 1, -2}, position),
      shape.geometry,
      Destination<4>(backend,
                     HostArray<4>::output(shape.out(), {.gaps = shape.out_gaps}, position))});
  return make_prepared(backend, operands, [&backend](const Operands& o) {
    backend.max_pool2d(o.in.view(), o.geometry, o.out.view());
  });
}

struct MeanPixelsCase {
  static constexpr Operation kOperation = Operation::mean_pixels;

  Extents<4> in{};
  Form<4> form = {};
  std::string form_name = {};
  Index out_gap = 0;
  bool heavy = false;

  std::string name() const {
    return extents_name(in) + form_name + (out_gap > 0 ? "_out_gap" : "");
  }

  Work work() const {
    const auto size = static_cast<double>(element_count(in));
    return {size, 4 * (size + static_cast<double>(in[0] * in[3]))};
  }
};

template <Backend B>
PreparedCase prepare(B& backend, const MeanPixelsCase& shape, Position position) {
  struct Operands {
    DeviceArray<4> in;
    Destination<2> out;
  };
  auto operands = std::make_shared<Operands>(Operands{
      make_input(backend, shape.in, shape.form, Values{1, 1, 0.5}, position),
      Destination<2>(backend, HostArray<2>::output({shape.in[0], shape.in[3]},
                                                   {.gaps = {0, shape.out_gap}}, position))});
  return make_prepared(backend, operands, [&backend](const Operands& o) {
    backend.mean_pixels(o.in.view(), o.out.view());
  });
}

inline std::vector<MaxPoolCase> max_pool_cases() {
  return {
      {.in = {1, 1, 1, 1}},
      {.in = {1, 1, 1, 3}, .geometry = {3, 2, 1}},
      {.in = {2, 9, 7, 5}, .geometry = {3, 2, 1}},
      {.in = {1, 8, 10, 64}, .geometry = {3, 2, 1}},
      {.in = {1, 8, 6, 17}, .geometry = {2, 2, 0}},
      {.in = {3, 7, 9, 16}, .geometry = {2, 2, 0}},
      {.in = {1, 6, 7, 9}, .geometry = {3, 1, 1}},
      {.in = {1, 6, 7, 9}, .geometry = {5, 3, 4}},
      {.in = {1, 1, 20, 8}, .geometry = {3, 2, 1}},
      {.in = {1, 20, 1, 8}, .geometry = {3, 2, 1}},
      {.in = {2, 9, 7, 5}, .geometry = {3, 2, 1}, .in_gaps = {1, 2, 1, 3}},
      {.in = {2, 9, 7, 5}, .geometry = {3, 2, 1}, .out_gaps = {1, 2, 1, 3}},
      {.in = {1, 128, 128, 64}, .geometry = {3, 2, 1}, .label = "resnet_stem", .heavy = true},
  };
}

inline std::vector<MeanPixelsCase> mean_pixels_cases() {
  return {
      {.in = {1, 1, 1, 1}},
      {.in = {3, 1, 1, 7}},
      {.in = {1, 5, 7, 1}},
      {.in = {2, 9, 7, 33}},
      {.in = {1, 1, 50, 16}},
      {.in = {1, 50, 1, 16}},
      {.in = {5, 8, 8, 512}},
      {.in = {1, 64, 64, 256}},
      {.in = {2, 9, 7, 33}, .out_gap = 3},
      {.in = {2, 9, 7, 33}, .form = {.gaps = {1, 2, 3, 4}}, .form_name = "_in_gap"},
      {.in = {2, 9, 7, 33}, .form = {.order = {0, 3, 1, 2}}, .form_name = "_channels_first"},
  };
}

}  // namespace promiseg::conformance

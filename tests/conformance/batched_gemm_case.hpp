// Products of activations by activations, of any strides.
#pragma once

#include <string>
#include <vector>

#include "operation.hpp"
#include "prepared_case.hpp"

namespace promiseg::conformance {

/// A form of [batch, rows, columns] that has a name.
struct MatrixForm {
  const char* name;
  Form<3> form;
};

inline constexpr MatrixForm kRows{"rows", {}};
inline constexpr MatrixForm kGapRows{"gaps", {.gaps = {1, 2, 3}}};
inline constexpr MatrixForm kColumns{"columns", {.order = {0, 2, 1}}};
inline constexpr MatrixForm kGapColumns{"columngaps", {.order = {0, 2, 1}, .gaps = {0, 3, 0}}};
inline constexpr MatrixForm kHeads{"heads", {.order = {1, 0, 2}}};
inline constexpr MatrixForm kHeadsColumns{"headcolumns", {.order = {2, 0, 1}}};
inline constexpr MatrixForm kSpread{"spread", {.spread = 2}};
inline constexpr MatrixForm kSpreadColumns{"spreadcolumns", {.order = {2, 1, 0}}};
inline constexpr MatrixForm kShared{"shared", {.broadcast = {true, false, false}}};

/// out [batch, m, n] = scale * a [batch, m, k] x b [batch, k, n]
struct BatchedGemmCase {
  static constexpr Operation kOperation = Operation::batched_gemm;

  Index batch = 1;
  Index m = 1;
  Index n = 1;
  Index k = 1;
  MatrixForm a = kRows;
  MatrixForm b = kRows;
  MatrixForm out = kRows;
  float scale = 1.0F;
  std::string label = {};
  bool heavy = false;

  std::string name() const {
    return (label.empty() ? "" : label + "/") + "b" + std::to_string(batch) + "_m" +
           std::to_string(m) + "_n" + std::to_string(n) + "_k" + std::to_string(k) + "_" + a.name +
           "_" + b.name + "_to_" + out.name + (scale != 1.0F ? "_scaled" : "");
  }

  Work work() const {
    const auto items = static_cast<double>(batch);
    const auto product = static_cast<double>(m * n * k);
    return {2 * items * product, 4 * items * static_cast<double>(m * k + k * n + m * n)};
  }
};

template <Backend B>
PreparedCase prepare(B& backend, const BatchedGemmCase& shape, Position position) {
  struct Operands {
    DeviceArray<3> a;
    DeviceArray<3> b;
    float scale;
    Destination<3> out;
  };
  // Both factors have variance k^(-1/2), their product's sum then one.
  const double amplitude = std::sqrt(3.0 / std::sqrt(static_cast<double>(shape.k)));
  auto operands = std::make_shared<Operands>(
      Operands{make_input(backend, Extents<3>{shape.batch, shape.m, shape.k}, shape.a.form,
                          Values{1, amplitude}, position),
               make_input(backend, Extents<3>{shape.batch, shape.k, shape.n}, shape.b.form,
                          Values{2, amplitude}, position),
               shape.scale,
               Destination<3>(backend, HostArray<3>::output({shape.batch, shape.m, shape.n},
                                                            shape.out.form, position))});
  return make_prepared(backend, operands, [&backend](const Operands& o) {
    backend.batched_gemm(o.a.view(), o.b.view(), o.scale, o.out.view());
  });
}

inline std::vector<BatchedGemmCase> batched_gemm_cases() {
  std::vector<BatchedGemmCase> cases;
  const MatrixForm inputs[] = {kRows,         kGapRows, kColumns,       kGapColumns, kHeads,
                               kHeadsColumns, kSpread,  kSpreadColumns, kShared};
  for (const MatrixForm& a : inputs) {
    for (const MatrixForm& b : inputs) {
      cases.push_back({.batch = 3, .m = 13, .n = 18, .k = 21, .a = a, .b = b});
    }
  }
  for (const MatrixForm& out :
       {kGapRows, kColumns, kGapColumns, kHeads, kHeadsColumns, kSpread, kSpreadColumns}) {
    cases.push_back({.batch = 2, .m = 13, .n = 18, .k = 21, .out = out, .scale = 0.5F});
    cases.push_back(
        {.batch = 2, .m = 25, .n = 34, .k = 40, .a = kHeads, .b = kColumns, .out = out});
  }
  // One row, one column, one product, in every combination.
  for (int which = 0; which < 8; ++which) {
    const Index m = (which & 1) != 0 ? 1 : 37;
    const Index n = (which & 2) != 0 ? 1 : 41;
    const Index k = (which & 4) != 0 ? 1 : 43;
    cases.push_back({.batch = 2, .m = m, .n = n, .k = k});
    cases.push_back({.batch = 2, .m = m, .n = n, .k = k, .a = kColumns, .b = kColumns});
    cases.push_back({.batch = 2, .m = m, .n = n, .k = k, .a = kHeads, .b = kSpread, .out = kHeads});
    cases.push_back({.batch = 2,
                     .m = m,
                     .n = n,
                     .k = k,
                     .a = kGapRows,
                     .b = kHeadsColumns,
                     .out = kSpreadColumns});
  }
  // Large enough for blocking in every direction.
  cases.push_back({.batch = 1, .m = 65, .n = 1500, .k = 33});
  cases.push_back({.batch = 2, .m = 5, .n = 2049, .k = 16, .b = kColumns, .scale = 0.25F});
  cases.push_back({.batch = 1, .m = 300, .n = 20, .k = 17, .a = kColumns});
  cases.push_back({.batch = 2, .m = 9, .n = 17, .k = 1000, .b = kColumns});
  cases.push_back({.batch = 8, .m = 1, .n = 1, .k = 4096, .b = kColumns});
  // A vector product's shape with the strides of attention's views.
  cases.push_back({.batch = 8,
                   .m = 7,
                   .n = 4096,
                   .k = 16,
                   .a = kHeads,
                   .b = kHeadsColumns,
                   .scale = 0.25F,
                   .label = "decoder_token_scores"});
  cases.push_back({.batch = 8,
                   .m = 7,
                   .n = 16,
                   .k = 4096,
                   .b = kHeads,
                   .out = kHeads,
                   .label = "decoder_token_values"});
  cases.push_back({.batch = 8,
                   .m = 4096,
                   .n = 7,
                   .k = 16,
                   .a = kHeads,
                   .b = kHeadsColumns,
                   .scale = 0.25F,
                   .label = "decoder_image_scores"});
  cases.push_back({.batch = 8,
                   .m = 4096,
                   .n = 16,
                   .k = 7,
                   .b = kHeads,
                   .out = kHeads,
                   .label = "decoder_image_values"});
  cases.push_back({.batch = 8,
                   .m = 7,
                   .n = 7,
                   .k = 32,
                   .a = kHeads,
                   .b = kHeadsColumns,
                   .label = "decoder_self_scores"});
  cases.push_back(
      {.batch = 1, .m = 4, .n = 65536, .k = 32, .b = kColumns, .label = "decoder_masks"});
  cases.push_back({.batch = 12,
                   .m = 196,
                   .n = 196,
                   .k = 64,
                   .b = kColumns,
                   .scale = 0.125F,
                   .label = "window_scores",
                   .heavy = true});
  cases.push_back({.batch = 1, .m = 1024, .n = 1024, .k = 1024, .label = "square", .heavy = true});
  return cases;
}

}  // namespace promiseg::conformance

// The table itself, and proof that its verdict can be bad: outputs with one thing wrong, and
// backends that get one thing wrong.
#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "cases.hpp"
#include "compare.hpp"
#include "promiseg/backend/reference.hpp"

using namespace promiseg;
using namespace promiseg::conformance;

namespace {

const Case& find_case(std::string_view name) {
  const auto found = std::find_if(cases().begin(), cases().end(),
                                  [&](const Case& item) { return item.name == name; });
  REQUIRE_MESSAGE(found != cases().end(), name);
  return *found;
}

/// Names of the cases of one operation that a backend fails, and those that it passes.
struct Score {
  std::set<std::string> failed;
  std::set<std::string> passed;
};

enum class Fault {
  forgets_bias,
  activates_too_early,  ///< the residual is added behind the activation
  ignores_row_stride,   ///< the rows of the output are taken to be adjacent
  skips_last_row,
  writes_past_the_end,
  naive_softmax,  ///< leaves out the maximum, so large scores overflow
  swaps_position  ///< the two tables of the relative position
};

/// The reference with one thing wrong. One type for all of them: the whole table is compiled for
/// every backend it is asked of.
class FaultyBackend : public ReferenceBackend {
 public:
  explicit FaultyBackend(Fault fault) : fault_(fault) {}

  void gemm(TensorView<const float, 2> in, const PackedMatrix& weights, Epilogue<2> epilogue,
            TensorView<float, 2> out) {
    if (fault_ == Fault::forgets_bias) epilogue.bias = {};
    if (fault_ == Fault::ignores_row_stride) {
      out = TensorView<float, 2>(out.data(), out.extents());
    }
    TensorView<const float, 2> late;
    if (fault_ == Fault::activates_too_early) std::swap(late, epilogue.residual);
    Tensor<float, 2> residual;
    if (late.data() != nullptr) residual = Tensor<float, 2>(late);
    ReferenceBackend::gemm(in, weights, epilogue, out);
    if (!residual.empty()) add_residual(residual.view(), out);
  }

  void add(TensorView<const float, 4> a, TensorView<const float, 4> b, TensorView<float, 4> out) {
    const Index rows = out.extent(1) - (fault_ == Fault::skips_last_row ? 1 : 0);
    ReferenceBackend::add(a.slice(1, 0, rows), b.slice(1, 0, rows), out.slice(1, 0, rows));
  }

  void copy(TensorView<const float, 4> from, TensorView<float, 4> to) {
    ReferenceBackend::copy(from, to);
    if (fault_ != Fault::writes_past_the_end) return;
    Index last = 0;
    for (std::size_t axis = 0; axis < 4; ++axis) last += (to.extent(axis) - 1) * to.stride(axis);
    to.data()[last + 1] = 0;
  }

  void softmax(TensorView<float, 2> rows) {
    if (fault_ != Fault::naive_softmax) return ReferenceBackend::softmax(rows);
    for (Index m = 0; m < rows.extent(0); ++m) {
      float sum = 0;
      for (Index n = 0; n < rows.extent(1); ++n) sum += std::exp(rows(m, n));
      for (Index n = 0; n < rows.extent(1); ++n) rows(m, n) = std::exp(rows(m, n)) / sum;
    }
  }

  void grid_attention(TensorView<const float, 4> q, TensorView<const float, 4> k,
                      TensorView<const float, 4> v, GridAttention attention,
                      TensorView<float, 4> out) {
    if (fault_ == Fault::swaps_position && attention.window > 0) {
      std::swap(attention.relative_position.rows, attention.relative_position.columns);
    }
    nn::Workspace<ReferenceBackend> workspace(*this);
    nn::grid_attention<ReferenceBackend>(workspace, q, k, v, attention, out);
  }

 private:
  static void add_residual(TensorView<const float, 2> residual, TensorView<float, 2> out) {
    for (Index m = 0; m < out.extent(0); ++m) {
      for (Index n = 0; n < out.extent(1); ++n) out(m, n) += residual(m, n);
    }
  }

  Fault fault_;
};
static_assert(HasGridAttention<FaultyBackend>);

Score score(Fault fault, Operation operation) {
  Score result;
  ReferenceBackend oracle;
  FaultyBackend backend(fault);
  for (const Case& item : cases()) {
    if (item.operation != operation || item.heavy) continue;
    const PreparedCase expected = prepare(oracle, item);
    const auto reference = elements_of(run_once(expected), expected.output);
    const PreparedCase prepared = prepare(backend, item);
    const auto verdict = compare(run_once(prepared), prepared.output, reference,
                                 tolerance(operation, Precision::fp32));
    (verdict.passed() ? result.passed : result.failed).insert(item.name);
  }
  return result;
}

}  // namespace

TEST_CASE("conformance table: names are unique, every operation is there, work is counted") {
  std::set<std::string> names;
  std::set<Operation> operations;
  for (const Case& item : cases()) {
    CHECK_MESSAGE(names.insert(item.name).second, "twice: ", item.name);
    operations.insert(item.operation);
    CHECK(item.work.bytes > 0);
    const bool moves = item.operation == Operation::copy || item.operation == Operation::pack;
    CHECK((item.work.flops == 0) == moves);
  }
  CHECK(operations.size() == kOperationNames.size());
  CHECK(names.size() >= 170);
}

TEST_CASE("conformance table: tolerances stand in the order of the operations") {
  for (std::size_t i = 0; i < kTolerances.size(); ++i) {
    CHECK(kTolerances[i].operation == static_cast<Operation>(i));
  }
}

TEST_CASE("conformance table: inputs are the same on every machine") {
  const Values values{1};
  CHECK(values(0) == -6736106.0F / 8388608.0F);
  CHECK(values(1) == -7626980.0F / 8388608.0F);
  CHECK(values(1000000) == -840780.0F / 8388608.0F);
}

TEST_CASE("conformance: an output with one thing wrong is found out") {
  const Case& item = find_case("gemm/m29_n35_k50_out_gap");
  ReferenceBackend backend;
  const PreparedCase prepared = prepare(backend, item);
  const Tolerance allowed = tolerance(item, Precision::fp32);
  Tensor<float, 1> result = run_once(prepared);
  const std::vector<float> reference = elements_of(result, prepared.output);
  const auto verdict = [&] { return compare(result, prepared.output, reference, allowed); };
  REQUIRE(verdict().passed());
  float& element = result.data()[prepared.output.offset + 2 * prepared.output.strides[0] + 7];

  SUBCASE("a wrong element") {
    element += 2 * static_cast<float>(allowed.max_abs);
    CHECK(verdict().problem.find("first bad element [2, 7]") == 0);
  }
  SUBCASE("an element that was not written") {
    element = std::numeric_limits<float>::quiet_NaN();
    CHECK(verdict().problem.find("first bad element [2, 7]") == 0);
  }
  SUBCASE("everything a little wrong") {
    prepared.output.for_each([&](Index at) { result.data()[at] *= 1.0F + 4e-6F; });
    CHECK(verdict().problem.find("relative L2") != std::string::npos);
  }
  SUBCASE("something written in front") {
    result.data()[prepared.output.offset - 1] = 0;
    CHECK(verdict().problem == "wrote outside the output, -1 elements from its first");
  }
  SUBCASE("something written between the rows") {
    result.data()[prepared.output.offset + prepared.output.extents[1]] = 0;
    CHECK(verdict().problem == "wrote outside the output, 35 elements from its first");
  }
  SUBCASE("something written behind") {
    result.data()[prepared.output.total - 1] = 0;
    CHECK(verdict().problem.find("wrote outside the output") == 0);
  }
  SUBCASE("a reference that is not a number") {
    std::vector<float> broken = reference;
    broken[3] = std::numeric_limits<float>::quiet_NaN();
    CHECK_FALSE(compare(result, prepared.output, broken, allowed).passed());
  }
}

TEST_CASE("conformance: a backend that gets one thing wrong is found out") {
  SUBCASE("bias") {
    const Score result = score(Fault::forgets_bias, Operation::gemm);
    for (const auto& name : result.failed) CHECK(name.find("_bias") != std::string::npos);
    for (const auto& name : result.passed) CHECK(name.find("_bias") == std::string::npos);
  }
  SUBCASE("order of residual and activation") {
    const Score result = score(Fault::activates_too_early, Operation::gemm);
    CHECK(result.failed.count("gemm/m37_n45_k50_residual_relu") == 1);
    CHECK(result.failed.count("gemm/m37_n45_k50_bias_residual_gelu") == 1);
    CHECK(result.passed.count("gemm/m37_n45_k50_bias_residual") == 1);
  }
  SUBCASE("row stride") {
    const Score result = score(Fault::ignores_row_stride, Operation::gemm);
    CHECK(result.failed.count("gemm/m29_n35_k50_out_gap") == 1);
    CHECK(result.passed.count("gemm/m29_n35_k50_in_gap") == 1);
  }
  SUBCASE("part of the output") {
    CHECK(score(Fault::skips_last_row, Operation::add).passed.empty());
  }
  SUBCASE("one element too many") {
    CHECK(score(Fault::writes_past_the_end, Operation::copy).passed.empty());
  }
  SUBCASE("overflow") {
    const Score result = score(Fault::naive_softmax, Operation::softmax);
    CHECK(result.failed.count("softmax/6x45_by1000") == 1);
    CHECK(result.passed.count("softmax/5x17") == 1);
  }
  SUBCASE("relative position") {
    const Score result = score(Fault::swaps_position, Operation::grid_attention);
    CHECK(result.failed.count("grid_attention/9x12_h2_d16_w4_position_3hd") == 1);
    CHECK(result.passed.count("grid_attention/8x12_h2_d16_w4_3hd") == 1);
  }
}

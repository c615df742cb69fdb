// Every available instruction set and precision of the CPU backend against the reference, over the
// whole table.
#include <doctest/doctest.h>

#include <vector>

#include "candidate.hpp"
#include "cases.hpp"
#include "promiseg/backend/reference.hpp"
#include "promiseg/eigen/backend.hpp"

using namespace promiseg;
using namespace promiseg::conformance;

namespace {

void check_operation(Operation operation, Precision precision) {
  ReferenceBackend oracle(precision);
  auto tested = candidates<EigenBackend>(precision);
  for (const Case& item : cases()) {
    if (item.operation != operation || item.heavy) continue;
    const PreparedCase prepared = prepare(oracle, item);
    const std::vector<float> reference = elements_of(run_once(prepared), prepared.output);
    for (auto& candidate : tested) {
      check_candidate(
          candidate, item.name,
          [&](EigenBackend& backend, Position position) {
            return prepare(backend, item, position);
          },
          [&](const PreparedCase& ran, const Tensor<float, 1>& result) {
            return compare(result, ran.output, reference, tolerance(item, precision));
          });
    }
  }
  report_worst(to_string(operation), tested);
}

void check_operation(Operation operation) {
  check_operation(operation, Precision::fp32);
  if (is_product(operation)) check_operation(operation, Precision::bf16);
}

}  // namespace

TEST_CASE("eigen conforms: pack") { check_operation(Operation::pack); }
TEST_CASE("eigen conforms: gemm") { check_operation(Operation::gemm); }
TEST_CASE("eigen conforms: batched_gemm") { check_operation(Operation::batched_gemm); }
TEST_CASE("eigen conforms: conv2d") { check_operation(Operation::conv2d); }
TEST_CASE("eigen conforms: depthwise_conv2d") { check_operation(Operation::depthwise_conv2d); }
TEST_CASE("eigen conforms: conv_transpose2d") { check_operation(Operation::conv_transpose2d); }
TEST_CASE("eigen conforms: max_pool2d") { check_operation(Operation::max_pool2d); }
TEST_CASE("eigen conforms: mean_pixels") { check_operation(Operation::mean_pixels); }
TEST_CASE("eigen conforms: layer_norm") { check_operation(Operation::layer_norm); }
TEST_CASE("eigen conforms: softmax") { check_operation(Operation::softmax); }
TEST_CASE("eigen conforms: add") { check_operation(Operation::add); }
TEST_CASE("eigen conforms: copy") { check_operation(Operation::copy); }
TEST_CASE("eigen conforms: grid_attention") { check_operation(Operation::grid_attention); }
TEST_CASE("eigen conforms: attention") { check_operation(Operation::attention); }

// Every available instruction set of the CPU backend against the reference, over the whole table.
#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "cases.hpp"
#include "compare.hpp"
#include "promiseg/backend/reference.hpp"
#include "promiseg/eigen/backend.hpp"

using namespace promiseg;
using namespace promiseg::conformance;

namespace {

/// One instruction set, on one thread and on several.
struct Candidate {
  explicit Candidate(eigen::Isa wanted)
      : isa(wanted),
        single({.threads = 1, .instruction_set = wanted}),
        several({.threads = 3, .instruction_set = wanted}) {}

  eigen::Isa isa;
  EigenBackend single;
  EigenBackend several;
  Comparison worst = {};  ///< the largest of each number over the cases so far
};

void check_case(const Case& item, const std::vector<float>& reference, Candidate& candidate) {
  const std::string what =
      item.name + " on eigen/" + std::string(eigen::to_string(candidate.isa)) + ": ";
  const Tolerance allowed = tolerance(item.operation);
  const PreparedCase single = prepare(candidate.single, item);
  const Tensor<float, 1> result = run_once(single);
  const Comparison verdict = compare(result, single.output, reference, allowed);
  CHECK_MESSAGE(verdict.passed(), what, verdict.problem);
  candidate.worst.relative_l2 = std::max(candidate.worst.relative_l2, verdict.relative_l2);
  candidate.worst.max_abs = std::max(candidate.worst.max_abs, verdict.max_abs);

  CHECK_MESSAGE(same_bits(result, run_once(single)), what, "a second run differs");
  CHECK_MESSAGE(same_bits(result, run_once(prepare(candidate.several, item))), what,
                "three threads differ from one");

  const PreparedCase tight = prepare(candidate.several, item, Position::tight);
  const Comparison unaligned = compare(run_once(tight), tight.output, reference, allowed);
  CHECK_MESSAGE(unaligned.passed(), what, "unaligned: ", unaligned.problem);
}

void check_operation(Operation operation) {
  ReferenceBackend oracle;
  std::vector<Candidate> candidates;
  for (const eigen::Isa isa : eigen::available_isas()) candidates.emplace_back(isa);
  for (const Case& item : cases()) {
    if (item.operation != operation || item.heavy) continue;
    const PreparedCase prepared = prepare(oracle, item);
    const std::vector<float> reference = elements_of(run_once(prepared), prepared.output);
    for (Candidate& candidate : candidates) check_case(item, reference, candidate);
  }
  // The measurement behind docs/numerics.md.
  std::ostringstream worst;
  for (const Candidate& candidate : candidates) {
    worst << "\n  " << to_string(operation) << " on eigen/" << eigen::to_string(candidate.isa)
          << ": worst relative L2 " << candidate.worst.relative_l2 << ", worst max abs "
          << candidate.worst.max_abs;
  }
  MESSAGE(worst.str());
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

// A backend under test: one instruction set of the CPU backend, on one thread and on several.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "compare.hpp"
#include "promiseg/eigen/isa.hpp"

namespace promiseg::conformance {

template <Backend B>
struct Candidate {
  Candidate(eigen::Isa wanted, Precision precision)
      : isa(wanted),
        single({.threads = 1, .instruction_set = wanted, .precision = precision}),
        several({.threads = 3, .instruction_set = wanted, .precision = precision}) {}

  std::string name() const {
    return "eigen/" + std::string(eigen::to_string(isa)) + "/" +
           std::string(to_string(single.precision()));
  }

  eigen::Isa isa;
  B single;
  B several;
  Comparison worst = {};  ///< the largest of each number over the cases so far
};

/// One for every instruction set of this machine.
template <Backend B>
std::vector<Candidate<B>> candidates(Precision precision) {
  std::vector<Candidate<B>> all;
  for (const eigen::Isa isa : eigen::distinct_isas(precision)) all.emplace_back(isa, precision);
  return all;
}

/// Runs a case in every way that must give the same. `prepared_on(backend, position)` prepares it;
/// `verdict_on(prepared, results)` compares with the reference.
template <Backend B, class Prepare, class Verdict>
void check_candidate(Candidate<B>& candidate, const std::string& case_name,
                     const Prepare& prepared_on, const Verdict& verdict_on) {
  const std::string what = case_name + " on " + candidate.name() + ": ";
  const auto single = prepared_on(candidate.single, Position::aligned);
  const auto result = run_once(single);
  const Comparison verdict = verdict_on(single, result);
  CHECK_MESSAGE(verdict.passed(), what, verdict.problem);
  candidate.worst.relative_l2 = std::max(candidate.worst.relative_l2, verdict.relative_l2);
  candidate.worst.max_abs = std::max(candidate.worst.max_abs, verdict.max_abs);

  CHECK_MESSAGE(same_bits(result, run_once(single)), what, "a second run differs");
  const auto several = prepared_on(candidate.several, Position::aligned);
  CHECK_MESSAGE(same_bits(result, run_once(several)), what, "three threads differ from one");

  const auto tight = prepared_on(candidate.several, Position::tight);
  const Comparison unaligned = verdict_on(tight, run_once(tight));
  CHECK_MESSAGE(unaligned.passed(), what, "unaligned: ", unaligned.problem);
}

/// Tells how close the candidates came: the measurement behind docs/numerics.md.
template <Backend B>
void report_worst(std::string_view operation, const std::vector<Candidate<B>>& candidates) {
  std::ostringstream worst;
  for (const Candidate<B>& candidate : candidates) {
    worst << "\n  " << operation << " on " << candidate.name() << ": worst relative L2 "
          << candidate.worst.relative_l2 << ", worst max abs " << candidate.worst.max_abs;
  }
  MESSAGE(worst.str());
}

}  // namespace promiseg::conformance

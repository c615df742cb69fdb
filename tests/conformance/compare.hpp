// The verdict on one output.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "prepared_case.hpp"
#include "tolerance.hpp"

namespace promiseg::conformance {

/// The elements of an output in order, without what lies around them.
inline std::vector<float> elements_of(const Tensor<float, 1>& storage, const Placement& placement) {
  std::vector<float> elements;
  placement.for_each([&](Index at) { elements.push_back(storage.data()[at]); });
  return elements;
}

/// How far an output is from the reference, and what is wrong with it.
struct Comparison {
  double relative_l2 = 0;
  double max_abs = 0;
  std::string problem;  ///< empty: within the tolerance

  bool passed() const { return problem.empty(); }
};

/// "element [2, 0, 17]" for a running number in an output
inline std::string element_text(Index element, const Placement& placement) {
  std::ostringstream text;
  text << "element [";
  std::vector<Index> at(placement.extents.size());
  for (std::size_t axis = at.size(); axis-- > 0;) {
    at[axis] = element % placement.extents[axis];
    element /= placement.extents[axis];
  }
  for (std::size_t axis = 0; axis < at.size(); ++axis) text << (axis > 0 ? ", " : "") << at[axis];
  text << "]";
  return text.str();
}

/// The first element of the allocation outside the tensor that is no longer the sentinel, or -1.
inline Index first_overwritten(const Tensor<float, 1>& storage, const Placement& placement) {
  const std::vector<bool> occupied = placement.occupied();
  for (Index at = 0; at < placement.total; ++at) {
    if (!occupied[static_cast<std::size_t>(at)] && storage.data()[at] != kSentinel) return at;
  }
  return -1;
}

/// Compares a destination's allocation with the elements that the reference computed.
inline Comparison compare(const Tensor<float, 1>& storage, const Placement& placement,
                          const std::vector<float>& reference, Tolerance allowed) {
  Comparison result;
  double difference_norm = 0;
  double reference_norm = 0;
  Index first_bad = -1;
  Index worst = 0;
  const std::vector<float> actual = elements_of(storage, placement);
  for (std::size_t i = 0; i < actual.size(); ++i) {
    double difference = std::abs(double{actual[i]} - double{reference[i]});
    // Not a number, on either side: an element that was never written is one.
    if (std::isnan(difference)) difference = std::numeric_limits<double>::infinity();
    difference_norm += difference * difference;
    reference_norm += double{reference[i]} * double{reference[i]};
    if (difference > allowed.max_abs && first_bad < 0) first_bad = static_cast<Index>(i);
    if (difference > result.max_abs) {
      result.max_abs = difference;
      worst = static_cast<Index>(i);
    }
  }
  difference_norm = std::sqrt(difference_norm);
  reference_norm = std::sqrt(reference_norm);
  result.relative_l2 = difference_norm == 0 ? 0 : difference_norm / reference_norm;

  std::ostringstream problem;
  const bool close = result.relative_l2 <= allowed.relative_l2;  // false for NaN
  if (first_bad >= 0 || !close) {
    const Index shown = first_bad >= 0 ? first_bad : worst;
    problem << (first_bad >= 0 ? "first bad " : "worst ") << element_text(shown, placement) << ": "
            << actual[static_cast<std::size_t>(shown)] << " instead of "
            << reference[static_cast<std::size_t>(shown)] << "; relative L2 " << result.relative_l2
            << " (allowed " << allowed.relative_l2 << "), max abs " << result.max_abs
            << " (allowed " << allowed.max_abs << "), norm of the difference " << difference_norm
            << ", of the reference " << reference_norm;
  }
  const Index overwritten = first_overwritten(storage, placement);
  if (overwritten >= 0) {
    problem << (first_bad >= 0 || !close ? "; " : "") << "wrote outside the output, "
            << overwritten - placement.offset << " elements from its first";
  }
  result.problem = problem.str();
  return result;
}

/// Exactly the same bits, in the output and around it.
inline bool same_bits(const Tensor<float, 1>& a, const Tensor<float, 1>& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(float)) == 0;
}

/// Exactly the same bits, in all outputs and around them.
inline bool same_bits(const std::vector<Tensor<float, 1>>& a,
                      const std::vector<Tensor<float, 1>>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Tensor<float, 1>& one, const Tensor<float, 1>& other) {
                      return same_bits(one, other);
                    });
}

/// One run from the initial state.
inline Tensor<float, 1> run_once(const PreparedCase& prepared) {
  prepared.reset();
  prepared.run();
  return prepared.read();
}

}  // namespace promiseg::conformance

// What is done to a mask after the network: the threshold, and the removal of specks and holes.
#pragma once

#include <cmath>
#include <utility>

#include "promiseg/core/image.hpp"
#include "promiseg/io/config_fields.hpp"
#include "promiseg/sam/connected_components.hpp"
#include "promiseg/sam/morphology.hpp"

namespace promiseg {

/// How a mask is cut out of logits and cleaned; the default cuts at one half and cleans nothing.
/// Field names are those of the JSON.
struct MaskCleaning {
  double threshold = 0.5;          ///< probability above which a pixel is inside
  Index open = 0;                  ///< side of the square kernel in pixels; 0 or 1: not done
  Index close = 0;                 ///< likewise
  bool largest_component = false;  ///< keep nothing but the largest object
  Index min_area = 0;              ///< drop objects of fewer pixels
  bool fill_holes = false;

  friend bool operator==(const MaskCleaning&, const MaskCleaning&) = default;
};

namespace detail {

/// Calls `visit(name, field)` for every field: the one list of names, for reading and writing.
template <class Cleaning, class Visit>
void visit_fields_of_cleaning(Cleaning& cleaning, const Visit& visit) {
  visit("threshold", cleaning.threshold);
  visit("open", cleaning.open);
  visit("close", cleaning.close);
  visit("largest_component", cleaning.largest_component);
  visit("min_area", cleaning.min_area);
  visit("fill_holes", cleaning.fill_holes);
}

}  // namespace detail

/// Throws `invalid_argument` naming the field that is out of range.
inline void validate(const MaskCleaning& cleaning) {
  static constexpr Index kMaxKernel = 8192;  // as the largest model frame
  require(cleaning.threshold > 0.0 && cleaning.threshold < 1.0, ErrorCode::invalid_argument,
          "mask cleaning: threshold: expected a probability between 0 and 1, both excluded, got ",
          cleaning.threshold);
  const auto check_kernel = [](const char* name, Index size) {
    require(size >= 0 && size <= kMaxKernel, ErrorCode::invalid_argument, "mask cleaning: ", name,
            ": expected a kernel of 0 to ", kMaxKernel, " pixels, got ", size);
  };
  check_kernel("open", cleaning.open);
  check_kernel("close", cleaning.close);
  require(cleaning.min_area >= 0, ErrorCode::invalid_argument,
          "mask cleaning: min_area: expected no negative number of pixels, got ",
          cleaning.min_area);
}

inline Json to_json(const MaskCleaning& cleaning) {
  return detail::fields_to_json(
      [&](const auto& visit) { detail::visit_fields_of_cleaning(cleaning, visit); });
}

/// Sets the fields that the JSON object names. Throws `invalid_argument` for an unknown field, a
/// wrong type or a value out of range, naming the field, and then leaves `cleaning` as it was.
inline void apply_json(const Json& json, MaskCleaning& cleaning) {
  require(json.is_object(), ErrorCode::invalid_argument,
          "mask cleaning: expected an object of fields, got ", json.type_name());
  MaskCleaning changed = cleaning;
  detail::apply_fields(
      json, [&](const auto& visit) { detail::visit_fields_of_cleaning(changed, visit); });
  validate(changed);
  cleaning = changed;
}

/// The logit whose sigmoid is `probability`; exactly 0 for one half. Throws `invalid_argument`
/// unless the probability lies between 0 and 1, both excluded.
inline float logit_threshold(double probability) {
  require(probability > 0.0 && probability < 1.0, ErrorCode::invalid_argument,
          "logit_threshold: expected a probability between 0 and 1, both excluded, got ",
          probability);
  return static_cast<float>(std::log(probability / (1.0 - probability)));
}

/// A mask (any value but 0 is inside) with the chosen steps applied, 0 or 255; with none chosen the
/// mask itself, whatever its values. Throws `invalid_argument` like `validate`.
inline Mask clean(Mask mask, const MaskCleaning& cleaning) {
  validate(cleaning);
  // Kernels first, they decide what hangs together; then holes, so that areas are those of whole
  // objects; choosing among objects last.
  if (cleaning.open > 1) mask = morph_open(std::move(mask), cleaning.open);
  if (cleaning.close > 1) mask = morph_close(std::move(mask), cleaning.close);
  if (cleaning.fill_holes) mask = fill_holes(std::move(mask));
  if (cleaning.min_area > 1) mask = remove_small_components(std::move(mask), cleaning.min_area);
  if (cleaning.largest_component) mask = largest_component(std::move(mask));
  return mask;
}

}  // namespace promiseg

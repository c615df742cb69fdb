// How training images are varied: how often each change happens, and how far it goes.
#pragma once

#include "promiseg/core/error.hpp"
#include "promiseg/io/config_fields.hpp"

namespace promiseg {

/// Chances and ranges of every change, in the order in which they are made. The defaults are those
/// of the paper's training, with its library's defaults where it names none. Field names are those
/// of the JSON.
struct AugmentationConfig {
  // Geometry, of image and mask.
  double crop_probability = 0.25;
  double crop_scale_min = 0.95;  ///< area of the crop as a part of the image's
  double crop_scale_max = 1.05;
  double crop_ratio_min = 0.95;  ///< width by height of the crop, by the same of the image
  double crop_ratio_max = 1.05;
  double horizontal_flip_probability = 0.25;  ///< left becomes right
  double vertical_flip_probability = 0.25;    ///< top becomes bottom
  double shift_scale_rotate_probability = 0.25;
  double shift_limit = 0.0625;  ///< part of the width and of the height, either way
  double scale_limit = 0.05;    ///< sizes are multiplied by 1 - limit to 1 + limit
  double rotate_limit = 45.0;   ///< degrees, either way

  // Of the image alone. One of box, Gaussian, median and motion blur:
  double blur_probability = 0.25;
  Index blur_kernel_max = 5;  ///< side of the largest kernel in pixels, 3 or 5

  double brightness_contrast_probability = 0.25;
  double brightness_limit = 0.1;  ///< part of white that is added, either way
  double contrast_limit = 0.1;    ///< values are multiplied by 1 - limit to 1 + limit

  // One of CLAHE, sharpening, noise and (given a codec) JPEG compression:
  double texture_probability = 0.25;
  double clahe_clip_min = 1.0;  ///< most pixels of one value, as a multiple of a flat histogram's
  double clahe_clip_max = 2.0;
  Index clahe_tiles = 8;     ///< along each axis
  double sharpen_min = 0.2;  ///< part of the difference from the neighbours that is added
  double sharpen_max = 0.5;
  double noise_variance_min = 10.0;  ///< of values from 0 to 255
  double noise_variance_max = 50.0;
  Index jpeg_quality_min = 99;
  Index jpeg_quality_max = 100;

  double dropout_probability = 0.1;
  Index dropout_holes = 8;  ///< black squares
  Index dropout_size = 8;   ///< their side in pixels

  friend bool operator==(const AugmentationConfig&, const AugmentationConfig&) = default;
};

namespace detail {

/// Calls `visit(name, field)` for every field: the one list of names, for reading and writing.
template <class Config, class Visit>
void visit_fields_of_augmentation(Config& config, const Visit& visit) {
  visit("crop_probability", config.crop_probability);
  visit("crop_scale_min", config.crop_scale_min);
  visit("crop_scale_max", config.crop_scale_max);
  visit("crop_ratio_min", config.crop_ratio_min);
  visit("crop_ratio_max", config.crop_ratio_max);
  visit("horizontal_flip_probability", config.horizontal_flip_probability);
  visit("vertical_flip_probability", config.vertical_flip_probability);
  visit("shift_scale_rotate_probability", config.shift_scale_rotate_probability);
  visit("shift_limit", config.shift_limit);
  visit("scale_limit", config.scale_limit);
  visit("rotate_limit", config.rotate_limit);
  visit("blur_probability", config.blur_probability);
  visit("blur_kernel_max", config.blur_kernel_max);
  visit("brightness_contrast_probability", config.brightness_contrast_probability);
  visit("brightness_limit", config.brightness_limit);
  visit("contrast_limit", config.contrast_limit);
  visit("texture_probability", config.texture_probability);
  visit("clahe_clip_min", config.clahe_clip_min);
  visit("clahe_clip_max", config.clahe_clip_max);
  visit("clahe_tiles", config.clahe_tiles);
  visit("sharpen_min", config.sharpen_min);
  visit("sharpen_max", config.sharpen_max);
  visit("noise_variance_min", config.noise_variance_min);
  visit("noise_variance_max", config.noise_variance_max);
  visit("jpeg_quality_min", config.jpeg_quality_min);
  visit("jpeg_quality_max", config.jpeg_quality_max);
  visit("dropout_probability", config.dropout_probability);
  visit("dropout_holes", config.dropout_holes);
  visit("dropout_size", config.dropout_size);
}

/// NaN is in no range.
template <class Number>
void check_augmentation(const char* name, Number value, Number low, Number high) {
  require(value >= low && value <= high, ErrorCode::invalid_argument, "augmentation: ", name,
          ": expected ", low, " to ", high, ", got ", value);
}

/// The field `NAME_min` from `low` on, and `NAME_max` from there to `high`.
template <class Number>
void check_augmentation_range(const char* min_name, Number min, const char* max_name, Number max,
                              Number low, Number high) {
  check_augmentation(min_name, min, low, high);
  check_augmentation(max_name, max, min, high);
}

}  // namespace detail

/// Throws `invalid_argument` naming the field that is out of range.
inline void validate(const AugmentationConfig& config) {
  using detail::check_augmentation;
  using detail::check_augmentation_range;
  const auto check_probability = [](const char* name, double value) {
    check_augmentation(name, value, 0.0, 1.0);
  };
  check_probability("crop_probability", config.crop_probability);
  check_augmentation_range("crop_scale_min", config.crop_scale_min, "crop_scale_max",
                           config.crop_scale_max, 0.01, 4.0);
  check_augmentation_range("crop_ratio_min", config.crop_ratio_min, "crop_ratio_max",
                           config.crop_ratio_max, 0.25, 4.0);
  check_probability("horizontal_flip_probability", config.horizontal_flip_probability);
  check_probability("vertical_flip_probability", config.vertical_flip_probability);
  check_probability("shift_scale_rotate_probability", config.shift_scale_rotate_probability);
  check_augmentation("shift_limit", config.shift_limit, 0.0, 1.0);
  check_augmentation("scale_limit", config.scale_limit, 0.0, 0.9);
  check_augmentation("rotate_limit", config.rotate_limit, 0.0, 180.0);

  check_probability("blur_probability", config.blur_probability);
  require(config.blur_kernel_max == 3 || config.blur_kernel_max == 5, ErrorCode::invalid_argument,
          "augmentation: blur_kernel_max: expected 3 or 5, got ", config.blur_kernel_max);
  check_probability("brightness_contrast_probability", config.brightness_contrast_probability);
  check_augmentation("brightness_limit", config.brightness_limit, 0.0, 1.0);
  check_augmentation("contrast_limit", config.contrast_limit, 0.0, 1.0);

  check_probability("texture_probability", config.texture_probability);
  check_augmentation_range("clahe_clip_min", config.clahe_clip_min, "clahe_clip_max",
                           config.clahe_clip_max, 1.0, 256.0);
  check_augmentation("clahe_tiles", config.clahe_tiles, Index{1}, Index{64});
  check_augmentation_range("sharpen_min", config.sharpen_min, "sharpen_max", config.sharpen_max,
                           0.0, 1.0);
  check_augmentation_range("noise_variance_min", config.noise_variance_min, "noise_variance_max",
                           config.noise_variance_max, 0.0, 10000.0);
  check_augmentation_range("jpeg_quality_min", config.jpeg_quality_min, "jpeg_quality_max",
                           config.jpeg_quality_max, Index{1}, Index{100});
  check_probability("dropout_probability", config.dropout_probability);
  check_augmentation("dropout_holes", config.dropout_holes, Index{1}, Index{1024});
  check_augmentation("dropout_size", config.dropout_size, Index{1}, Index{8192});
}

inline Json to_json(const AugmentationConfig& config) {
  return detail::fields_to_json(
      [&](const auto& visit) { detail::visit_fields_of_augmentation(config, visit); });
}

/// Sets the fields that the JSON object names. Throws `invalid_argument` for an unknown field, a
/// wrong type or a value out of range, naming the field, and then leaves `config` as it was.
inline void apply_json(const Json& json, AugmentationConfig& config) {
  require(json.is_object(), ErrorCode::invalid_argument,
          "augmentation: expected an object of fields, got ", json.type_name());
  AugmentationConfig changed = config;
  detail::apply_fields(
      json, [&](const auto& visit) { detail::visit_fields_of_augmentation(changed, visit); });
  validate(changed);
  config = changed;
}

}  // namespace promiseg

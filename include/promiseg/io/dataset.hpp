// Lists of labelled pictures for training and evaluation: which, with which masks, for what.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "promiseg/core/error.hpp"
#include "promiseg/core/random.hpp"
#include "promiseg/core/tensor_view.hpp"
#include "promiseg/io/csv.hpp"
#include "promiseg/io/file.hpp"
#include "promiseg/io/image_format.hpp"
#include "promiseg/io/image_reference.hpp"

namespace promiseg {

/// What a sample is for: learning, choosing the best state while learning, or judging the result.
enum class Split { train, val, test };

/// "train", "val" or "test".
constexpr std::string_view to_string(Split split) {
  constexpr std::array<std::string_view, 3> kNames{"train", "val", "test"};
  return kNames[static_cast<std::size_t>(split)];
}

struct Sample {
  ImageReference image;
  ImageReference mask;
  std::string
      name;  ///< `image_stem`, followed by _2, _3, ... where it is taken: unique in a dataset
  Split split = Split::train;
};

struct Dataset {
  std::vector<Sample> samples;

  std::size_t count(Split split) const {
    const auto belongs = [=](const Sample& sample) { return sample.split == split; };
    return static_cast<std::size_t>(std::count_if(samples.begin(), samples.end(), belongs));
  }
};

namespace detail {

inline std::string trimmed_lower(std::string_view text) {
  constexpr std::string_view kSpace = " \t";
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
  text = text.substr(0, text.find_last_not_of(kSpace) + 1);
  std::string lower(text);
  for (char& letter : lower) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  }
  return lower;
}

/// Up to five names, for messages.
inline std::string some_names(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kMost); ++i) {
    text += (i == 0 ? "" : ", ") + names[i];
  }
  return names.size() > kMost ? text + ", ..." : text;
}

/// The column of that name in a table's first record. Throws `bad_format`.
inline std::size_t dataset_column(const CsvRecord& header, std::string_view name,
                                  const std::string& path) {
  std::vector<std::string> names;
  for (const std::string& field : header.fields) names.push_back(trimmed_lower(field));
  const auto found = std::find(names.begin(), names.end(), name);
  require(found != names.end(), ErrorCode::bad_format, path, ": the column ", name,
          " is missing: expected image_name, train_type and mask_name in the first line, got ",
          some_names(names));
  require(std::find(found + 1, names.end(), name) == names.end(), ErrorCode::bad_format, path,
          ": the column ", name, " is there twice");
  return static_cast<std::size_t>(found - names.begin());
}

/// Throws `bad_format`.
inline Split parse_split(const std::string& text, const std::string& where) {
  const std::string name = trimmed_lower(text);
  if (name == "train") return Split::train;
  if (name == "val" || name == "valid" || name == "validation") return Split::val;
  if (name == "test") return Split::test;
  fail(ErrorCode::bad_format, where, ": the train_type is \"", text,
       "\", expected train, val or test");
}

/// The picture that a table names, relative to its folder. Throws `not_found` if it is not there.
inline ImageReference dataset_picture(const std::filesystem::path& folder, const std::string& name,
                                      const std::string& where) {
  ImageReference picture;
  try {
    picture = parse_image_reference((folder / name).string());
  } catch (const Error& error) {
    fail(error.code(), where, ": ", error.what());
  }
  std::error_code ignored;
  require(std::filesystem::is_regular_file(picture.path, ignored), ErrorCode::not_found, where,
          ": ", picture.path.string(), ": no such file");
  return picture;
}

/// Throws `bad_format` if there are no samples; names them.
inline void finish_dataset(Dataset& dataset, const std::string& source) {
  require(!dataset.samples.empty(), ErrorCode::bad_format, source, ": there are no samples");
  std::set<std::string> taken;
  for (Sample& sample : dataset.samples) {
    const std::string stem = image_stem(sample.image);
    sample.name = stem;
    for (int number = 2; !taken.insert(sample.name).second; ++number) {
      sample.name = stem + "_" + std::to_string(number);
    }
  }
}

/// True for a NIfTI file that is called one: gzip may hold anything, such as an archive.
inline bool is_nifti_file(const std::filesystem::path& file, std::span<const std::byte> bytes) {
  const std::string name = trimmed_lower(file.filename().string());
  return (name.ends_with(".nii") || name.ends_with(".nii.gz")) && looks_like_nifti(bytes);
}

/// The pictures in a folder by their stems. Throws `not_found`, `invalid_argument` for a file, and
/// `bad_format` for two of one stem.
inline std::map<std::string, std::filesystem::path> pictures_by_stem(
    const std::filesystem::path& folder) {
  std::error_code error;
  require(std::filesystem::exists(folder, error), ErrorCode::not_found, folder.string(),
          ": no such folder");
  require(std::filesystem::is_directory(folder, error), ErrorCode::invalid_argument,
          folder.string(), ": expected a folder, this is a file");
  std::vector<std::filesystem::path> files;
  std::filesystem::directory_iterator entry(folder, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_regular_file(ignored)) files.push_back(entry->path());
  }
  require(!error, ErrorCode::io, folder.string(), ": cannot list the folder: ", error.message());
  std::sort(files.begin(), files.end());
  std::map<std::string, std::filesystem::path> pictures;
  for (const std::filesystem::path& file : files) {
    const MappedFile contents(file);
    if (!detect_image_format(contents.bytes()) && !is_nifti_file(file, contents.bytes())) continue;
    const auto [place, added] = pictures.emplace(image_stem(file), file);
    require(added, ErrorCode::bad_format, file.string(), " and ", place->second.string(),
            " have one name: expected one picture of a name in a folder");
  }
  return pictures;
}

/// The mask that belongs to an image of that stem; empty if there is none. Throws `bad_format` for
/// several.
inline std::optional<std::filesystem::path> matching_mask(
    const std::map<std::string, std::filesystem::path>& masks, const std::string& stem) {
  std::optional<std::filesystem::path> found;
  for (const char* ending : {"", "_mask", "_seg", "_segmentation"}) {
    const auto mask = masks.find(stem + ending);
    if (mask == masks.end()) continue;
    require(!found, ErrorCode::bad_format, mask->second.string(), " and ",
            found.value_or(std::filesystem::path()).string(),
            " may both be the mask of one image: remove one");
    found = mask->second;
  }
  return found;
}

}  // namespace detail

/// Reads a table with the columns `image_name`, `train_type` (train, val or test) and `mask_name`,
/// in any order; others are ignored. Names are paths, relative to the table's folder, and may name
/// slices. The samples keep the order of the table.
/// Throws `not_found` for a missing file, and `bad_format` for a table without samples, an image
/// listed twice or without a mask, or an unknown type; the message names the line.
inline Dataset load_dataset_csv(const std::filesystem::path& path) {
  const std::string source = path.string();
  const std::vector<CsvRecord> records = read_csv(path);
  require(!records.empty(), ErrorCode::bad_format, source,
          ": empty, expected a table with the columns image_name, train_type and mask_name");
  const std::size_t image_column = detail::dataset_column(records[0], "image_name", source);
  const std::size_t type_column = detail::dataset_column(records[0], "train_type", source);
  const std::size_t mask_column = detail::dataset_column(records[0], "mask_name", source);

  Dataset dataset;
  std::vector<std::string> without_mask;
  std::map<std::string, Index> lines;
  for (std::size_t i = 1; i < records.size(); ++i) {
    const CsvRecord& record = records[i];
    const std::string where = source + ", line " + std::to_string(record.line);
    const std::string& image = record.fields[image_column];
    const std::string& mask = record.fields[mask_column];
    require(!image.empty(), ErrorCode::bad_format, where, ": the image_name is empty");
    if (mask.empty()) {
      without_mask.push_back(image + " (line " + std::to_string(record.line) + ")");
      continue;
    }
    Sample sample;
    sample.split = detail::parse_split(record.fields[type_column], where);
    sample.image = detail::dataset_picture(path.parent_path(), image, where);
    sample.mask = detail::dataset_picture(path.parent_path(), mask, where);
    const ImageReference plain(sample.image.path.lexically_normal(), sample.image.slice);
    const auto [place, added] = lines.emplace(to_string(plain), record.line);
    require(added, ErrorCode::bad_format, where, ": the image ", image,
            " is listed twice, first in line ", place->second);
    dataset.samples.push_back(std::move(sample));
  }
  require(without_mask.empty(), ErrorCode::bad_format, source, ": ", without_mask.size(),
          " images have no mask: ", detail::some_names(without_mask));
  detail::finish_dataset(dataset, source);
  return dataset;
}

/// Pairs the pictures of two folders by name: the mask is called like the image, or ends with
/// "_mask", "_seg" or "_segmentation" after it. All are for training, in the order of their names.
/// Files that are no pictures, and masks without an image, are ignored. Pictures are known by their
/// first bytes, NIfTI volumes also by their names, which must end in .nii or .nii.gz. DICOM files
/// without a preamble are not known as such, and so ignored: name them in a table.
/// Throws `not_found`, `invalid_argument` for a file or one folder given twice, and `bad_format`
/// for no samples, two pictures of one name, or images without a mask.
inline Dataset load_dataset_folders(const std::filesystem::path& images,
                                    const std::filesystem::path& masks) {
  const auto image_files = detail::pictures_by_stem(images);
  const auto mask_files = detail::pictures_by_stem(masks);
  std::error_code ignored;
  require(!std::filesystem::equivalent(images, masks, ignored), ErrorCode::invalid_argument,
          images.string(), ": the images and the masks must be in two folders");
  Dataset dataset;
  std::vector<std::string> without_mask;
  for (const auto& [stem, file] : image_files) {
    const std::optional<std::filesystem::path> mask = detail::matching_mask(mask_files, stem);
    if (mask) {
      dataset.samples.push_back({file, *mask, {}, Split::train});
    } else {
      without_mask.push_back(file.filename().string());
    }
  }
  require(without_mask.empty(), ErrorCode::bad_format, images.string(), ": ", without_mask.size(),
          " images have no mask in ", masks.string(), ": ", detail::some_names(without_mask));
  detail::finish_dataset(dataset, images.string());
  return dataset;
}

/// If there are no validation samples, makes some out of training samples: `fraction` of them,
/// drawn by `seed`, but at least one and not all. The order stays. Throws `invalid_argument` for a
/// fraction outside (0, 1) or less than two training samples.
inline void split_training(Dataset& dataset, double fraction, std::uint64_t seed) {
  require(fraction > 0 && fraction < 1, ErrorCode::invalid_argument,
          "validation fraction: expected a number between 0 and 1, got ", fraction);
  if (dataset.count(Split::val) > 0) return;
  std::vector<Sample*> training;
  for (Sample& sample : dataset.samples) {
    if (sample.split == Split::train) training.push_back(&sample);
  }
  const std::size_t count = training.size();
  require(count >= 2, ErrorCode::invalid_argument, "a dataset of ", count,
          " training samples cannot give one away for validation: expected at least 2");
  const auto wished = static_cast<std::size_t>(std::llround(fraction * static_cast<double>(count)));
  const std::size_t moved = std::clamp(wished, std::size_t{1}, count - 1);
  Random random(seed);
  for (std::size_t i = 0; i < moved; ++i) {
    const auto other = static_cast<std::size_t>(random.below(static_cast<Index>(count - i)));
    std::swap(training[i], training[i + other]);
    training[i]->split = Split::val;
  }
}

}  // namespace promiseg

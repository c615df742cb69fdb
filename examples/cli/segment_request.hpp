// What a `promiseg segment` command line asks for.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "command.hpp"
#include "promiseg/io/image_reference.hpp"
#include "promiseg/sam/mask_cleaning.hpp"
#include "prompt_arguments.hpp"

namespace promiseg::cli {

/// The options as they were given.
struct SegmentOptions {
  CommonOptions common;
  std::vector<std::string> inputs;
  std::string model;
  std::vector<std::string> packs;
  std::vector<std::string> boxes;
  std::vector<std::string> points;
  std::vector<std::string> labels;
  std::string prompts_file;
  std::string mask_prompt;
  std::string window;
  std::string embedding;
  std::string output;
  Index frame = 0;
  bool multimask = false;
  bool save_embedding = false;

  // Cleaning of the masks; what is not given is the pack's, or off.
  std::optional<double> threshold;
  std::optional<Index> open;
  std::optional<Index> close;
  std::optional<Index> min_area;
  bool largest_component = false;
  bool fill_holes = false;

  void add_to(CLI::App& command);

  /// `base` with what the options change.
  MaskCleaning cleaning(MaskCleaning base) const;
};

/// Names of packs, as objects refer to them: the files' stems.
std::vector<std::string> pack_names(const SegmentOptions& options);

/// The pictures that the arguments name: files and slices of volumes as they are, of folders all
/// files that begin like an image. Throws `Error` if there are none, if one is missing, or if two
/// would write the same results.
std::vector<ImageReference> list_images(const std::vector<std::string>& inputs);

/// Throws `UsageError` for a window or cleaning that cannot be.
void check_options(const SegmentOptions& options);

/// Throws `Error` if a mask or overlay to be written is one of the inputs. (STEM.json may be: its
/// prompts are read, changed and written again.)
void require_inputs_kept(const std::vector<ImageReference>& images, const SegmentOptions& options);

/// The objects that the user named, checked before any work; none if packs bring their own prompts.
/// Every object's pack is one of the packs given. Throws `UsageError`, or `Error` for a prompts
/// file.
std::vector<NamedPrompt> requested_objects(const CLI::App& command, const SegmentOptions& options);

}  // namespace promiseg::cli

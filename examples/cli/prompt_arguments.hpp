// Prompts as people write them: on the command line, or in a JSON file.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "promiseg/io/json.hpp"
#include "promiseg/sam/prompts.hpp"

namespace promiseg::cli {

/// An object to segment, in pixels of the original image, and what to call it.
struct NamedPrompt {
  std::string label;  ///< may be empty
  std::string pack;   ///< name of the pack that goes with it; empty: the only one, or none
  Prompt prompt;
};

/// One option of the command line that says something about the objects.
struct PromptArgument {
  enum class Kind { box, point, label };
  Kind kind;
  std::string text;
};

/// The objects that the options describe, in their order: each `--box` begins an object, points and
/// labels belong to the box before them, points before any box make up one common object. Throws
/// `UsageError` naming the option and what it expects.
std::vector<NamedPrompt> parse_prompt_arguments(const std::vector<PromptArgument>& arguments);

/// The objects of a JSON file: {"objects": [{"label": "liver", "box": [x0, y0, x1, y1],
/// "points": [[x, y, label], ...], "pack": "name"}, ...]}, which is also what `segment` writes.
/// Other members are ignored. Throws `Error` naming the file and the object.
std::vector<NamedPrompt> read_prompts_json(const std::filesystem::path& path);

/// The `label`, `pack`, `box` and `points` members of one object.
Json to_json(const NamedPrompt& object);

}  // namespace promiseg::cli
